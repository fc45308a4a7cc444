//! The two defects of `begin` in sqlx 0.9.0, and that the pool is safe from them. Each test fails when its defence in `pool.rs` is taken away.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use testkit::{TENANT_A, TENANT_B, TestDb};

use crate::probe::{bodies, database, in_tenant, note};

/// One connection, so that whoever comes next gets the same one.
async fn with_one_connection(database: &TestDb) -> db::Db {
    let config = db::Config {
        pool_max: 1,
        ..database.config()
    };
    let clock = kernel::Clock::system();
    db::Db::connect(&config, kernel::Ids::random(clock.clone()), clock)
        .await
        .unwrap()
}

/// Polls `future` some times, letting everything else run in between, then drops it.
async fn drop_after<F: Future>(polls: u32, future: F) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let done =
            std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What the next user of the connection finds: open transactions and tenants that are not theirs.
async fn assert_clean(db: &db::Db, when: &str) {
    let ctx = in_tenant(TENANT_B);
    let left: Vec<(String,)> = {
        let mut tx = db
            .tenant(&ctx)
            .await
            .unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(bodies(&mut tx).await, ["of b"], "{when}");
        tx.commit().await.unwrap();
        db.read(&ctx, "select body from probe.notes")
            .all()
            .await
            .unwrap_or_else(|error| panic!("{when}: {error:?}"))
    };
    assert_eq!(left, [("of b".to_owned(),)], "{when}");
}

#[tokio::test]
async fn a_begin_that_is_dropped_half_way_leaves_no_tenant_behind() {
    let database = database().await;
    let db = with_one_connection(&database).await;
    note(&db, TENANT_A, "of a").await;
    note(&db, TENANT_B, "of b").await;
    for polls in 1..40 {
        drop_after(polls, db.tenant(&in_tenant(TENANT_A))).await;
        assert_clean(&db, &format!("dropped after {polls} polls")).await;
        // A statement without any tenant must fail, whatever ran on the connection before.
        let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
        let left: String = sqlx::query_scalar("select current_setting('app.tenant_id')")
            .fetch_one(tx.conn())
            .await
            .unwrap();
        assert_eq!(left, TENANT_A.to_string());
    }
}

#[tokio::test]
async fn a_statement_that_fails_after_begin_does_not_poison_the_pool() {
    let database = database().await;
    let db = with_one_connection(&database).await;
    note(&db, TENANT_B, "of b").await;
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    sqlx::query("select 1 / 0")
        .execute(tx.conn())
        .await
        .unwrap_err();
    drop(tx);
    assert_clean(&db, "after a failed statement").await;
}

#[tokio::test]
async fn healthy_connections_are_kept() {
    let database = database().await;
    let db = with_one_connection(&database).await;
    let before = backend(&db).await;
    for _ in 0..20 {
        db.tenant(&in_tenant(TENANT_A))
            .await
            .unwrap()
            .commit()
            .await
            .unwrap();
        drop(db.tenant(&in_tenant(TENANT_B)).await.unwrap());
    }
    assert_eq!(backend(&db).await, before);
}

async fn backend(db: &db::Db) -> i32 {
    let (pid,) = db
        .read(&in_tenant(TENANT_A), "select pg_backend_pid()")
        .optional::<(i32,)>()
        .await
        .unwrap()
        .unwrap();
    pid
}
