//! Events: in the transaction of their effect, in order, for one leader.

use std::time::Duration;

use db::{AuditEntry, Outbox, Republish};
use proto::auth::v1::{MembershipCreated, UserCreated};
use runtime::Shutdown;
use serde_json::json;
use testkit::{ANN, TENANT_A, TENANT_B};

use crate::probe::{bodies, database, id, in_tenant, insert_note};

fn created(n: u32) -> UserCreated {
    UserCreated {
        user_id: format!("u{n}"),
        source: "register".to_owned(),
    }
}

#[tokio::test]
async fn an_event_exists_exactly_when_its_effect_does() {
    let database = database().await;
    let db = database.db().await;
    let ctx = in_tenant(TENANT_A);
    let mut tx = db.tenant(&ctx).await.unwrap();
    insert_note(&mut tx, id(), "rolled back").await.unwrap();
    tx.emit("u1", &created(1)).unwrap();
    drop(tx);
    let mut tx = db.tenant(&ctx).await.unwrap();
    assert_eq!(bodies(&mut tx).await, Vec::<String>::new());
    assert_eq!(database.events().await, []);
    insert_note(&mut tx, id(), "committed").await.unwrap();
    tx.emit("u2", &created(2)).unwrap();
    assert_eq!(database.events().await, [], "written with the commit");
    tx.commit().await.unwrap();
    assert_eq!(database.events().await.len(), 1);
}

#[tokio::test]
async fn the_envelope_is_cloud_events_json() {
    let database = database().await;
    let db = database.db_with(testkit::ids(), testkit::clock()).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ctx = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .with(move |b| b.traceparent(traceparent.to_owned()))
        .build();
    let mut tx = db.tenant(&ctx).await.unwrap();
    tx.emit("u7", &created(7)).unwrap();
    tx.commit().await.unwrap();
    let mut admin = database.admin().await;
    let (envelope,): (serde_json::Value,) = sqlx::query_as("select envelope from probe.outbox")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(
        envelope,
        json!({
            "specversion": "1.0",
            "id": "00000000-0000-7000-8000-000000000001",
            "type": "user.created",
            "source": "/probe",
            "subject": "u7",
            "time": "2026-06-01T12:00:00Z",
            "tenantid": TENANT_A.to_string(),
            "traceparent": traceparent,
            "dataschema": "auth.v1.UserCreated/v1",
            "datacontenttype": "application/json",
            "data": {"userId": "u7", "source": "register"},
        })
    );
}

#[tokio::test]
async fn an_audit_entry_says_who_did_what() {
    let database = database().await;
    let db = database.db().await;
    let ctx = in_tenant(TENANT_A);
    let mut tx = db.tenant(&ctx).await.unwrap();
    tx.audit(AuditEntry::new("records.create", "record", "r1").with(json!({"niche": "people"})))
        .unwrap();
    tx.commit().await.unwrap();
    let events = database.events().await;
    assert_eq!(
        (events[0].event_type.as_str(), events[0].subject.as_str()),
        ("audit.recorded", "r1")
    );
    let data = &events[0].data;
    assert_eq!(data["actorType"], "user");
    assert_eq!(data["actorId"], ANN.to_string());
    assert_eq!(data["action"], "records.create");
    assert_eq!(data["metadata"], json!({"niche": "people"}));
    assert_eq!(data["requestId"], "req-test");
}

