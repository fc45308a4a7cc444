//! The pool under pressure.

use std::time::Duration;

use db::{Config, Db};
use kernel::{Clock, Code, Ids, TenantId};
use testkit::{TENANT_A, TENANT_B, TestDb};

use crate::probe::{bodies, database, in_tenant, note};

async fn with_pool_of(database: &TestDb, pool_max: u32) -> Db {
    let config = Config {
        pool_max,
        acquire_timeout: Duration::from_millis(200),
        ..database.config()
    };
    Db::connect(&config, Ids::random(Clock::system()), Clock::system())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_pool_without_a_free_connection_says_come_back_later() {
    let database = database().await;
    let db = with_pool_of(&database, 1).await;
    let ctx = in_tenant(TENANT_A);
    let held = db.tenant(&ctx).await.unwrap();
    assert_eq!(db.pool_use(), (1, 1));
    assert_eq!(
        db.tenant(&ctx).await.err().unwrap().code(),
        Code::Unavailable
    );
    assert_eq!(
        db.read(&ctx, "select 1")
            .optional::<(i32,)>()
            .await
            .unwrap_err()
            .code(),
        Code::Unavailable
    );
    held.rollback().await.unwrap();
    db.tenant(&ctx).await.unwrap().commit().await.unwrap();
}

/// Twice as many callers as connections, none of which can be had: whoever waits behind others waits no longer than they.
#[tokio::test]
async fn a_server_that_is_down_is_told_within_the_acquire_timeout() {
    let database = database().await;
    let config = Config {
        url: "postgres://probe_app:testkit@127.0.0.1:1/none"
            .to_owned()
            .into(),
        pool_max: 2,
        acquire_timeout: Duration::from_millis(500),
        ..database.config()
    };
    let clock = Clock::system();
    let db = Db::connect(&config, Ids::random(clock.clone()), clock.clone())
        .await
        .unwrap();
    let started = clock.instant();
    let asks =
        (0..4).map(|_| async { db.tenant(&in_tenant(TENANT_A)).await.err().unwrap().code() });
    assert_eq!(
        futures::future::join_all(asks).await,
        [Code::Unavailable; 4]
    );
    let took = clock.instant() - started;
    assert!(took < Duration::from_millis(900), "{took:?}");
}

#[tokio::test]
async fn a_statement_ends_with_the_deadline_of_its_request() {
    let database = database().await;
    let db = database.db().await;
    let deadline = Clock::system().instant() + Duration::from_millis(150);
    let ctx = testkit::context()
        .user(testkit::ANN)
        .tenant(TENANT_A)
        .with(move |b| b.deadline(deadline))
        .build();
    let mut tx = db.tenant(&ctx).await.unwrap();
    let error = sqlx::query("select pg_sleep(4)")
        .execute(tx.conn())
        .await
        .map_err(db::classify)
        .unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    drop(tx);
    assert_eq!(
        db.tenant(&ctx).await.err().unwrap().code(),
        Code::Timeout,
        "a request whose time is over is not begun"
    );
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_row_gets_a_conflict() {
    let database = database().await;
    let db = database.db().await;
    note(&db, TENANT_A, "one").await;
    let ctx = in_tenant(TENANT_A);
    let lock = "select id from probe.notes for update";
    let mut first = db.tenant(&ctx).await.unwrap();
    sqlx::query(lock).execute(first.conn()).await.unwrap();
    let mut second = db.tenant(&ctx).await.unwrap();
    let error = sqlx::query("select id from probe.notes for update nowait")
        .execute(second.conn())
        .await
        .map_err(db::classify)
        .unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
}

/// What PostgreSQL answers when the machine under it fails is no defect of ours, and over when that is mended.
#[tokio::test]
async fn a_server_without_room_or_with_a_broken_disk_is_unavailable() {
    let database = database().await;
    let db = database.db().await;
    // disk_full, out_of_memory, too_many_connections, io_error.
    for code in ["53100", "53200", "53300", "58030"] {
        let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
        let raise = format!("do $$ begin raise exception using errcode = '{code}'; end $$");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise))
            .execute(tx.conn())
            .await
            .map_err(db::classify)
            .unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{code}");
    }
}

#[tokio::test]
async fn a_closed_pool_is_unavailable() {
    let database = database().await;
    let db = database.db().await;
    db.ping().await.unwrap();
    db.close().await;
    assert_eq!(db.ping().await.unwrap_err().code(), Code::Unavailable);
}

/// What one of many clients does in a round: work, go away half way, or break something.
async fn round(db: &Db, tenant_id: TenantId, n: u32) {
    let ctx = in_tenant(tenant_id);
    match n % 5 {
        // Goes away at some await point of a transaction or of a read.
        0 => drop(
            tokio::time::timeout(
                Duration::from_micros(u64::from(n) * 7 % 900),
                transaction(db, tenant_id),
            )
            .await,
        ),
        1 => drop(
            tokio::time::timeout(
                Duration::from_micros(u64::from(n) * 11 % 900),
                seen(db, tenant_id),
            )
            .await,
        ),
        2 => {
            if let Ok(mut tx) = db.tenant(&ctx).await {
                sqlx::query("select 1 / 0")
                    .execute(tx.conn())
                    .await
                    .unwrap_err();
            }
        }
        3 => seen(db, tenant_id).await,
        _ => transaction(db, tenant_id).await,
    }
}

fn own(tenant_id: TenantId) -> &'static str {
    if tenant_id == TENANT_A {
        "of a"
    } else {
        "of b"
    }
}

async fn transaction(db: &Db, tenant_id: TenantId) {
    match db.tenant(&in_tenant(tenant_id)).await {
        Ok(mut tx) => {
            assert_eq!(bodies(&mut tx).await, [own(tenant_id)]);
            tx.commit().await.unwrap();
        }
        Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error:?}"),
    }
}

async fn seen(db: &Db, tenant_id: TenantId) {
    match db
        .read(&in_tenant(tenant_id), "select body from probe.notes")
        .all::<(String,)>()
        .await
    {
        Ok(rows) => assert_eq!(rows, [(own(tenant_id).to_owned(),)]),
        Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_in_turn_with_cancellations_and_failures_never_see_each_other() {
    let database = database().await;
    for pool_max in [1, 3] {
        let db = with_pool_of(&database, pool_max).await;
        if pool_max == 1 {
            note(&db, TENANT_A, "of a").await;
            note(&db, TENANT_B, "of b").await;
        }
        let client = |offset: u32| {
            let db = db.clone();
            async move {
                for n in 0..150 {
                    let tenant_id = if (n + offset).is_multiple_of(2) {
                        TENANT_A
                    } else {
                        TENANT_B
                    };
                    round(&db, tenant_id, n + offset * 31).await;
                }
            }
        };
        futures::future::join_all((0..6).map(client)).await;
        // Whatever happened, all connections are there again.
        testkit::eventually("every connection is free", || async {
            (db.pool_use().0 == 0).then_some(())
        })
        .await;
        let held = futures::future::join_all(
            (0..pool_max).map(|_| async { db.tenant(&in_tenant(TENANT_A)).await.unwrap() }),
        )
        .await;
        assert_eq!(held.len(), pool_max as usize);
    }
}
