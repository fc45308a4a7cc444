//! How good the vector part is, compared with the truth.

use testkit::{TENANT_A, TENANT_B};
use uuid::Uuid;

use crate::harness::{Service, query};

/// Both ways through the vectors agree: what is found by a walk through the index and a comparison of the rest is what a comparison of all finds,
/// for a small tenant beside a large one.
#[tokio::test]
async fn the_index_walk_finds_what_an_exact_comparison_finds() {
    let mut service = Service::start().await;
    service.app.walk = search::vectors::Walk {
        small_max: 100,
        rest_max: 50,
        step: 100,
    };
    let words = [
        "video", "audio", "database", "editor", "compiler", "browser", "network", "font", "game",
        "shell",
    ];
    let text = |n: usize| {
        format!(
            "{} {} {} number {n}",
            words[n % 10],
            words[(n / 10) % 10],
            words[(n / 100) % 10]
        )
    };
    for (tenant, count, base) in [(TENANT_A, 60, 1), (TENANT_B, 900, 10_000)] {
        let ids: Vec<Uuid> = (0..count)
            .map(|n| {
                service
                    .niche
                    .put(tenant, base + n as u128, [&format!("p{n}"), &text(n), "x"])
            })
            .collect();
        for part in ids.chunks(300) {
            service.index(tenant, part).await;
        }
    }
    for tenant in [TENANT_A, TENANT_B] {
        let mut agreed = 0;
        for n in 0..10 {
            let probe = search::lexical::embed(&text(n * 7));
            let exact = nearest(&service, tenant, &probe, "exact").await;
            let walked = nearest(&service, tenant, &probe, "hnsw").await;
            assert_eq!(
                (exact.len(), walked.len()),
                (10, 10),
                "always as many as wanted"
            );
            agreed += walked.iter().filter(|id| exact.contains(id)).count();
        }
        assert!(agreed >= 98, "{agreed} of 100 agree");
    }
}

async fn nearest(
    service: &Service,
    tenant: kernel::TenantId,
    probe: &[f32],
    mode: &str,
) -> Vec<Uuid> {
    let ctx = crate::harness::worker_of(tenant);
    let mut tx = service.app.db.tenant(&ctx).await.unwrap();
    let found = sqlx::query_scalar::<_, Uuid>("select document_id from search.hybrid('', $1, '', '', '[]', false, $2, 'lexical-hash-v1', 10)")
        .bind(probe)
        .bind(mode)
        .fetch_all(tx.conn())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    found
}

#[tokio::test]
async fn a_misspelt_word_is_found_by_likeness() {
    let service = Service::start().await;
    let id = service.niche.put(
        TENANT_A,
        1,
        ["postgresql", "object-relational database", "database"],
    );
    let other = service
        .niche
        .put(TENANT_A, 2, ["mpv", "video player", "video"]);
    service.index(TENANT_A, &[id, other]).await;
    assert_eq!(
        service.titles(TENANT_A, query("databse")).await[0],
        "postgresql"
    );
}