#[tokio::test]
async fn an_event_that_is_too_big_is_refused_before_it_is_written() {
    let database = database().await;
    let db = database.db().await;
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    let event = MembershipCreated {
        user_id: "u".to_owned(),
        roles: vec!["x".repeat(db::ENVELOPE_BYTES_MAX)],
    };
    let error = tx.emit("u", &event).unwrap_err();
    assert!(
        error.chain().contains("send a reference"),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn the_leader_reads_in_order_over_all_tenants_and_removes_what_is_done() {
    let database = database().await;
    let db = database.db().await;
    for (n, tenant_id) in [(1, TENANT_A), (2, TENANT_B), (3, TENANT_A)] {
        let mut tx = db.tenant(&in_tenant(tenant_id)).await.unwrap();
        tx.emit(format!("u{n}"), &created(n)).unwrap();
        tx.emit(
            format!("u{n}"),
            &MembershipCreated {
                user_id: format!("u{n}"),
                roles: vec![],
            },
        )
        .unwrap();
        tx.commit().await.unwrap();
    }
    let mut leader = Outbox::connect(&database.config())
        .unwrap()
        .lead(&Shutdown::new())
        .await
        .unwrap();
    let batch = leader.batch(4).await.unwrap();
    let seen: Vec<_> = batch
        .iter()
        .map(|row| (row.subject.as_str(), row.event_type.as_str(), row.tenant_id))
        .collect();
    let expected = [
        ("u1", "user.created", TENANT_A),
        ("u1", "membership.created", TENANT_A),
        ("u2", "user.created", TENANT_B),
        ("u2", "membership.created", TENANT_B),
    ];
    assert_eq!(seen, expected);
    let envelope: db::Envelope = serde_json::from_str(&batch[0].envelope).unwrap();
    assert_eq!(
        (envelope.id, envelope.subject.as_str()),
        (batch[0].id, "u1")
    );
    leader
        .done(&batch.iter().map(|row| row.seq).collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(leader.backlog().await.unwrap().rows, 2);
    assert_eq!(leader.batch(10).await.unwrap().len(), 2);
    let oldest = leader.backlog().await.unwrap().oldest;
    assert!(oldest.is_some_and(
        |oldest| kernel::Clock::system().now() - oldest < chrono::TimeDelta::minutes(5)
    ));
}

/// Publishes what waits, as far as the database is concerned.
async fn publish(outbox: &Outbox) -> Vec<String> {
    let mut leader = outbox.lead(&Shutdown::new()).await.unwrap();
    let batch = leader.batch(100).await.unwrap();
    let seqs: Vec<_> = batch.iter().map(|row| row.seq).collect();
    leader.done(&seqs).await.unwrap();
    batch.into_iter().map(|row| row.subject).collect()
}

#[tokio::test]
async fn what_was_published_can_be_published_again_in_its_order_with_its_ids() {
    let database = database().await;
    let db = database.db().await;
    let outbox = Outbox::connect(&database.config()).unwrap();
    let emit = async |n: u32, tenant_id| {
        let mut tx = db.tenant(&in_tenant(tenant_id)).await.unwrap();
        tx.emit(format!("u{n}"), &created(n)).unwrap();
        tx.commit().await.unwrap();
    };
    for (n, tenant_id) in [(1, TENANT_A), (2, TENANT_B), (3, TENANT_A)] {
        emit(n, tenant_id).await;
    }
    let ids: Vec<_> = database.events().await.iter().map(|e| e.id).collect();
    assert_eq!(publish(&outbox).await, ["u1", "u2", "u3"]);
    assert_eq!(database.events().await, []);
    let middle = kernel::Clock::system().now();
    emit(4, TENANT_A).await;
    assert_eq!(publish(&outbox).await, ["u4"]);

    let everything = Republish::default();
    assert_eq!(outbox.republish(&everything).await.unwrap(), 4);
    let again: Vec<_> = database.events().await.iter().map(|e| e.id).collect();
    assert_eq!(again[..3], ids, "in the same order, and the same events");
    assert_eq!(
        outbox.republish(&everything).await.unwrap(),
        0,
        "they wait already"
    );
    assert_eq!(publish(&outbox).await, ["u1", "u2", "u3", "u4"]);

    let narrower: [(Narrow<'_>, &[&str]); 7] = [
        (&|r| r.subject = Some("u2".into()), &["u2"]),
        (&|r| r.tenant_id = Some(TENANT_B.uuid()), &["u2"]),
        (&|r| r.types = vec!["tenant.created".into()], &[]),
        (
            &|r| r.types = vec!["user.created".into()],
            &["u1", "u3", "u4", "u2"],
        ),
        (&|r| (r.since, r.until) = (middle, Some(middle)), &[]),
        (&|r| r.until = Some(middle), &[]),
        (&|r| r.since = middle, &["u1", "u3", "u4", "u2"]),
    ];
    for (narrow, expected) in narrower {
        let mut wanted = Republish::default();
        narrow(&mut wanted);
        outbox.republish(&wanted).await.unwrap();
        assert_eq!(publish(&outbox).await, expected, "{wanted:?}");
    }
}

/// Makes a wish narrower.
type Narrow<'a> = &'a dyn Fn(&mut Republish);

#[tokio::test]
async fn published_events_are_forgotten_before_their_consumers_forget_them() {
    let database = database().await;
    let db = database.db().await;
    let outbox = Outbox::connect(&database.config()).unwrap();
    let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
    for n in 0..3 {
        tx.emit(format!("u{n}"), &created(n)).unwrap();
    }
    assert!(tx.first_delivery("search.index", id()).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(publish(&outbox).await.len(), 3);
    let mut admin = database.admin().await;
    let mut aged = async |interval: &str| {
        let older = format!(
            "with o as (update probe.outbox_published set published_at = now() - interval '{interval}'), \
             i as (update probe.inbox set received_at = now() - interval '{interval}') select 1"
        );
        sqlx::query(sqlx::AssertSqlSafe(older))
            .execute(&mut admin)
            .await
            .unwrap();
        let ctx = testkit::context().build();
        let removed = db.sweep_expired(&ctx).await.unwrap();
        let left: i64 = sqlx::query_scalar("select count(*) from probe.outbox_published")
            .fetch_one(&mut admin)
            .await
            .unwrap();
        (removed, left)
    };
    assert_eq!(aged("71 hours").await, (0, 3));
    assert_eq!(aged("73 hours").await, (3, 0), "the inbox keeps its memory");
}

#[tokio::test]
async fn a_commit_wakes_the_leader() {
    let database = database().await;
    let db = database.db().await;
    let mut leader = Outbox::connect(&database.config())
        .unwrap()
        .lead(&Shutdown::new())
        .await
        .unwrap();
    let emit = async {
        let mut tx = db.tenant(&in_tenant(TENANT_A)).await.unwrap();
        tx.emit("u1", &created(1)).unwrap();
        tx.commit().await.unwrap();
    };
    let waited = async {
        // Far longer than the test may take: only the notification can end it.
        let woken = leader.wait(Duration::from_secs(600));
        tokio::time::timeout(Duration::from_secs(10), woken)
            .await
            .expect("a commit with events notifies")
            .unwrap();
        leader.batch(1).await.unwrap().len()
    };
    let (rows, ()) = tokio::join!(waited, emit);
    assert_eq!(rows, 1);
    leader.wait(Duration::from_millis(1)).await.unwrap();
}

#[tokio::test]
async fn there_is_one_leader_and_a_standby_takes_over_when_it_is_gone() {
    let database = database().await;
    let outbox = Outbox::connect(&database.config()).unwrap();
    let shutdown = Shutdown::new();
    let leader = outbox.lead(&shutdown).await.unwrap();
    let nobody = tokio::time::timeout(Duration::from_millis(300), outbox.lead(&shutdown)).await;
    assert!(nobody.is_err(), "the lock is held");
    drop(leader);
    let mut second = tokio::time::timeout(Duration::from_secs(5), outbox.lead(&shutdown))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.batch(1).await.unwrap().len(), 0);
    shutdown.begin();
    assert!(outbox.lead(&shutdown).await.is_none());
}

#[tokio::test]
async fn a_leader_that_loses_its_session_knows() {
    let database = database().await;
    let outbox = Outbox::connect(&database.config()).unwrap();
    let shutdown = Shutdown::new();
    let mut leader = outbox.lead(&shutdown).await.unwrap();
    let mut admin = database.admin().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'probe relay' and datname = current_database()";
    sqlx::query(end).execute(&mut admin).await.unwrap();
    assert!(leader.wait(Duration::from_secs(10)).await.is_err());
    drop(leader);
    assert!(outbox.lead(&shutdown).await.is_some());
}

#[tokio::test]
async fn a_delivery_counts_once_per_consumer_and_tenant() {
    let database = database().await;
    let db = database.db().await;
    let event = id();
    let ctx = in_tenant(TENANT_A);
    let deliver = async |consumer: &str| {
        let mut tx = db.tenant(&ctx).await.unwrap();
        let first = tx.first_delivery(consumer, event).await.unwrap();
        tx.commit().await.unwrap();
        first
    };
    assert!(deliver("search.index").await);
    assert!(!deliver("search.index").await);
    assert!(deliver("tenant.audit").await);
    let mut tx = db.tenant(&ctx).await.unwrap();
    let lost = id();
    assert!(tx.first_delivery("search.index", lost).await.unwrap());
    drop(tx);
    let mut tx = db.tenant(&ctx).await.unwrap();
    assert!(
        tx.first_delivery("search.index", lost).await.unwrap(),
        "what rolled back has not been applied"
    );
}
