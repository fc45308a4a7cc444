use std::collections::BTreeSet;

use events::Queue;
use kernel::{Code, Error};
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use testkit::{Proxy, eventually};

use crate::probe::{Probe, Seen, users};

#[tokio::test]
async fn a_broker_that_is_down_at_the_start_is_waited_for() {
    let proxy = Proxy::to_amqp().await;
    proxy.cut();
    let probe = Probe::with(testkit::amqp_through(&proxy)).await;
    let seen = Seen::default();
    probe.start_consumer(users(), seen.handler());
    probe.start_relay();
    probe.emit("ann", 3).await;
    assert!(!probe.broker.is_up());
    assert_eq!(probe.waiting().await, 3);

    proxy.restore();
    eventually("the events arrive", || async {
        (seen.len() == 3).then_some(())
    })
    .await;
    eventually("the outbox is empty", || async {
        (probe.waiting().await == 0).then_some(())
    })
    .await;
    assert!(probe.broker.is_up());
    probe.stop().await;
}

#[tokio::test]
async fn connections_that_die_in_the_middle_of_a_batch_lose_nothing() {
    let proxy = Proxy::to_amqp().await;
    let probe = Probe::with(testkit::amqp_through(&proxy)).await;
    let seen = Seen::default();
    probe.start_consumer(users(), seen.handler());
    probe.start_relay();
    probe.broker.up().await;
    for round in 0..4 {
        // About 700 bytes an event: the connection that carries a part of these dies somewhere within the batch.
        proxy.cut_after(60_000 + round * 17_000);
        probe.emit("ann", 250).await;
        eventually("the outbox is empty", || async {
            (probe.waiting().await == 0).then_some(())
        })
        .await;
    }
    let distinct = || {
        seen.all()
            .iter()
            .map(|delivery| delivery.event_id())
            .collect::<BTreeSet<_>>()
            .len()
    };
    eventually("every event has arrived", || async {
        (distinct() == 1000).then_some(())
    })
    .await;
    probe.stop().await;
}

#[tokio::test]
async fn an_outage_while_running_is_survived_by_relay_and_consumer() {
    let proxy = Proxy::to_amqp().await;
    let probe = Probe::with(testkit::amqp_through(&proxy)).await;
    let seen = Seen::default();
    probe.start_consumer(users(), seen.handler());
    probe.start_relay();
    probe.emit("ann", 1).await;
    eventually("the first event arrives", || async {
        (seen.len() == 1).then_some(())
    })
    .await;

    proxy.cut();
    eventually("the outage is noticed", || async {
        (!probe.broker.is_up()).then_some(())
    })
    .await;
    probe.emit("ann", 50).await;
    assert_eq!(
        probe.waiting().await,
        50,
        "a request never waits for the broker"
    );
    let queue = users();
    let error = events::declare(&probe.broker, &queue);
    let error = tokio::time::timeout(std::time::Duration::from_secs(1), error).await;
    assert!(error.is_err() || error.unwrap().unwrap_err().code() == Code::Unavailable);

    proxy.restore();
    eventually("the rest arrives", || async {
        (seen.len() >= 51).then_some(())
    })
    .await;
    probe.stop().await;
}

#[tokio::test]
async fn a_queue_that_somebody_deletes_is_declared_anew_with_what_it_missed() {
    let probe = Probe::new().await;
    let seen = Seen::default();
    probe.start_consumer(users(), seen.handler());
    probe.start_relay();
    probe.emit("ann", 1).await;
    eventually("the first event arrives", || async {
        (seen.len() == 1).then_some(())
    })
    .await;
    probe.delete(&users()).await;
    probe.emit("bob", 10).await;
    // Some come twice, when they were unrouted more than once; the inbox sees to that.
    let distinct = || {
        seen.all()
            .iter()
            .map(|delivery| delivery.event_id())
            .collect::<BTreeSet<_>>()
            .len()
    };
    eventually("events after the deletion arrive", || async {
        (distinct() == 11).then_some(())
    })
    .await;
    probe.stop().await;
}

#[tokio::test]
async fn a_failed_event_is_held_while_the_queue_of_its_retry_is_gone() {
    let probe = Probe::new().await;
    let seen = Seen::default();
    let noted = seen.clone();
    probe.start_consumer(users(), move |delivery| {
        noted.note(&delivery);
        let is_first = noted.len() == 2;
        async move {
            match is_first {
                true => Err(Error::unavailable("probe", "the source is down")),
                false => Ok(()),
            }
        }
    });
    probe.start_relay();
    probe.emit("ann", 1).await;
    eventually("the consumer is at work", || async {
        (seen.len() == 1).then_some(())
    })
    .await;
    let first_pause = Queue::new("probe.users.retry.40ms", ["user.created"]);
    probe.delete(&first_pause).await;
    probe.emit("bob", 1).await;
    eventually("the second event fails", || async {
        (seen.len() == 2).then_some(())
    })
    .await;
    events::declare(&probe.broker, &users()).await.unwrap();
    eventually("it is tried again", || async {
        (seen.len() == 3).then_some(())
    })
    .await;
    assert_eq!(seen.all()[2].event_id(), seen.all()[1].event_id());
    probe.stop().await;
}

#[tokio::test]
async fn what_a_full_queue_refuses_stays_in_the_outbox_in_its_order() {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    let (_connection, channel) = probe.raw().await;
    let full = format!("{}full", probe.config.prefix);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(2));
    let refuse = AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), refuse);
    let declared = channel.queue_declare(
        full.as_str().into(),
        QueueDeclareOptions::default(),
        arguments,
    );
    declared.await.unwrap();
    let exchange = format!("{}events", probe.config.prefix);
    let bound = channel.queue_bind(
        full.as_str().into(),
        exchange.as_str().into(),
        "user.created".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    probe.emit("ann", 20).await;
    let refused = events::flush(&probe.outbox(), &probe.broker).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    assert!(probe.waiting().await >= 18, "two have a place");

    let deleted = channel.queue_delete(full.as_str().into(), QueueDeleteOptions::default());
    deleted.await.unwrap();
    probe.flush().await;
    assert_eq!(probe.waiting().await, 0);
    let seen = Seen::default();
    events::drain(&probe.broker, &users(), seen.handler())
        .await
        .unwrap();
    let numbers: BTreeSet<usize> = seen.numbers().into_iter().collect();
    assert_eq!(numbers, (0..20).collect(), "none is lost");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_at_start_without_repeating_it() {
    let config = events::Config {
        url: "http://user:hunter2@nowhere".to_owned().into(),
        ..testkit::amqp()
    };
    let error = events::Broker::connect(config.clone(), kernel::Clock::system()).unwrap_err();
    assert!(
        error.chain().contains("AMQP_URL") && !error.chain().contains("hunter2"),
        "{}",
        error.chain()
    );
    assert!(!format!("{config:?}").contains("hunter2"));
}
