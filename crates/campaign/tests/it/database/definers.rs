//! The functions that row level security does not bind. Each is on this reviewed list with what it answers and what its owner may read;
//! a new one, or one that answers more, fails until somebody has looked at it.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::SERVICES;
use super::attempts::code;
use super::matrix::Filled;

/// Function, result, and why it may look at more than one tenant.
const REVIEWED: &[(&str, &str, &str)] = &[
    (
        "auth.access_of(uuid,uuid)",
        "TABLE(tenant_status text, membership_status text, roles text[], granted text[], entitled text[])",
        "decides about one person in one tenant, before that tenant is the caller's",
    ),
    (
        "auth.hold_access_of(uuid,uuid)",
        "TABLE(tenant_status text, membership_status text)",
        "the same, holding both rows against a suspension",
    ),
    (
        "auth.memberships_of(uuid)",
        "TABLE(tenant_id uuid, slug text, name text, tenant_status text, status text, roles text[], created_at timestamp with time zone)",
        "which tenants a person may choose from",
    ),
    (
        "auth.sweep_expired(timestamp with time zone,integer,integer,integer)",
        "bigint",
        "expiry knows no tenant; answers a number",
    ),
    (
        "niche.objects_to_delete(timestamp with time zone,integer)",
        "TABLE(tenant_id uuid, object_key text)",
        "the worker's sweep; names of files that nobody needs",
    ),
    (
        "niche.sweep_expired(timestamp with time zone,integer,integer,integer)",
        "bigint",
        "expiry knows no tenant; answers a number",
    ),
    (
        "search.hybrid(text,real[],text,text,jsonb,boolean,text,text,integer)",
        "TABLE(document_id uuid, ordinal smallint, score double precision, candidates bigint)",
        "bound to the tenant of the transaction by its own predicates",
    ),
    (
        "search.sweep_expired(timestamp with time zone,integer,integer,integer)",
        "bigint",
        "expiry knows no tenant; answers a number",
    ),
    (
        "tenant.directory(text,text,timestamp with time zone,timestamp with time zone,timestamp with time zone,uuid,boolean,bigint)",
        "TABLE(tenant_id uuid, slug text, name text, status text, suspended_reason text, version bigint, created_at timestamp with time zone, updated_at timestamp with time zone, package_keys text[])",
        "the list of tenants for the platform's staff; no tenant's data",
    ),
    (
        "tenant.sweep_expired(timestamp with time zone,integer,integer,integer)",
        "bigint",
        "expiry knows no tenant; answers a number",
    ),
];

/// What the owners of these functions may do, table by table.
const OWNERS_MAY: &[(&str, &str)] = &[
    ("auth.group_members", "SELECT"),
    ("auth.group_permissions", "SELECT"),
    ("auth.groups", "SELECT"),
    ("auth.memberships", "SELECT"),
    ("auth.tenants", "SELECT"),
    ("niche.import_objects", "SELECT"),
    ("search.chunks", "SELECT"),
    ("search.embeddings", "SELECT"),
    ("tenant.tenant_packages", "SELECT"),
    ("tenant.tenants", "SELECT"),
];

/// Signature, result, owner, schema, settings.
type Definer = (String, String, String, String, Option<Vec<String>>);

#[tokio::test]
async fn every_definer_function_is_reviewed_pinned_and_for_the_services_own_role_alone() {
    let mut filled = Filled::new().await;
    let found: Vec<Definer> = sqlx::query_as(
        "select p.oid::regprocedure::text, pg_get_function_result(p.oid), p.proowner::regrole::text, n.nspname::text, p.proconfig \
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
         where p.prosecdef and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'ext') order by 1",
    )
    .fetch_all(&mut filled.admin)
    .await
    .unwrap();
    let told: Vec<(&str, &str)> = found.iter().map(|f| (f.0.as_str(), f.1.as_str())).collect();
    let reviewed: Vec<(&str, &str)> = REVIEWED.iter().map(|r| (r.0, r.1)).collect();
    assert_eq!(told, reviewed, "look at what is new, then change the list");
    for (function, _, owner, schema, settings) in &found {
        assert_eq!(*owner, format!("{schema}_definer"), "{function}");
        assert_eq!(
            settings.as_deref(),
            Some(&["search_path=\"\"".to_owned()][..]),
            "{function}"
        );
        let may: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select r.rolname::text from pg_roles r join app.services s on r.rolname in (s.name || '_app', s.name || '_relay') \
             where has_function_privilege(r.oid, '{function}', 'execute')"
        )))
        .fetch_all(&mut filled.admin)
        .await
        .unwrap();
        assert_eq!(may, [format!("{schema}_app")], "{function}");
    }
}

