//! Isolation.

use sqlx::AssertSqlSafe;
use testkit::{TENANT_A, TENANT_B};

use crate::harness::{Service, query};

const CANARY: &str = "zirkonkanarienvogel";

async fn two_tenants() -> Service {
    let service = Service::start().await;
    let ours = service
        .niche
        .put(TENANT_A, 1, ["mpv", "video player", "video"]);
    let theirs = service.niche.put(
        TENANT_B,
        2,
        [CANARY, "video player of somebody else", "video"],
    );
    service.index(TENANT_A, &[ours]).await;
    service.index(TENANT_B, &[theirs]).await;
    service
}

#[tokio::test]
async fn the_catalogue_gate_finds_nothing() {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    let findings = db::gate::check(&mut admin).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn no_way_of_searching_finds_another_tenants_record() {
    let service = two_tenants().await;
    for mode in ["hybrid", "keyword", "vector"] {
        for text in ["video player", CANARY] {
            let mut request = query(text);
            request.mode = mode.to_owned();
            let answer = service.search(TENANT_A, request).await.unwrap();
            assert!(
                !format!("{answer:?}").contains("somebody else"),
                "{mode} {text}"
            );
            assert!(
                answer.data.iter().all(|hit| hit.title != CANARY),
                "{mode} {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_function_that_searches_raises_without_a_tenant() {
    let service = two_tenants().await;
    let mut role = service.db.role("search_app").await;
    let call =
        "select count(*) from search.hybrid('video', null, '', '', '[]', true, 'none', 'x', 10)";
    for setting in ["reset app.tenant_id", "set app.tenant_id = ''"] {
        sqlx::raw_sql(AssertSqlSafe(setting))
            .execute(&mut role)
            .await
            .unwrap();
        let refused = sqlx::query_scalar::<_, i64>(call)
            .fetch_one(&mut role)
            .await
            .unwrap_err();
        assert_eq!(
            refused
                .as_database_error()
                .and_then(|e| e.code())
                .as_deref(),
            Some("42501"),
            "{setting}"
        );
    }
    sqlx::raw_sql("set app.tenant_id = 'bbbbbbbb-0000-7000-8000-00000000000b'")
        .execute(&mut role)
        .await
        .unwrap();
    let found: i64 = sqlx::query_scalar(call).fetch_one(&mut role).await.unwrap();
    assert_eq!(found, 1, "with a tenant it finds that tenant's");
}

#[tokio::test]
async fn partitions_cannot_be_read_around_their_parent() {
    let service = two_tenants().await;
    let mut role = service.db.role("search_app").await;
    sqlx::raw_sql("set app.tenant_id = 'aaaaaaaa-0000-7000-8000-00000000000a'")
        .execute(&mut role)
        .await
        .unwrap();
    for partition in 0..8 {
        for table in ["chunks", "embeddings"] {
            let sql = format!("select count(*) from search.{table}_p{partition}");
            let refused = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql))
                .fetch_one(&mut role)
                .await
                .unwrap_err();
            assert_eq!(
                refused
                    .as_database_error()
                    .and_then(|e| e.code())
                    .as_deref(),
                Some("42501"),
                "{table}_p{partition}"
            );
        }
    }
}
