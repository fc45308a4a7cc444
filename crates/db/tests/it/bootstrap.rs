//! Preparing a database, and what the runtime roles start with.

use db::ServiceRoles;
use sqlx::Executor as _;

use crate::probe::database;

#[tokio::test]
async fn running_it_again_changes_nothing() {
    let database = database().await;
    let db = database.db().await;
    let roles = [ServiceRoles::with_one_password("probe", "testkit")];
    db::bootstrap(&database.admin_url(), &roles).await.unwrap();
    db.ping().await.unwrap();
    assert_eq!(
        db::gate::check(&mut database.admin().await).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn runtime_roles_have_timeouts_and_an_empty_search_path() {
    let database = database().await;
    for role in ["probe_app", "probe_relay"] {
        let mut connection = database.role(role).await;
        let mut show = async |name: &str| -> String {
            sqlx::query_scalar("select current_setting($1)")
                .bind(name.to_owned())
                .fetch_one(&mut connection)
                .await
                .unwrap()
        };
        assert_eq!(show("statement_timeout").await, "5s", "{role}");
        assert_eq!(show("lock_timeout").await, "2s", "{role}");
        assert_eq!(
            show("idle_in_transaction_session_timeout").await,
            "10s",
            "{role}"
        );
        assert_eq!(show("row_security").await, "on", "{role}");
        assert_eq!(show("search_path").await, "\"\"", "{role}");
    }
}

/// The role says so itself: a server may be set up otherwise.
#[tokio::test]
async fn a_service_keeps_its_plans_and_reads_by_keys() {
    let database = database().await;
    let mut app = database.role("probe_app").await;
    let settings: Vec<(String, String, String)> = sqlx::query_as(
        "select name, setting, source from pg_settings where name in ('enable_seqscan', 'jit', 'plan_cache_mode') order by name",
    )
    .fetch_all(&mut app)
    .await
    .unwrap();
    let expected = [
        ("enable_seqscan", "off"),
        ("jit", "off"),
        ("plan_cache_mode", "force_generic_plan"),
    ];
    assert_eq!(
        settings,
        expected.map(|(name, value)| (name.into(), value.into(), "user".into()))
    );
}

#[tokio::test]
async fn runtime_roles_can_create_nothing() {
    let database = database().await;
    let mut app = database.role("probe_app").await;
    for sql in [
        "create table public.x ()",
        "create table probe.x ()",
        "create schema x",
        "create temporary table x ()",
        "create role x",
        "select app.create_service('x', '', '', '')",
        "select app.except_from_gate('R1', 'probe.notes', 'because I want to, really', '2099-01-01')",
        "set role probe_owner",
        "set role probe_definer",
    ] {
        let refused = app.execute(sql).await.unwrap_err();
        assert_eq!(
            refused.as_database_error().unwrap().code().unwrap(),
            "42501",
            "{sql}"
        );
    }
}

#[tokio::test]
async fn a_name_that_is_no_identifier_is_refused_before_anything_is_sent() {
    let roles = [ServiceRoles::with_one_password(
        "probe; drop schema app",
        "x",
    )];
    let error = db::bootstrap("postgres://nobody@127.0.0.1:1/none", &roles)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot be the name"), "{error}");
}

#[tokio::test]
async fn a_role_that_is_no_superuser_is_told_so() {
    let database = database().await;
    let error = db::bootstrap(&database.url("probe_owner"), &[])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("needs a superuser"), "{error}");
}
