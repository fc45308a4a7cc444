//! The command of one statement.

use std::time::Duration;

use chrono::TimeDelta;
use db::{AuditEntry, Db, Once, WriteSql};
use kernel::{Clock, Code, Error, ErrorCode, Ids, RequestContext, Result, TenantId};
use proto::auth::v1::UserCreated;
use proto::tenantry::api::v1::PageMeta;
use testkit::{ANN, TENANT_A, TENANT_B, TestDb};
use uuid::Uuid;

use crate::probe::{database, id, in_tenant, note};

const METHOD: &str = "/probe.v1.NoteService/AddNote";
/// The note without which none is added.
const DOOR: &str = "open";

/// Adds a note as long as the caller's tenant has the door open. Whose note it is, is a parameter, so that a test can ask for a foreign one.
static ADD: WriteSql = WriteSql {
    only_if: "select from probe.notes where body = $1",
    effect: "note as (insert into probe.notes (tenant_id, id, body) select $2, $3, $4 from go)",
    own_key: "notes_pkey",
};

fn with_key(key: &str) -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .method(METHOD)
        .key(key)
        .build()
}

/// A request and an answer; any message serves.
fn message(text: &str) -> PageMeta {
    PageMeta {
        next_cursor: Some(text.to_owned()),
        has_more: true,
    }
}

async fn add(db: &Db, ctx: &RequestContext, id: Uuid, body: &str) -> Result<bool> {
    add_to(db, ctx, (ctx.tenant_id().unwrap(), id), body).await
}

async fn add_to(
    db: &Db,
    ctx: &RequestContext,
    (owner, id): (TenantId, Uuid),
    body: &str,
) -> Result<bool> {
    let created = UserCreated {
        user_id: body.to_owned(),
        source: "register".to_owned(),
    };
    db.write(ctx, &ADD)?
        .bind(DOOR)
        .bind(owner.uuid())
        .bind(id)
        .bind(body.to_owned())
        .emit(body, &created)?
        .audit(AuditEntry::new("notes.add", "note", id))?
        .answer(&message(body), &message(&id.to_string()))?
        .run(taken_or_failed)
        .await
}

fn taken_or_failed(error: sqlx::Error) -> Error {
    match db::unique_violation(&error) {
        Some(name) => Error::exists("probe.taken", name.to_owned()),
        None => db::classify(error),
    }
}

/// Notes beside the door, events and keys.
async fn counts(database: &TestDb) -> (i64, i64, i64) {
    let sql = "select (select count(*) from probe.notes where body <> 'open'), (select count(*) from probe.outbox), (select count(*) from probe.idempotency_keys)";
    let mut admin = database.admin().await;
    sqlx::query_as(sql).fetch_one(&mut admin).await.unwrap()
}

async fn with_pool_of_one(database: &TestDb) -> Db {
    let config = db::Config {
        pool_max: 1,
        ..database.config()
    };
    let clock = Clock::system();
    let db = Db::connect(&config, Ids::random(clock.clone()), clock).await;
    db.unwrap()
}

#[tokio::test]
async fn effect_events_audit_entry_and_answer_come_together() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    let id = id();
    assert!(add(&db, &with_key("k1"), id, "one").await.unwrap());
    assert_eq!(counts(&database).await, (1, 2, 1));
    let events = database.events().await;
    let types: Vec<&str> = events.iter().map(|e| e.event_type.as_str()).collect();
    assert_eq!(types, ["user.created", "audit.recorded"]);
    assert_eq!(
        (events[0].tenantid, events[0].subject.as_str()),
        (TENANT_A.uuid(), "one")
    );
    let replay = with_key("k1");
    let once = db.once::<PageMeta>(&replay, &message("one")).await.unwrap();
    assert!(matches!(once, Once::Replay(answer) if answer == message(&id.to_string())));
    assert!(replay.is_replayed());
}

#[tokio::test]
async fn nothing_is_written_when_the_condition_finds_nothing_or_only_another_tenants_row() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_B, DOOR).await;
    assert!(!add(&db, &with_key("k1"), id(), "one").await.unwrap());
    assert_eq!(counts(&database).await, (0, 0, 0));
}

#[tokio::test]
async fn an_effect_that_fails_leaves_nothing() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    assert!(add(&db, &with_key("k1"), id(), "one").await.unwrap());
    let error = add(&db, &with_key("k2"), id(), "one").await.unwrap_err();
    assert_eq!(
        (error.reason(), error.message()),
        ("probe.taken", "notes_body_key")
    );
    assert_eq!(counts(&database).await, (1, 2, 1));
}

#[tokio::test]
async fn a_row_of_another_tenant_cannot_be_written() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    let ctx = in_tenant(TENANT_A);
    let foreign = add_to(&db, &ctx, (TENANT_B, id()), "foreign").await;
    let error = foreign.unwrap_err();
    assert!(
        error.chain().contains("row-level security"),
        "{}",
        error.chain()
    );
    assert_eq!(counts(&database).await, (0, 0, 0));
}

#[tokio::test]
async fn a_known_key_writes_nothing_and_an_expired_one_is_taken_over() {
    let database = database().await;
    let clock = testkit::clock();
    let db = database.db_with(testkit::ids(), clock.clone()).await;
    note(&db, TENANT_A, DOOR).await;
    assert!(add(&db, &with_key("k1"), id(), "one").await.unwrap());
    for body in ["one", "another"] {
        assert!(!add(&db, &with_key("k1"), id(), body).await.unwrap());
    }
    assert_eq!(counts(&database).await, (1, 2, 1));
    let other = db
        .once::<PageMeta>(&with_key("k1"), &message("another"))
        .await;
    assert_eq!(
        other.err().unwrap().error_code(),
        ErrorCode::IdempotencyKeyReused
    );
    clock.advance(TimeDelta::hours(24));
    assert!(add(&db, &with_key("k1"), id(), "another").await.unwrap());
    assert_eq!(counts(&database).await, (2, 4, 1));
}

