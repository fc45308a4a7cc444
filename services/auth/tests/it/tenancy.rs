//! Tenants stay apart in the database, whatever the service does.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::service::{PASSWORD, Service};

const TABLES: [&str; 5] = [
    "tenants",
    "memberships",
    "groups",
    "group_members",
    "group_permissions",
];

async fn two_tenants() -> Service {
    let service = Service::start().await;
    for (n, email) in [(1, "ana@example.com"), (2, "bob@example.com")] {
        let user = service.sign_up(email).await;
        service.tenant_of(user, n).await;
        service.client().login(email, PASSWORD).await.unwrap();
    }
    service
        .arrange("insert into auth.group_permissions (tenant_id, group_id, action, created_at) select tenant_id, id, 'x.read', now() from auth.groups")
        .await;
    service
}

async fn enter(role: &mut PgConnection, tenant: &str) {
    sqlx::query("select set_config('app.tenant_id', $1, false)")
        .bind(tenant)
        .execute(role)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_catalogue_gate_finds_nothing() {
    let service = two_tenants().await;
    let findings = db::gate::check(&mut service.db.admin().await)
        .await
        .unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn a_tenant_sees_and_changes_its_own_rows_alone() {
    let service = two_tenants().await;
    let own = "00000000-0000-0000-0000-000000000001";
    for table in TABLES {
        let mut role = service.db.role("auth_app").await;
        enter(&mut role, own).await;
        let seen = sqlx::query(AssertSqlSafe(format!(
            "select tenant_id::text as t from auth.{table}"
        )))
        .fetch_all(&mut role)
        .await
        .unwrap();
        assert!(
            !seen.is_empty() && seen.iter().all(|row| row.get::<String, _>("t") == own),
            "{table}"
        );
        enter(&mut role, "00000000-0000-0000-0000-000000000000").await;
        let seen = sqlx::query(AssertSqlSafe(format!("select 1 from auth.{table}")))
            .fetch_all(&mut role)
            .await
            .unwrap();
        assert!(
            seen.is_empty(),
            "{table} shows rows to the platform's scope"
        );
        let mut unset = service.db.role("auth_app").await;
        let error = sqlx::query(AssertSqlSafe(format!("select 1 from auth.{table}")))
            .fetch_all(&mut unset)
            .await
            .unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().code().as_deref(),
            Some("42501"),
            "{table} without a tenant"
        );
    }
    let mut role = service.db.role("auth_app").await;
    enter(&mut role, own).await;
    let moved = sqlx::query(
        "update auth.memberships set tenant_id = '00000000-0000-0000-0000-000000000002'",
    )
    .execute(&mut role)
    .await;
    assert!(moved.is_err(), "tenant_id is nobody's to change");
    let foreign = "insert into auth.memberships (tenant_id, user_id, created_at, updated_at)
        select '00000000-0000-0000-0000-000000000002', id, now(), now() from auth.users";
    assert!(sqlx::query(foreign).execute(&mut role).await.is_err());
    let changed = sqlx::query("update auth.memberships set status = 'suspended'")
        .execute(&mut role)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
}

#[tokio::test]
async fn the_lookups_across_tenants_tell_of_one_person_only() {
    let service = two_tenants().await;
    let ana = service.user_id("ana@example.com").await;
    let mut role = service.db.role("auth_app").await;
    let tenants: Vec<uuid::Uuid> =
        sqlx::query_scalar("select tenant_id from auth.memberships_of($1)")
            .bind(ana.0)
            .fetch_all(&mut role)
            .await
            .unwrap();
    assert_eq!(tenants, [uuid::Uuid::from_u128(1)]);
    for function in ["access_of", "hold_access_of"] {
        let sql = format!("select membership_status from auth.{function}($1, $2)");
        let status: Option<Option<String>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(ana.0)
            .bind(uuid::Uuid::from_u128(2))
            .fetch_optional(&mut role)
            .await
            .unwrap();
        assert_eq!(
            status,
            Some(None),
            "{function}: a stranger has no membership"
        );
    }
    let granted = "select grantee::text from information_schema.routine_privileges
        where routine_schema = 'auth' and grantee not in ('auth_app', 'auth_definer', 'auth_owner')";
    let others: Vec<String> = sqlx::query_scalar(granted)
        .fetch_all(&mut service.db.admin().await)
        .await
        .unwrap();
    assert!(others.is_empty(), "{others:?} may call functions of auth");
}
