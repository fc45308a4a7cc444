use std::collections::HashMap;

use events::{Broker, Queue};
use kernel::Clock;
use testkit::{TENANT_A, eventually};

use crate::probe::{Probe, Seen, users};

#[tokio::test]
async fn an_event_travels_from_its_transaction_to_its_handler_with_tenant_and_trace() {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 1).await;
    let emitted = probe.database.events().await;
    assert_eq!(probe.flush().await, 1);
    assert_eq!(probe.waiting().await, 0);

    let seen = Seen::default();
    let drained = events::drain(&probe.broker, &users(), seen.handler())
        .await
        .unwrap();
    assert_eq!((drained.done, drained.retried, drained.dead), (1, 0, 0));
    let delivery = &seen.all()[0];
    assert_eq!(delivery.envelope, emitted[0]);
    assert_eq!(
        (delivery.event_type(), delivery.consumer(), delivery.attempt),
        ("user.created", "probe.users", 1)
    );
    assert_eq!(delivery.ctx.require_tenant().unwrap(), TENANT_A);
    assert_eq!(delivery.ctx.request_id(), emitted[0].id.to_string());
    assert_eq!(
        delivery.ctx.trace_id(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    assert_eq!(
        (delivery.ctx.principal().kind(), delivery.ctx.method()),
        ("system", "probe.users")
    );
    assert!(delivery.ctx.deadline().is_some());
}

#[tokio::test]
async fn a_running_relay_publishes_what_is_committed() {
    let probe = Probe::new().await;
    let seen = Seen::default();
    probe.start_consumer(users(), seen.handler());
    probe.start_relay();
    probe.emit("ann", 20).await;
    eventually("all events are handled", || async {
        (seen.len() == 20).then_some(())
    })
    .await;
    eventually("the outbox is empty", || async {
        (probe.waiting().await == 0).then_some(())
    })
    .await;
    probe.stop().await;
}

#[tokio::test]
async fn an_event_that_nobody_wants_holds_up_none_that_somebody_wants() {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit_unbound().await;
    probe.emit("ann", 1).await;
    assert_eq!(probe.flush().await, 2);
    let seen = Seen::default();
    events::drain(&probe.broker, &users(), seen.handler())
        .await
        .unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(probe.depth("events.unrouted").await, 1);
}

#[tokio::test]
async fn events_that_came_before_their_consumers_reach_each_of_them_once() {
    let probe = Probe::new().await;
    probe.emit("ann", 3).await;
    probe.emit_unbound().await;
    assert_eq!(probe.flush().await, 4);

    let (first, second) = (users(), Queue::new("probe.others", ["user.created"]));
    let (a, b) = tokio::join!(
        events::declare(&probe.broker, &first),
        events::declare(&probe.broker, &second)
    );
    a.and(b).unwrap();
    for queue in [&first, &second] {
        // Declaring again, as every start does, copies nothing twice.
        events::declare(&probe.broker, queue).await.unwrap();
        let seen = Seen::default();
        events::drain(&probe.broker, queue, seen.handler())
            .await
            .unwrap();
        assert_eq!(seen.numbers(), [0, 1, 2], "{}", queue.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_several_processes_that_start_together_miss_nothing() {
    const NAMES: [&str; 3] = ["probe.a", "probe.b", "probe.c"];
    let probe = Probe::new().await;
    probe.emit("ann", 300).await;
    assert_eq!(probe.flush().await, 300);
    // A connection of its own is what a process of its own has.
    let starting = NAMES.map(|name| {
        let broker = Broker::connect(probe.config.clone(), Clock::system()).unwrap();
        async move { events::declare(&broker, &Queue::new(name, ["user.created"])).await }
    });
    for declared in futures::future::join_all(starting).await {
        declared.unwrap();
    }
    for name in NAMES {
        assert_eq!(probe.depth(name).await, 300, "{name}");
    }
}

#[tokio::test]
async fn events_of_one_subject_keep_their_order() {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    for subject in ["ann", "bob", "cid"] {
        probe.emit(subject, 300).await;
    }
    probe.start_relay();
    let seen = Seen::default();
    eventually("all events are published", || async {
        (probe.waiting().await == 0).then_some(())
    })
    .await;
    events::drain(&probe.broker, &users(), seen.handler())
        .await
        .unwrap();
    probe.stop().await;

    let mut by_subject: HashMap<String, Vec<usize>> = HashMap::new();
    for delivery in seen.all() {
        by_subject
            .entry(delivery.envelope.subject.clone())
            .or_default()
            .push(crate::probe::number(&delivery));
    }
    assert_eq!(by_subject.len(), 3);
    for (subject, numbers) in by_subject {
        assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "{subject}");
    }
}

#[tokio::test]
async fn a_new_consumer_takes_over_more_events_than_fit_into_one_batch() {
    let probe = Probe::new().await;
    probe.emit("ann", 1200).await;
    assert_eq!(probe.flush().await, 1200);
    events::declare(&probe.broker, &users()).await.unwrap();
    assert_eq!(probe.depth("probe.users").await, 1200);
    assert_eq!(
        probe.depth("events.unrouted").await,
        1200,
        "other new consumers find them as well"
    );
}
