//! What the pool does with connections that were left in disorder, seen from within.

use std::time::Duration;

use sqlx::Executor as _;
use testkit::TestDb;

use super::{Arc, Measure, Pool};

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("tests/it/migrations");

fn measure() -> Arc<Measure> {
    Arc::new(Measure::new(
        "probe",
        Duration::from_secs(1),
        kernel::Clock::system(),
    ))
}

#[tokio::test]
async fn a_begin_whose_second_statement_fails_does_not_poison_the_pool() {
    let database = TestDb::new("probe", &MIGRATOR).await;
    let pool = Pool::new(
        database.url("probe_app").parse().unwrap(),
        1,
        Duration::from_secs(1),
        measure(),
    );
    for _ in 0..3 {
        let failed = pool
            .begin("BEGIN; SET LOCAL app.tenant_id = 'left behind'; SELECT 1 / 0".to_owned())
            .await;
        assert_eq!(
            failed
                .err()
                .unwrap()
                .as_database_error()
                .unwrap()
                .code()
                .unwrap(),
            "22012"
        );
        let mut begun = pool.begin("BEGIN".to_owned()).await.unwrap();
        let (left,): (Option<String>,) =
            sqlx::query_as("select nullif(current_setting('app.tenant_id', true), '')")
                .fetch_one(&mut *begun.transaction)
                .await
                .unwrap();
        assert_eq!(left, None);
    }
}

/// Looks at the connection as a statement without a transaction finds it, which nothing outside of this crate can do.
#[tokio::test]
async fn a_begin_that_is_dropped_half_way_leaves_neither_tenant_nor_transaction() {
    let database = TestDb::new("probe", &MIGRATOR).await;
    let pool = Pool::new(
        database.url("probe_app").parse().unwrap(),
        1,
        Duration::from_secs(1),
        measure(),
    );
    for polls in 1..30 {
        {
            let mut begin = std::pin::pin!(
                pool.begin("BEGIN; SET LOCAL app.tenant_id = 'left behind'".to_owned())
            );
            for _ in 0..polls {
                let done = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(begin.as_mut().poll(cx).is_ready())
                })
                .await;
                if done {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let mut lease = pool.lease().await.unwrap();
        let row = lease
            .connection()
            .fetch_one(sqlx::raw_sql(super::IS_CLEAN))
            .await
            .unwrap();
        assert!(
            sqlx::Row::try_get_unchecked::<bool, _>(&row, 0).unwrap(),
            "dropped after {polls} polls"
        );
        // Kept, so that the next begin has it at its first poll and BEGIN is in flight when it is dropped.
        pool.keep(lease);
    }
}

#[tokio::test]
async fn what_a_session_setting_leaves_behind_ends_with_its_connection() {
    let database = TestDb::new("probe", &MIGRATOR).await;
    let pool = Pool::new(
        database.url("probe_app").parse().unwrap(),
        1,
        Duration::from_secs(1),
        measure(),
    );
    let mut begun = pool.begin("BEGIN".to_owned()).await.unwrap();
    begun
        .transaction
        .execute("set app.tenant_id = 'left behind'")
        .await
        .unwrap();
    begun.transaction.commit().await.unwrap();
    drop(begun.permit);
    let mut begun = pool.begin("BEGIN".to_owned()).await.unwrap();
    let (left,): (Option<String>,) =
        sqlx::query_as("select nullif(current_setting('app.tenant_id', true), '')")
            .fetch_one(&mut *begun.transaction)
            .await
            .unwrap();
    assert_eq!(left, None);
}
