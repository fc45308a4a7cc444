//! The read in one round trip.

use kernel::{Code, TenantId};
use sqlx::FromRow;
use testkit::{TENANT_A, TENANT_B};
use uuid::Uuid;

use crate::probe::{database, in_tenant, note};

#[derive(Debug, FromRow, PartialEq)]
struct Note {
    id: Uuid,
    body: String,
}

const BY_ID: &str = "select id, body from probe.notes where id = $1";

#[tokio::test]
async fn it_finds_the_callers_row_and_not_another_tenants() {
    let database = database().await;
    let db = database.db().await;
    let mine = note(&db, TENANT_A, "mine").await;
    let foreign = note(&db, TENANT_B, "foreign").await;
    let ctx = in_tenant(TENANT_A);
    let found: Option<Note> = db.read(&ctx, BY_ID).bind(mine).optional().await.unwrap();
    assert_eq!(
        found,
        Some(Note {
            id: mine,
            body: "mine".to_owned()
        })
    );
    let found: Option<Note> = db.read(&ctx, BY_ID).bind(foreign).optional().await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn order_limits_and_joins_stay_as_written() {
    let database = database().await;
    let db = database.db().await;
    for body in ["c", "a", "b"] {
        note(&db, TENANT_A, body).await;
        note(&db, TENANT_B, &format!("foreign {body}")).await;
    }
    let ctx = in_tenant(TENANT_A);
    let sql =
        "select n.id, n.body from probe.notes n where n.body >= $1 order by n.body desc limit 2";
    let found: Vec<Note> = db.read(&ctx, sql).bind("a".to_owned()).all().await.unwrap();
    assert_eq!(
        found.iter().map(|n| n.body.as_str()).collect::<Vec<_>>(),
        ["c", "b"]
    );
    let sql = "select count(*) from probe.notes n left join probe.comments c on c.note_id = n.id";
    assert_eq!(
        db.read(&ctx, sql).optional::<(i64,)>().await.unwrap(),
        Some((3,))
    );
}

#[tokio::test]
async fn the_setting_ends_with_the_statement() {
    let database = database().await;
    let config = db::Config {
        pool_max: 1,
        ..database.config()
    };
    let clock = kernel::Clock::system();
    let db = db::Db::connect(&config, kernel::Ids::random(clock.clone()), clock)
        .await
        .unwrap();
    note(&db, TENANT_A, "mine").await;
    // More often than a kept connection goes without examination, and with two tenants in turn.
    for round in 0..300 {
        let tenant_id = if round % 2 == 0 { TENANT_A } else { TENANT_B };
        let rows: Vec<(String,)> = db
            .read(&in_tenant(tenant_id), "select body from probe.notes")
            .all()
            .await
            .unwrap();
        assert_eq!(rows.len(), usize::from(tenant_id == TENANT_A));
    }
}

#[tokio::test]
async fn nothing_of_it_stays_on_the_connection() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, "mine").await;
    let mut app = database.role("probe_app").await;
    let statement = db::read_statement("select body from probe.notes", 0);
    let rows: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(statement.as_str()))
        .bind(TENANT_A.uuid())
        .fetch_all(&mut app)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    let left: (String,) =
        sqlx::query_as("select coalesce(current_setting('app.tenant_id', true), '')")
            .fetch_one(&mut app)
            .await
            .unwrap();
    assert_eq!(left.0, "");
    let refused = sqlx::query("select body from probe.notes")
        .execute(&mut app)
        .await
        .unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().unwrap(),
        "42501"
    );
}

#[tokio::test]
async fn a_caller_without_a_tenant_reads_in_the_platform_scope() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, "of a").await;
    note(&db, TenantId::PLATFORM, "of nobody").await;
    let ctx = testkit::context().user(testkit::ANN).build();
    let rows: Vec<(String,)> = db
        .read(&ctx, "select body from probe.notes")
        .all()
        .await
        .unwrap();
    assert_eq!(rows, [("of nobody".to_owned(),)]);
}

#[tokio::test]
async fn a_failed_read_is_classified_and_the_connection_goes_on() {
    let database = database().await;
    let db = database.db().await;
    let ctx = in_tenant(TENANT_A);
    let error = db
        .read(&ctx, "select 1 / $1::int")
        .bind(0)
        .optional::<(i32,)>()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(
        error.chain().contains("division by zero"),
        "{}",
        error.chain()
    );
    assert_eq!(
        db.read(&ctx, "select 1")
            .optional::<(i32,)>()
            .await
            .unwrap(),
        Some((1,))
    );
}

#[tokio::test]
async fn reads_survive_a_restart_of_the_server() {
    let database = database().await;
    let db = database.db().await;
    let mine = note(&db, TENANT_A, "mine").await;
    let ctx = in_tenant(TENANT_A);
    let read = || db.read(&ctx, BY_ID).bind(mine).optional::<Note>();
    let (one, two) = tokio::join!(read(), read());
    assert!(one.unwrap().is_some() && two.unwrap().is_some());
    // What a restart does to the sessions.
    let mut admin = database.admin().await;
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let ended: i64 = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
    assert!(ended >= 1);
    assert!(
        read().await.unwrap().is_some(),
        "dead idle connections cost no request"
    );
    let tx = db.tenant(&ctx).await.unwrap();
    tx.commit().await.unwrap();
}
