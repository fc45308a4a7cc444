//! Commands that have one effect however often they arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use db::{Db, Once};
use kernel::{Code, ErrorCode, RequestContext, Result};
use proto::tenantry::api::v1::PageMeta;
use testkit::{ANN, BOB, TENANT_A, TENANT_B, TestDb};

use crate::probe::{database, id, in_tenant, insert_note};

const METHOD: &str = "/probe.v1.NoteService/CreateNote";

fn with_key(tenant_id: kernel::TenantId, key: &str) -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(tenant_id)
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

/// The use case: writes a note and answers its id.
async fn create_note(db: &Db, ctx: &RequestContext, body: &str) -> Result<PageMeta> {
    let mut tx = match db.once::<PageMeta>(ctx, &message(body)).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    let id = id();
    insert_note(&mut tx, id, body).await?;
    let answer = message(&id.to_string());
    tx.commit_with(&answer).await?;
    Ok(answer)
}

async fn notes(database: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from probe.notes")
        .fetch_one(&mut database.admin().await)
        .await
        .unwrap()
}

async fn keys(database: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from probe.idempotency_keys")
        .fetch_one(&mut database.admin().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_is_marked() {
    let database = database().await;
    let db = database.db().await;
    let first_ctx = with_key(TENANT_A, "k1");
    let first = create_note(&db, &first_ctx, "one").await.unwrap();
    let again_ctx = with_key(TENANT_A, "k1");
    let again = create_note(&db, &again_ctx, "one").await.unwrap();
    assert_eq!(first, again);
    assert!(!first_ctx.is_replayed() && again_ctx.is_replayed());
    assert_eq!(notes(&database).await, 1);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_refused() {
    let database = database().await;
    let db = database.db().await;
    create_note(&db, &with_key(TENANT_A, "k1"), "one")
        .await
        .unwrap();
    let error = create_note(&db, &with_key(TENANT_A, "k1"), "two")
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::IdempotencyKeyReused);
    assert_eq!(notes(&database).await, 1);
}

#[tokio::test]
async fn keys_of_different_tenants_people_and_methods_are_different_keys() {
    let database = database().await;
    let db = database.db().await;
    create_note(&db, &with_key(TENANT_A, "k1"), "one")
        .await
        .unwrap();
    create_note(&db, &with_key(TENANT_B, "k1"), "two")
        .await
        .unwrap();
    let bob = testkit::context()
        .user(BOB)
        .tenant(TENANT_A)
        .method(METHOD)
        .key("k1")
        .build();
    create_note(&db, &bob, "three").await.unwrap();
    let other = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .method("/probe.v1.NoteService/Other")
        .key("k1")
        .build();
    create_note(&db, &other, "four").await.unwrap();
    assert_eq!(notes(&database).await, 4);
}

#[tokio::test]
async fn without_a_key_every_command_runs() {
    let database = database().await;
    let db = database.db().await;
    create_note(&db, &in_tenant(TENANT_A), "one").await.unwrap();
    create_note(&db, &in_tenant(TENANT_A), "two").await.unwrap();
    assert_eq!((notes(&database).await, keys(&database).await), (2, 0));
}

#[tokio::test]
async fn a_command_that_fails_may_be_repeated() {
    let database = database().await;
    let db = database.db().await;
    let ctx = with_key(TENANT_A, "k1");
    // The use case goes away after it has written; nothing is left of it, and the key is free.
    let Once::Fresh(mut tx) = db.once::<PageMeta>(&ctx, &message("one")).await.unwrap() else {
        panic!("the key is new")
    };
    insert_note(&mut tx, id(), "half").await.unwrap();
    drop(tx);
    create_note(&db, &ctx, "one").await.unwrap();
    assert_eq!(notes(&database).await, 1);
    // A use case that ends without an answer stores none.
    let Once::Fresh(tx) = db
        .once::<PageMeta>(&with_key(TENANT_A, "k2"), &message("two"))
        .await
        .unwrap()
    else {
        panic!("the key is new")
    };
    tx.commit().await.unwrap();
    assert_eq!(keys(&database).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_have_one_effect() {
    let database = database().await;
    let db = database.db().await;
    let replayed = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (db, replayed) = (db.clone(), Arc::clone(&replayed));
            async move {
                loop {
                    let ctx = with_key(TENANT_A, "k1");
                    match create_note(&db, &ctx, "one").await {
                        Ok(answer) => {
                            replayed.fetch_add(u32::from(ctx.is_replayed()), Ordering::Relaxed);
                            return answer;
                        }
                        // What a client does: a pool at its limit and a command that still runs both say "try again".
                        Err(error) => assert!(
                            matches!(error.code(), Code::Unavailable | Code::Conflict),
                            "{error:?}"
                        ),
                    }
                }
            }
        })
        .collect();
    let answers = futures::future::join_all(tasks).await;
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "everybody gets the same answer"
    );
    assert_eq!(
        (notes(&database).await, replayed.load(Ordering::Relaxed)),
        (1, 199)
    );
}

#[tokio::test]
async fn while_the_first_still_runs_a_repetition_is_told_to_wait() {
    let database = database().await;
    let db = database.db().await;
    let ctx = with_key(TENANT_A, "k1");
    let Once::Fresh(first) = db.once::<PageMeta>(&ctx, &message("one")).await.unwrap() else {
        panic!("the key is new")
    };
    let error = create_note(&db, &with_key(TENANT_A, "k1"), "one")
        .await
        .unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::Conflict, "idempotency.in_progress")
    );
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(1)));
    first.commit_with(&message("answer")).await.unwrap();
    assert_eq!(
        create_note(&db, &with_key(TENANT_A, "k1"), "one")
            .await
            .unwrap(),
        message("answer")
    );
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let database = database().await;
    let clock = testkit::clock();
    let db = database.db_with(testkit::ids(), clock.clone()).await;
    create_note(&db, &with_key(TENANT_A, "k1"), "one")
        .await
        .unwrap();
    create_note(&db, &with_key(TENANT_B, "k2"), "two")
        .await
        .unwrap();
    clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    assert_eq!(db.sweep_expired(&in_tenant(TENANT_A)).await.unwrap(), 0);
    clock.advance(TimeDelta::seconds(1));
    // Expired but not swept yet: taken over.
    create_note(&db, &with_key(TENANT_A, "k1"), "another")
        .await
        .unwrap();
    assert_eq!(notes(&database).await, 3);
    assert_eq!(
        db.sweep_expired(&in_tenant(TENANT_A)).await.unwrap(),
        1,
        "of another tenant than the caller's"
    );
    assert_eq!(keys(&database).await, 1);
}

#[tokio::test]
async fn a_key_of_silly_length_is_a_violation() {
    let database = database().await;
    let db = database.db().await;
    for key in [String::new(), "k".repeat(256)] {
        let error = create_note(&db, &with_key(TENANT_A, &key), "one")
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.violations()[0].rule.as_str()),
            (Code::Invalid, "idempotency_key.length")
        );
    }
}
