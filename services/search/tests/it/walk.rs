//! Which vectors are compared, and which are found by a walk through the index.

use search::vectors::{self, Walk};
use testkit::{TENANT_A, TENANT_B};
use uuid::Uuid;

use crate::harness::{Service, query, worker_of};

/// A service whose tenants are large from 100 vectors on.
async fn service() -> Service {
    let mut service = Service::start().await;
    service.app.walk = Walk {
        small_max: 100,
        rest_max: 50,
        step: 40,
    };
    service
}

/// Indexes so many records whose words say nothing to each other.
async fn fill(service: &Service, tenant: kernel::TenantId, ids: std::ops::Range<u128>) {
    let put = |n: u128| {
        let text = format!("filler{n} filler{}", n * 7);
        service.niche.put(tenant, n, [&format!("f{n}"), &text, "x"])
    };
    let ids: Vec<Uuid> = ids.map(put).collect();
    service.index(tenant, &ids).await;
}

/// How many vectors of a tenant are in the index, and how many are not.
async fn counts(service: &Service, tenant: kernel::TenantId) -> (i64, i64) {
    sqlx::query_as("select count(*) filter (where walked), count(*) filter (where not walked) from search.embeddings where tenant_id = $1")
        .bind(tenant.uuid())
        .fetch_one(&mut service.db.admin().await)
        .await
        .unwrap()
}

async fn vector_mode(service: &Service, tenant: kernel::TenantId) -> String {
    let answer = service.search(tenant, query("filler7")).await.unwrap();
    answer.meta.unwrap().vector_mode
}

#[tokio::test]
async fn only_a_tenant_with_many_vectors_has_some_in_the_index() {
    let service = service().await;
    fill(&service, TENANT_A, 0..100).await;
    fill(&service, TENANT_B, 1_000..1_101).await;
    assert_eq!(
        counts(&service, TENANT_A).await,
        (0, 100),
        "as many as are compared"
    );
    assert_eq!(
        counts(&service, TENANT_B).await,
        (80, 21),
        "one more: in steps of 40, until no more than 50 are left"
    );
    assert_eq!(vector_mode(&service, TENANT_A).await, "exact");
    assert_eq!(vector_mode(&service, TENANT_B).await, "hnsw");
}

#[tokio::test]
async fn what_is_not_in_the_index_yet_is_found_beside_it() {
    let service = service().await;
    fill(&service, TENANT_B, 0..150).await;
    let before = counts(&service, TENANT_B).await;
    let id = service.niche.put(
        TENANT_B,
        9_000,
        ["zebra", "stripes of a grazing animal", "x"],
    );
    service.index(TENANT_B, &[id]).await;
    assert_eq!(
        counts(&service, TENANT_B).await,
        (before.0, before.1 + 1),
        "one more is compared with the others"
    );
    let mut request = query("zebra stripes");
    request.mode = "vector".to_owned();
    let answer = service.search(TENANT_B, request).await.unwrap();
    assert_eq!(answer.data[0].title, "zebra");
    assert_eq!(answer.meta.unwrap().vector_mode, "hnsw");
}

#[tokio::test]
async fn a_walked_vector_follows_its_passage() {
    let service = service().await;
    fill(&service, TENANT_B, 0..150).await;
    let walked: Uuid =
        sqlx::query_scalar("select document_id from search.embeddings where walked limit 1")
            .fetch_one(&mut service.db.admin().await)
            .await
            .unwrap();
    service.niche.put(
        TENANT_B,
        walked.as_u128(),
        ["zebra", "stripes of a grazing animal", "x"],
    );
    service.index(TENANT_B, &[walked]).await;
    let mut request = query("zebra stripes");
    request.mode = "vector".to_owned();
    assert_eq!(service.titles(TENANT_B, request).await[0], "zebra");
}

#[tokio::test]
async fn workers_that_hand_over_at_the_same_time_take_different_vectors() {
    let mut service = service().await;
    let walk = service.app.walk;
    service.app.walk.small_max = 1_000;
    fill(&service, TENANT_B, 0..400).await;
    assert_eq!(counts(&service, TENANT_B).await, (0, 400));
    service.app.walk = walk;
    let ctx = worker_of(TENANT_B);
    let (one, other, third) = tokio::join!(
        vectors::hand_over(&service.app, &ctx),
        vectors::hand_over(&service.app, &ctx),
        vectors::hand_over(&service.app, &ctx),
    );
    one.and(other).and(third).expect("nobody waits for another");
    let (walked, compared) = counts(&service, TENANT_B).await;
    assert_eq!(walked + compared, 400);
    assert!(compared <= 50, "{compared} are compared");
}