#[tokio::test]
async fn the_owners_of_definer_functions_may_read_what_they_need_and_cannot_log_in() {
    let mut filled = Filled::new().await;
    let granted: Vec<(String, String)> = sqlx::query_as(
        "select table_schema || '.' || table_name, string_agg(privilege_type::text, ', ' order by privilege_type::text) \
         from information_schema.role_table_grants where grantee like '%\\_definer' and table_name not in ('inbox', 'idempotency_keys', 'outbox_published') \
         group by 1 order by 1",
    )
    .fetch_all(&mut filled.admin)
    .await
    .unwrap();
    let granted: BTreeSet<(&str, &str)> = granted
        .iter()
        .map(|(t, p)| (t.as_str(), p.as_str()))
        .collect();
    assert_eq!(granted, OWNERS_MAY.iter().copied().collect());
    for (service, _) in SERVICES {
        let can_login: bool =
            sqlx::query_scalar("select rolcanlogin from pg_roles where rolname = $1")
                .bind(format!("{service}_definer"))
                .fetch_one(&mut filled.admin)
                .await
                .unwrap();
        assert!(!can_login, "{service}_definer");
    }
}

/// Rows of an answer as JSON, in the context of `tenant`.
async fn ask(
    session: &mut PgConnection,
    tenant: &str,
    call: &str,
) -> Result<Vec<serde_json::Value>, String> {
    let begin = format!("begin; set local app.tenant_id = '{tenant}'");
    session
        .execute(sqlx::raw_sql(AssertSqlSafe(begin)))
        .await
        .unwrap();
    let rows = sqlx::query_scalar(AssertSqlSafe(format!(
        "select to_jsonb(f) from {call} as f"
    )))
    .fetch_all(&mut *session)
    .await;
    session.execute("rollback").await.unwrap();
    rows.map_err(|error| code(&error))
}

#[tokio::test]
async fn search_answers_rows_of_the_transactions_tenant_alone() {
    let mut filled = Filled::new().await;
    let mut session = filled.database.role("search_app").await;
    let vector = "array_fill(1::real, array[384])";
    for (keyword, mode, walked) in [
        (true, "none", false),
        (false, "exact", false),
        (false, "hnsw", false),
        (false, "hnsw", true),
        (true, "exact", true),
    ] {
        // Whether their vectors are in the index or not, and whatever is asked for.
        sqlx::query("update search.embeddings set walked = $1")
            .bind(walked)
            .execute(&mut filled.admin)
            .await
            .unwrap();
        let call = |filters: &str| {
            format!(
                "search.hybrid('shared word', {vector}, '', '', '{filters}', {keyword}, '{mode}', 'model', 100)"
            )
        };
        for owner in [filled.a.clone(), filled.b.clone()] {
            let found = ask(&mut session, &owner.id, &call("[]")).await.unwrap();
            let mut found: Vec<&str> = found
                .iter()
                .map(|row| row["document_id"].as_str().unwrap())
                .collect();
            found.sort_unstable();
            let sql = format!(
                "select id::text from search.documents where tenant_id = '{}' order by 1",
                owner.id
            );
            let own: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut filled.admin)
                .await
                .unwrap();
            assert_eq!(found, own, "{mode}");
        }
        assert_eq!(
            ask(&mut session, "", &call("[]")).await,
            Err("42501".to_owned())
        );
        assert_eq!(
            ask(&mut session, "no uuid", &call("[]")).await,
            Err("22P02".to_owned())
        );
        let nil = uuid::Uuid::nil().to_string();
        assert_eq!(ask(&mut session, &nil, &call("[]")).await, Ok(Vec::new()));
        // Broken input fails in the same way whoever has rows.
        let (with_rows, without) = (
            ask(&mut session, &filled.a.id, &call("[1]")).await,
            ask(&mut session, &nil, &call("[1]")).await,
        );
        assert!(
            with_rows.is_err() || without.is_ok(),
            "{with_rows:?} {without:?}"
        );
    }
}

#[tokio::test]
async fn lookups_about_a_person_answer_about_that_person() {
    let filled = Filled::new().await;
    let (a, b) = (&filled.a.id, &filled.b.id);
    let mut session = filled.database.role("auth_app").await;
    let stranger = "'00000000-0000-4000-8000-000000000001'";
    let nobodys = ask(&mut session, a, &format!("auth.memberships_of({stranger})"))
        .await
        .unwrap();
    assert!(nobodys.is_empty(), "{nobodys:?}");
    for function in ["access_of", "hold_access_of"] {
        let call = format!("auth.{function}({stranger}, '{b}')");
        let about = ask(&mut session, a, &call).await.unwrap();
        assert_eq!(about.len(), 1);
        assert_eq!(
            about[0]["membership_status"],
            serde_json::Value::Null,
            "{about:?}"
        );
        let call = format!("auth.{function}({stranger}, {stranger})");
        assert!(
            ask(&mut session, a, &call).await.unwrap().is_empty(),
            "no such tenant"
        );
    }
}

#[tokio::test]
async fn sweeping_removes_nothing_that_has_not_expired() {
    let mut filled = Filled::new().await;
    let before = filled.digests("true").await;
    for (service, _) in SERVICES {
        let mut session = filled.database.role(&format!("{service}_app")).await;
        let call = format!("{service}.sweep_expired('2000-01-01', 30, 72, 5000)");
        let swept = ask(&mut session, &filled.a.id, &call).await.unwrap();
        assert_eq!(swept, [serde_json::json!(0)], "{service}");
    }
    assert_eq!(filled.digests("true").await, before);
}