#[tokio::test]
async fn while_the_first_still_runs_a_repetition_is_told_to_wait() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    let ctx = with_key("k1");
    let Once::Fresh(first) = db.once::<PageMeta>(&ctx, &message("one")).await.unwrap() else {
        panic!("the key is new")
    };
    let error = add(&db, &with_key("k1"), id(), "one").await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::Conflict, "idempotency.in_progress")
    );
    first.rollback().await.unwrap();
    assert!(add(&db, &with_key("k1"), id(), "one").await.unwrap());
}

/// More often than a kept connection goes without examination, and with two tenants in turn.
#[tokio::test]
async fn tenants_that_share_a_connection_write_their_own_rows() {
    let database = database().await;
    let db = with_pool_of_one(&database).await;
    note(&db, TENANT_A, DOOR).await;
    note(&db, TENANT_B, DOOR).await;
    for round in 0..300 {
        let ctx = in_tenant(if round % 2 == 0 { TENANT_A } else { TENANT_B });
        let body = format!("note {round}");
        assert!(add(&db, &ctx, id(), &body).await.unwrap());
    }
    let sql = "select tenant_id, count(*) from probe.notes where body <> 'open' group by tenant_id order by tenant_id";
    let mut admin = database.admin().await;
    let counts: Vec<(Uuid, i64)> = sqlx::query_as(sql).fetch_all(&mut admin).await.unwrap();
    assert_eq!(counts, [(TENANT_A.uuid(), 150), (TENANT_B.uuid(), 150)]);
}

#[tokio::test]
async fn nothing_of_it_stays_on_the_connection() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    let mut app = database.role("probe_app").await;
    let statement = db::write_statement("probe", &ADD, 4, false);
    let written: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.as_str()))
        .bind(DOOR)
        .bind(TENANT_A.uuid())
        .bind(id())
        .bind("one")
        .bind(TENANT_A.uuid())
        .bind(Vec::<Uuid>::new())
        .bind(Vec::<String>::new())
        .bind(Vec::<String>::new())
        .bind(Vec::<String>::new())
        .fetch_one(&mut app)
        .await
        .unwrap();
    assert_eq!(written, 1);
    let sql = "select coalesce(current_setting('app.tenant_id', true), '')";
    let left: String = sqlx::query_scalar(sql).fetch_one(&mut app).await.unwrap();
    assert_eq!(left, "");
}

/// What a restart of the server does to the sessions.
async fn end_sessions(database: &TestDb) {
    let mut admin = database.admin().await;
    let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let ended: i64 = sqlx::query_scalar(sql).fetch_one(&mut admin).await.unwrap();
    assert!(ended >= 1);
}

#[tokio::test]
async fn dead_idle_connections_cost_no_command_and_double_none() {
    let database = database().await;
    let db = with_pool_of_one(&database).await;
    note(&db, TENANT_A, DOOR).await;
    let ctx = in_tenant(TENANT_A);
    assert!(add(&db, &ctx, id(), "before").await.unwrap());
    end_sessions(&database).await;
    assert!(add(&db, &ctx, id(), "after").await.unwrap());
    assert_eq!(counts(&database).await, (2, 4, 0));
}

#[tokio::test]
async fn a_repetition_after_a_broken_connection_knows_its_own_row() {
    let database = database().await;
    let db = with_pool_of_one(&database).await;
    note(&db, TENANT_A, DOOR).await;
    let ctx = in_tenant(TENANT_A);
    let id = id();
    assert!(add(&db, &ctx, id, "one").await.unwrap());
    let error = add(&db, &ctx, id, "two").await.unwrap_err();
    assert_eq!(
        error.message(),
        "notes_pkey",
        "the first try of a command never means itself"
    );
    // As if the connection had broken after the commit and before the answer.
    end_sessions(&database).await;
    assert!(add(&db, &ctx, id, "one").await.unwrap());
    assert_eq!(counts(&database).await, (1, 2, 0));
}

#[tokio::test]
async fn whoever_has_no_time_left_changes_nothing() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, DOOR).await;
    let ctx = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .with(|b| b.deadline(Clock::system().instant()))
        .build();
    let error = add(&db, &ctx, id(), "late").await.unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert_eq!(counts(&database).await, (0, 0, 0));
}

/// A caller that goes away in the middle of it costs its connection nothing.
#[tokio::test]
async fn a_dropped_command_leaves_the_connection_clean() {
    let database = database().await;
    let db = with_pool_of_one(&database).await;
    note(&db, TENANT_A, DOOR).await;
    let mut admin = database.admin().await;
    let held = sqlx::raw_sql("begin; lock table probe.notes in exclusive mode");
    held.execute(&mut admin).await.unwrap();
    let ctx = in_tenant(TENANT_A);
    let dropped = tokio::time::timeout(Duration::from_millis(100), add(&db, &ctx, id(), "dropped"));
    assert!(dropped.await.is_err(), "the lock is held");
    sqlx::raw_sql("commit").execute(&mut admin).await.unwrap();
    let seen: Vec<(String,)> = db
        .read(&in_tenant(TENANT_B), "select body from probe.notes")
        .all()
        .await
        .unwrap();
    assert_eq!(seen, []);
}
