//! Isolation, seen from the database itself.

use sqlx::AssertSqlSafe;

use crate::harness::{Service, ann, request};

#[tokio::test]
async fn the_catalogue_gate_finds_nothing() {
    let service = Service::start().await;
    let mut admin = service.db.admin().await;
    let findings = db::gate::check(&mut admin).await.unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn the_audit_log_can_only_grow() {
    let service = Service::start().await;
    let mut role = service.db.role("tenant_app").await;
    for statement in [
        "update tenant.audit_logs set action = 'x'",
        "delete from tenant.audit_logs",
        "truncate tenant.audit_logs",
    ] {
        let refused = sqlx::query(AssertSqlSafe(statement))
            .execute(&mut role)
            .await
            .unwrap_err();
        assert_eq!(
            refused
                .as_database_error()
                .and_then(|e| e.code())
                .as_deref(),
            Some("42501"),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn a_tenant_does_not_see_the_directory() {
    let service = Service::start().await;
    service
        .create(&ann(), request("pousada-azul"))
        .await
        .unwrap();
    let mut role = service.db.role("tenant_app").await;
    sqlx::raw_sql("begin; set local app.tenant_id = 'bbbbbbbb-0000-7000-8000-00000000000b'")
        .execute(&mut role)
        .await
        .unwrap();
    for table in ["tenants", "tenant_packages", "audit_logs"] {
        let sql = format!("select count(*) from tenant.{table}");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut role)
            .await
            .unwrap();
        assert_eq!(seen, 0, "{table}");
    }
}
