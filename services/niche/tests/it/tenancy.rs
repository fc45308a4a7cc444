//! Isolation, seen from the database itself.

use serde_json::json;
use sqlx::Connection as _;

use crate::harness::Service;

#[tokio::test]
async fn the_catalogue_gate_finds_nothing() {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    let findings = db::gate::check(&mut admin).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// With the runtime role and another tenant set, every table of a tenant looks empty and takes no foreign row.
#[tokio::test]
async fn another_tenants_rows_cannot_be_seen_or_written() {
    let service = Service::start().await;
    service
        .ann()
        .await
        .package(json!({"name": "redis", "section": "database"}))
        .await
        .unwrap();
    let mut role = service.db.role("niche_app").await;
    for table in ["niches", "niche_overlays", "records", "record_facets"] {
        let mut tx = role.begin().await.unwrap();
        sqlx::raw_sql("set local app.tenant_id = 'bbbbbbbb-0000-7000-8000-00000000000b'")
            .execute(&mut *tx)
            .await
            .unwrap();
        let sql = format!("select count(*) from niche.{table}");
        let seen: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(seen, 0, "{table}");
        let sql = format!("delete from niche.{table}");
        // Niches are never deleted, so there the role lacks the right as well.
        let gone = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await
            .map_or(0, |done| done.rows_affected());
        assert_eq!(gone, 0, "{table}");
        tx.rollback().await.unwrap();
        let sql = format!("select count(*) from niche.{table}");
        let unset = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut role)
            .await
            .unwrap_err();
        assert_eq!(
            unset.as_database_error().and_then(|e| e.code()).as_deref(),
            Some("42501"),
            "{table} without a tenant raises"
        );
    }
    let foreign = "insert into niche.records (tenant_id, id, niche, entity, data, version, created_at, updated_at)
                   values ('aaaaaaaa-0000-7000-8000-00000000000a', gen_random_uuid(), 'x', 'y', '{}', 1, now(), now())";
    let mut tx = role.begin().await.unwrap();
    sqlx::raw_sql("set local app.tenant_id = 'bbbbbbbb-0000-7000-8000-00000000000b'")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert!(sqlx::raw_sql(foreign).execute(&mut *tx).await.is_err());
}
