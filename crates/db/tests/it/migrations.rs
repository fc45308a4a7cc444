//! Migrating.

use db::SetupError;
use runtime::Shutdown;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use testkit::TestDb;

use crate::probe::{MIGRATOR, database};

fn migration(version: i64, sql: &'static str) -> Migration {
    Migration::new(
        version,
        "test".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )
}

/// The probe's migrations and some more.
fn with(more: Vec<Migration>) -> Migrator {
    Migrator::with_migrations(MIGRATOR.iter().cloned().chain(more).collect())
}

async fn applied(database: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from probe.migrations")
        .fetch_one(&mut database.admin().await)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_at_once_apply_each_migration_once() {
    let database = database().await;
    let url = database.url("probe_owner");
    let more = with(vec![migration(
        202_601_020_000,
        "create table probe.once (id int)",
    )]);
    let runs = (0..8).map(|_| db::migrate(&url, &more, "probe"));
    for run in futures::future::join_all(runs).await {
        run.unwrap();
    }
    assert_eq!(applied(&database).await, 2);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_and_names_itself() {
    let database = database().await;
    let more = with(vec![migration(
        202_601_020_000,
        "create table probe.half (id int); select 1 / 0",
    )]);
    let error = db::migrate(&database.url("probe_owner"), &more, "probe")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("migration 202601020000 failed and was rolled back")
            && error.contains("division by zero"),
        "{error}"
    );
    let half: bool = sqlx::query_scalar("select to_regclass('probe.half') is not null")
        .fetch_one(&mut database.admin().await)
        .await
        .unwrap();
    assert!(!half);
    assert_eq!(applied(&database).await, 1);
}

#[tokio::test]
async fn a_migration_changed_after_the_fact_is_refused() {
    let database = database().await;
    let url = database.url("probe_owner");
    db::migrate(
        &url,
        &with(vec![migration(202_601_020_000, "select 1")]),
        "probe",
    )
    .await
    .unwrap();
    let error = db::migrate(
        &url,
        &with(vec![migration(202_601_020_000, "select 2")]),
        "probe",
    )
    .await
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("was changed after it had been applied"),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_program_starts_on_a_newer_schema() {
    let database = database().await;
    let url = database.url("probe_owner");
    db::migrate(
        &url,
        &with(vec![migration(202_601_020_000, "select 1")]),
        "probe",
    )
    .await
    .unwrap();
    db::migrate(&url, &MIGRATOR, "probe").await.unwrap();
}

#[tokio::test]
async fn a_schema_that_was_never_prepared_says_so() {
    let database = database().await;
    let error = db::migrate(&database.url("probe_owner"), &MIGRATOR, "stranger")
        .await
        .unwrap_err();
    assert!(
        matches!(error, SetupError::Migration { .. })
            && error.to_string().contains("did `bootstrap` create"),
        "{error}"
    );
}

#[tokio::test]
async fn patience_waits_for_the_server_and_ends_with_the_process() {
    let shutdown = Shutdown::new();
    let down = "postgres://probe_owner:x@127.0.0.1:1/none";
    let waiting = db::migrate_with_patience(down, &MIGRATOR, "probe", &shutdown);
    let ending = async {
        tokio::task::yield_now().await;
        shutdown.begin();
    };
    let (done, ()) = tokio::join!(waiting, ending);
    assert!(done.unwrap_err().is_unreachable());
}
