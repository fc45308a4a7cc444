//! Ways around the tables: sequences, statistics, the search path, other roles, other schemas.

use sqlx::{AssertSqlSafe, Executor as _};

use super::SERVICES;
use super::attempts::code;
use super::matrix::Filled;

/// What no runtime role may do, with the code of the refusal. `{s}` is its schema, `{o}` another service's.
const REFUSED: &[(&str, &str)] = &[
    ("create table {s}.mine (id int)", "42501"),
    (
        "create function {s}.mine() returns int language sql as $$ select 1 $$",
        "42501",
    ),
    ("create table public.mine (id int)", "42501"),
    ("create temp table mine (id int)", "42501"),
    ("create schema mine", "42501"),
    ("create role mine", "42501"),
    ("set role {s}_owner", "42501"),
    ("set role {s}_definer", "42501"),
    ("set role {o}_app", "42501"),
    ("set session authorization {s}_owner", "42501"),
    ("set session_replication_role = replica", "42501"),
    ("alter role current_user bypassrls", "42501"),
    ("select * from app.services", "42501"),
    ("select * from app.gate_exceptions", "42501"),
    (
        "select app.except_from_gate('R1', 'x', 'because I say so, at length', '2099-01-01')",
        "42501",
    ),
    ("select app.run_as_definer('app.tid()')", "42501"),
    ("select * from pg_catalog.pg_authid", "42501"),
    ("select * from pg_catalog.pg_statistic", "42501"),
    ("copy (select 1) to program 'true'", "42501"),
    ("select pg_catalog.pg_read_file('PG_VERSION')", "42501"),
    ("select * from {o}.outbox", "42501"),
    ("select * from {o}.idempotency_keys", "42501"),
    (
        "insert into {o}.inbox values (gen_random_uuid(), 'x', gen_random_uuid(), now())",
        "42501",
    ),
    ("select {o}.sweep_expired(now(), 1, 1, 1)", "42501"),
    ("select nextval('{s}.outbox_seq_seq')", "42501"),
    ("select last_value from {s}.outbox_seq_seq", "42501"),
    ("select setval('{s}.outbox_seq_seq', 1)", "42501"),
];

#[tokio::test]
async fn no_runtime_role_finds_a_way_around() {
    let filled = Filled::new().await;
    for (n, (service, _)) in SERVICES.iter().enumerate() {
        let (other, _) = SERVICES[(n + 1) % SERVICES.len()];
        for kind in ["app", "relay"] {
            let role = format!("{service}_{kind}");
            let mut session = filled.database.role(&role).await;
            for (sql, expected) in REFUSED {
                let sql = sql.replace("{s}", service).replace("{o}", other);
                let set = format!("set app.tenant_id = '{}'", filled.a.id);
                session.execute(AssertSqlSafe(set)).await.unwrap();
                let refused = session
                    .execute(AssertSqlSafe(sql.clone()))
                    .await
                    .map_err(|error| code(&error));
                let told = refused
                    .err()
                    .unwrap_or_else(|| panic!("{role}: {sql} is let through"));
                assert_eq!(told, *expected, "{role}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn a_fresh_session_of_a_runtime_role_is_as_the_bootstrap_made_it() {
    let filled = Filled::new().await;
    for (service, _) in SERVICES {
        for kind in ["app", "relay"] {
            let mut session = filled.database.role(&format!("{service}_{kind}")).await;
            let settings: (String, String, String, String, Option<String>) = sqlx::query_as(
                "select current_setting('search_path'), current_setting('row_security'), current_setting('statement_timeout'), \
                        current_setting('idle_in_transaction_session_timeout'), nullif(current_setting('app.tenant_id', true), '')",
            )
            .fetch_one(&mut session)
            .await
            .unwrap();
            let words = ["\"\"", "on", "5s", "10s"].map(str::to_owned);
            let [path, security, statement, idle] = words;
            assert_eq!(
                settings,
                (path, security, statement, idle, None),
                "{service}_{kind}"
            );
        }
    }
}

/// `row_security = off` asks PostgreSQL for an error instead of fewer rows; it never shows more.
#[tokio::test]
async fn switching_row_security_off_is_an_error() {
    let filled = Filled::new().await;
    for (service, table) in [
        ("auth", "groups"),
        ("niche", "records"),
        ("search", "documents"),
        ("tenant", "audit_logs"),
    ] {
        let mut session = filled.database.role(&format!("{service}_app")).await;
        let sql = format!(
            "set row_security = off; set app.tenant_id = '{}'",
            filled.a.id
        );
        session
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .unwrap();
        let sql = format!("select * from {service}.{table}");
        let error = session.execute(AssertSqlSafe(sql)).await.unwrap_err();
        assert_eq!(code(&error), "42501");
        assert!(error.to_string().contains("row-level security"), "{error}");
    }
}

/// The planner's statistics hold most common values of all tenants; the view on them hides what row level security hides.
#[tokio::test]
async fn statistics_show_nothing_of_tenants_tables() {
    let mut filled = Filled::new().await;
    filled.admin.execute("analyze").await.unwrap();
    let protected: Vec<String> = filled
        .tables
        .values()
        .filter(|table| table.has_tenant)
        .map(|table| table.name.clone())
        .collect();
    let shown =
        "select count(*) from pg_catalog.pg_stats where schemaname || '.' || tablename = any($1)";
    let of_admin: i64 = sqlx::query_scalar(shown)
        .bind(&protected)
        .fetch_one(&mut filled.admin)
        .await
        .unwrap();
    assert!(of_admin > 100, "there is something to hide");
    for (service, _) in SERVICES {
        for kind in ["app", "relay"] {
            let mut session = filled.database.role(&format!("{service}_{kind}")).await;
            let set = format!("set app.tenant_id = '{}'", filled.a.id);
            session.execute(AssertSqlSafe(set)).await.unwrap();
            let seen: i64 = sqlx::query_scalar(shown)
                .bind(&protected)
                .fetch_one(&mut session)
                .await
                .unwrap();
            assert_eq!(seen, 0, "{service}_{kind}");
        }
    }
}
