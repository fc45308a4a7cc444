//! What happens when a process dies at the worst moments.

use events::Drained;
use events::dead_letters::{self, Selection};

use crate::probe::{Probe, Seen, apply, users};

async fn drain(probe: &Probe) -> Drained {
    let db = probe.db.clone();
    events::drain(&probe.broker, &users(), |delivery| {
        let db = db.clone();
        async move { apply(&db, &delivery).await }
    })
    .await
    .unwrap()
}

/// Dies at `point` while publishing, then starts again; answers how many deliveries three events became.
async fn relay_dies_at(point: &str) -> usize {
    let probe = Probe::alone().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 3).await;
    let died = probe
        .failing(point, async {
            events::flush(&probe.outbox(), &probe.broker).await
        })
        .await;
    died.unwrap_err();
    assert_eq!(
        probe.waiting().await,
        3,
        "nothing is deleted before it is known to be published"
    );
    assert_eq!(probe.flush().await, 3);
    let drained = drain(&probe).await;
    assert_eq!(probe.effects().await, 3, "each event has one effect");
    drained.done
}

#[tokio::test]
async fn a_relay_that_dies_before_publishing_publishes_later() {
    assert_eq!(relay_dies_at("relay.before_publish").await, 3);
}

#[tokio::test]
async fn a_relay_that_dies_after_publishing_publishes_again() {
    assert_eq!(relay_dies_at("relay.after_publish").await, 6);
}

#[tokio::test]
async fn a_relay_that_dies_before_deleting_publishes_again() {
    assert_eq!(relay_dies_at("relay.before_delete").await, 6);
}

#[tokio::test]
async fn a_consumer_that_dies_before_the_handler_gets_the_event_again() {
    let probe = Probe::alone().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 1).await;
    probe.flush().await;
    assert_eq!(
        probe
            .failing("consumer.before_handler", drain(&probe))
            .await,
        Drained::default()
    );
    assert_eq!(probe.effects().await, 0);
    assert_eq!(drain(&probe).await.done, 1);
    assert_eq!(probe.effects().await, 1);
}

#[tokio::test]
async fn a_consumer_that_dies_between_effect_and_acknowledgement_has_one_effect() {
    let probe = Probe::alone().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 1).await;
    probe.flush().await;
    assert_eq!(
        probe.failing("consumer.before_ack", drain(&probe)).await,
        Drained::default()
    );
    assert_eq!(probe.effects().await, 1);
    let seen = Seen::default();
    let (db, noted) = (probe.db.clone(), seen.clone());
    let queue = users();
    let again = events::drain(&probe.broker, &queue, |delivery| {
        let (db, noted) = (db.clone(), noted.clone());
        async move {
            noted.note(&delivery);
            apply(&db, &delivery).await
        }
    });
    assert_eq!(again.await.unwrap().done, 1);
    assert_eq!((seen.len(), probe.effects().await), (1, 1));
}

#[tokio::test]
async fn an_event_that_kills_its_consumers_ends_among_the_dead_letters() {
    let probe = Probe::alone().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 1).await;
    probe.flush().await;
    let buried = || async {
        probe
            .failing("consumer.before_handler", drain(&probe))
            .await;
        let letters = dead_letters::list(&probe.broker, "probe.users", 10)
            .await
            .unwrap();
        letters.into_iter().next()
    };
    let letter = testkit::eventually("the broker gives up on it", buried).await;
    assert_eq!(
        (letter.reason.as_str(), letter.attempts),
        ("events.delivery_limit", 1)
    );
    // The bug is fixed, and the event gets another life.
    assert_eq!(
        dead_letters::replay(&probe.broker, "probe.users", &Selection::Oldest(1))
            .await
            .unwrap(),
        1
    );
    assert_eq!(drain(&probe).await.done, 1);
    assert_eq!(probe.effects().await, 1);
}
