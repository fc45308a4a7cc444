//! Tenants stay apart, whatever the application forgets.

use db::Db;
use futures::TryStreamExt as _;
use kernel::{Code, ErrorCode, TenantId};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};
use testkit::{TENANT_A, TENANT_B};

use crate::probe::{bodies, database, id, in_tenant, insert_note, note};

/// Runs as the runtime role with a tenant setting of the attacker's choice; `None` leaves it alone.
async fn attack(
    connection: &mut PgConnection,
    setting: Option<&str>,
    sql: &str,
) -> Result<u64, String> {
    connection.execute("begin").await.unwrap();
    if let Some(setting) = setting {
        sqlx::query("select set_config('app.tenant_id', $1, true)")
            .bind(setting)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let done = connection
        .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
        .await;
    connection.execute("rollback").await.unwrap();
    done.map(|done| done.rows_affected()).map_err(|error| {
        error
            .as_database_error()
            .and_then(|e| e.code())
            .unwrap()
            .into_owned()
    })
}

async fn two_tenants(db: &Db) {
    note(db, TENANT_A, "of a").await;
    note(db, TENANT_B, "of b").await;
}

#[tokio::test]
async fn each_tenant_sees_its_own_rows_only() {
    let database = database().await;
    let db = database.db().await;
    two_tenants(&db).await;
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    assert_eq!(bodies(&mut tx).await, ["of a"]);
    tx.rollback().await.unwrap();
    let mut tx = db.tenant(&in_tenant(TENANT_B)).await.unwrap();
    assert_eq!(bodies(&mut tx).await, ["of b"]);
}

#[tokio::test]
async fn the_platform_scope_sees_no_tenants_row() {
    let database = database().await;
    let db = database.db().await;
    two_tenants(&db).await;
    note(&db, TenantId::PLATFORM, "of nobody").await;
    let ctx = in_tenant(TENANT_A);
    let mut tx = db.across_tenants(&ctx, "a test").await.unwrap();
    assert_eq!(bodies(&mut tx).await, ["of nobody"]);
    assert!(tx.tenant_id().is_platform());
}

#[tokio::test]
async fn acting_in_another_tenant_is_an_explicit_choice() {
    let database = database().await;
    let db = database.db().await;
    two_tenants(&db).await;
    let mut tx = db.tenant_of(&in_tenant(TENANT_A), TENANT_B).await.unwrap();
    assert_eq!(bodies(&mut tx).await, ["of b"]);
}

#[tokio::test]
async fn a_caller_without_a_tenant_gets_no_transaction() {
    let database = database().await;
    let db = database.db().await;
    let error = db
        .tenant(&testkit::context().user(testkit::ANN).build())
        .await
        .err()
        .unwrap();
    assert_eq!(error.error_code(), ErrorCode::TenantRequired);
}

#[tokio::test]
async fn no_statement_works_without_a_tenant() {
    let database = database().await;
    two_tenants(&database.db().await).await;
    let mut app = database.role("probe_app").await;
    let statements = [
        "select * from probe.notes".to_owned(),
        "update probe.notes set body = 'x'".to_owned(),
        "delete from probe.notes".to_owned(),
        format!(
            "insert into probe.notes (tenant_id, id, body) values ('{TENANT_A}', gen_random_uuid(), 'x')"
        ),
        format!(
            "insert into probe.notes (tenant_id, id, body) values ('{TENANT_A}', gen_random_uuid(), 'x') on conflict do nothing"
        ),
        "select * from probe.comments".to_owned(),
        "select * from probe.inbox".to_owned(),
        "select * from probe.idempotency_keys".to_owned(),
    ];
    for sql in &statements {
        // Unset, then what a finished transaction leaves behind, then garbage.
        assert_eq!(
            attack(&mut app, None, sql).await,
            Err("42501".to_owned()),
            "{sql}"
        );
        assert_eq!(
            attack(&mut app, Some(""), sql).await,
            Err("42501".to_owned()),
            "{sql}"
        );
        assert_eq!(
            attack(&mut app, Some("no uuid"), sql).await,
            Err("22P02".to_owned()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn copying_a_table_out_is_no_way_around() {
    let database = database().await;
    two_tenants(&database.db().await).await;
    let mut app = database.role("probe_app").await;
    let copied: Result<Vec<_>, _> = async {
        app.copy_out_raw("copy probe.notes to stdout")
            .await?
            .try_collect()
            .await
    }
    .await;
    assert_eq!(
        copied
            .unwrap_err()
            .as_database_error()
            .unwrap()
            .code()
            .unwrap(),
        "42501"
    );
}

#[tokio::test]
async fn rows_of_another_tenant_can_be_neither_written_nor_moved_nor_referenced() {
    let database = database().await;
    let db = database.db().await;
    two_tenants(&db).await;
    let foreign = note(&db, TENANT_B, "target").await;
    let mut app = database.role("probe_app").await;
    let a = TENANT_A.to_string();
    let mut as_a = async |sql: String| attack(&mut app, Some(&a), &sql).await;
    let insert = format!(
        "insert into probe.notes (tenant_id, id, body) values ('{TENANT_B}', gen_random_uuid(), 'x')"
    );
    assert_eq!(as_a(insert).await, Err("42501".to_owned()));
    assert_eq!(
        as_a(format!("update probe.notes set tenant_id = '{TENANT_B}'")).await,
        Err("42501".to_owned())
    );
    assert_eq!(
        as_a(format!(
            "update probe.notes set body = 'mine' where id = '{foreign}'"
        ))
        .await,
        Ok(0)
    );
    assert_eq!(
        as_a(format!("delete from probe.notes where id = '{foreign}'")).await,
        Ok(0)
    );
    let reference = format!(
        "insert into probe.comments (tenant_id, id, note_id) values ('{TENANT_A}', gen_random_uuid(), '{foreign}')"
    );
    assert_eq!(as_a(reference).await, Err("23503".to_owned()));
    assert_eq!(
        as_a("truncate probe.notes".to_owned()).await,
        Err("42501".to_owned())
    );
    assert_eq!(
        as_a("select * from probe.events_by_day_2026".to_owned()).await,
        Err("42501".to_owned())
    );
    assert_eq!(
        as_a("select * from probe.outbox".to_owned()).await,
        Err("42501".to_owned())
    );
    assert_eq!(
        as_a("select * from probe.outbox_published".to_owned()).await,
        Err("42501".to_owned())
    );
}

#[tokio::test]
async fn a_value_taken_by_another_tenant_is_free_here() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_B, "same").await;
    note(&db, TENANT_A, "same").await;
}

#[tokio::test]
async fn a_duplicate_names_its_constraint_and_becomes_exists() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, "same").await;
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    let error = insert_note(&mut tx, id(), "same").await.unwrap_err();
    assert_eq!(error.code(), Code::Exists);
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    let error =
        sqlx::query("insert into probe.notes (tenant_id, id, body) values ($1, $2, 'same')")
            .bind(TENANT_A.uuid())
            .bind(id())
            .execute(tx.conn())
            .await
            .unwrap_err();
    assert_eq!(db::unique_violation(&error), Some("notes_body_key"));
    assert_eq!(db::foreign_key_violation(&error), None);
}

#[tokio::test]
async fn a_lookup_of_the_definer_sees_all_tenants_and_nothing_more_is_open() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, "shared").await;
    note(&db, TENANT_B, "shared").await;
    let mut tx = db
        .across_tenants(&in_tenant(TENANT_A), "a test")
        .await
        .unwrap();
    let tenants: Vec<uuid::Uuid> = sqlx::query_scalar("select probe.tenants_with($1)")
        .bind("shared")
        .fetch_all(tx.conn())
        .await
        .unwrap();
    assert_eq!(tenants, [TENANT_A.uuid(), TENANT_B.uuid()]);
    let mut relay = database.role("probe_relay").await;
    let refused = relay
        .execute("select probe.tenants_with('shared')")
        .await
        .unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().unwrap(),
        "42501"
    );
}

#[tokio::test]
async fn the_relay_reaches_the_outbox_alone() {
    let database = database().await;
    let mut relay = database.role("probe_relay").await;
    for sql in [
        "select * from probe.notes",
        "select * from probe.inbox",
        "update probe.outbox set type = ''",
        "update probe.outbox_published set type = ''",
        "truncate probe.outbox_published",
    ] {
        let refused = relay.execute(sql).await.unwrap_err();
        assert_eq!(
            refused.as_database_error().unwrap().code().unwrap(),
            "42501",
            "{sql}"
        );
    }
}
