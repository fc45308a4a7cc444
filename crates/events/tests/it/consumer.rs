use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use events::{Ladder, Queue, dead_letters};
use kernel::{Error, ErrorCode};
use proto::auth::v1::UserCreated;
use testkit::eventually;
use tokio::sync::Semaphore;

use crate::probe::{Probe, Seen, apply, number, users};

fn unavailable() -> Error {
    Error::new(
        ErrorCode::ServiceUnavailable,
        "probe.source_down",
        "the source is down",
    )
}

#[tokio::test]
async fn a_failing_event_climbs_the_ladder_and_ends_among_the_dead_letters() {
    let probe = Probe::new().await;
    let seen = Seen::default();
    let (noted, clock) = (seen.clone(), kernel::Clock::system());
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted_times = Arc::clone(&times);
    probe.start_consumer(users(), move |delivery| {
        noted.note(&delivery);
        noted_times.lock().unwrap().push(clock.instant());
        async { Err(unavailable()) }
    });
    probe.emit("ann", 1).await;
    probe.start_relay();
    eventually("the event is dead", || async {
        (dead_letters::count(&probe.broker, "probe.users")
            .await
            .unwrap_or(0)
            == 1)
            .then_some(())
    })
    .await;
    probe.stop().await;

    let attempts: Vec<u32> = seen.all().iter().map(|delivery| delivery.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let gaps: Vec<u128> = times
        .lock()
        .unwrap()
        .windows(2)
        .map(|w| (w[1] - w[0]).as_millis())
        .collect();
    assert!(gaps[0] >= 40 && gaps[1] >= 80 && gaps[2] >= 120, "{gaps:?}");
    let letter = &dead_letters::list(&probe.broker, "probe.users", 10)
        .await
        .unwrap()[0];
    assert_eq!(
        (letter.reason.as_str(), letter.attempts),
        ("probe.source_down", 4)
    );
}

#[tokio::test]
async fn what_can_never_succeed_is_dead_at_once_and_holds_up_nothing() {
    let probe = Probe::new().await;
    let queue = users().handler_timeout(Duration::from_secs(5));
    events::declare(&probe.broker, &queue).await.unwrap();
    probe.inject(&queue, b"\xff no event \x00").await;
    probe
        .inject(&queue, br#"{"specversion":"1.0","cpf":"123.456.789-09"}"#)
        .await;
    probe.emit("ann", 4).await;
    probe.flush().await;
    let seen = Seen::default();
    let drained = events::drain(&probe.broker, &queue, |delivery| {
        let seen = seen.clone();
        async move {
            match number(&delivery) {
                0 => panic!("a bug"),
                1 => Err(Error::not_found("probe.gone", "it is gone")),
                2 => Err(Error::internal("a bug of ours")),
                _ => {
                    seen.note(&delivery);
                    Ok(())
                }
            }
        }
    })
    .await
    .unwrap();
    assert_eq!((drained.done, drained.retried, drained.dead), (1, 0, 5));
    assert_eq!(seen.numbers(), [3]);
    let letters = dead_letters::list(&probe.broker, queue.name, 10)
        .await
        .unwrap();
    let mut reasons: Vec<&str> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "events.handler_panicked",
            "events.undecodable",
            "events.undecodable",
            "internal",
            "probe.gone"
        ]
    );
    assert!(
        letters
            .iter()
            .all(|letter| letter.failed_at.is_some() && letter.attempts == 1)
    );
}

#[tokio::test]
async fn a_payload_of_a_newer_version_waits_among_the_dead_letters_for_an_upgrade() {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", 1).await;
    let mut envelope = probe.database.events().await.remove(0);
    envelope.dataschema = "auth.v1.UserCreated/v2".into();
    probe
        .inject(&users(), &serde_json::to_vec(&envelope).unwrap())
        .await;
    let handler =
        |delivery: events::Delivery| async move { delivery.payload::<UserCreated>().map(drop) };
    assert_eq!(
        events::drain(&probe.broker, &users(), handler)
            .await
            .unwrap()
            .dead,
        1
    );
    let letters = dead_letters::list(&probe.broker, "probe.users", 10)
        .await
        .unwrap();
    assert_eq!(letters[0].reason, "events.version_unknown");
    assert_eq!(letters[0].event_id, Some(envelope.id));
}

#[tokio::test]
async fn an_event_that_waits_for_its_retry_does_not_delay_those_behind_it() {
    let probe = Probe::new().await;
    let queue = Queue::new("probe.users", ["user.created"])
        .concurrency(1)
        .ladder(Ladder::of([Duration::from_secs(3600)]));
    let seen = Seen::default();
    let noted = seen.clone();
    probe.start_consumer(queue, move |delivery| {
        let noted = noted.clone();
        async move {
            if number(&delivery) == 0 {
                return Err(unavailable());
            }
            noted.note(&delivery);
            Ok(())
        }
    });
    probe.emit("ann", 10).await;
    probe.start_relay();
    eventually("the others are handled", || async {
        (seen.len() == 9).then_some(())
    })
    .await;
    assert_eq!(probe.depth("probe.users.retry.3600s").await, 1);
    probe.stop().await;
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_ended_and_tried_again() {
    let probe = Probe::new().await;
    let queue = users().handler_timeout(Duration::from_millis(20));
    events::declare(&probe.broker, &queue).await.unwrap();
    probe.emit("ann", 1).await;
    probe.flush().await;
    let drained = events::drain(&probe.broker, &queue, |_| std::future::pending())
        .await
        .unwrap();
    assert_eq!((drained.retried, drained.dead), (1, 0));
}

#[tokio::test]
async fn a_flood_of_duplicates_has_one_effect() {
    let probe = Probe::new().await;
    let queue = users().concurrency(16);
    events::declare(&probe.broker, &queue).await.unwrap();
    probe.emit("ann", 5).await;
    for envelope in probe.database.events().await {
        for _ in 0..10 {
            probe
                .inject(&queue, &serde_json::to_vec(&envelope).unwrap())
                .await;
        }
    }
    probe.flush().await;
    let (db, handled) = (probe.db.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&handled);
    probe.start_consumer(queue, move |delivery| {
        let (db, count) = (db.clone(), Arc::clone(&count));
        async move {
            apply(&db, &delivery).await?;
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    eventually("all duplicates are handled", || async {
        (handled.load(Ordering::SeqCst) == 55).then_some(())
    })
    .await;
    assert_eq!(probe.effects().await, 5);
    probe.stop().await;
}

#[tokio::test]
async fn no_more_events_are_under_way_than_the_queue_allows() {
    let probe = Probe::new().await;
    let (gate, running, most) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (inner_gate, inner_running, inner_most) =
        (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
    probe.start_consumer(users().concurrency(3), move |_| {
        let (gate, running, most) = (
            Arc::clone(&inner_gate),
            Arc::clone(&inner_running),
            Arc::clone(&inner_most),
        );
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    probe.emit("ann", 30).await;
    probe.start_relay();
    eventually("three are under way", || async {
        (running.load(Ordering::SeqCst) == 3).then_some(())
    })
    .await;
    gate.add_permits(30);
    eventually("the queue is empty", || async {
        (gate.available_permits() == 0).then_some(())
    })
    .await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    probe.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way_and_loses_nothing() {
    let probe = Probe::new().await;
    let queue = users().concurrency(4);
    events::declare(&probe.broker, &queue).await.unwrap();
    probe.emit("ann", 20).await;
    probe.flush().await;
    let (gate, entered, seen) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Seen::default(),
    );
    let (inner_gate, inner_entered, noted) =
        (Arc::clone(&gate), Arc::clone(&entered), seen.clone());
    probe.start_consumer(queue.clone(), move |delivery| {
        let (gate, entered, noted) = (
            Arc::clone(&inner_gate),
            Arc::clone(&inner_entered),
            noted.clone(),
        );
        async move {
            entered.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            noted.note(&delivery);
            Ok(())
        }
    });
    eventually("four are under way", || async {
        (entered.load(Ordering::SeqCst) == 4).then_some(())
    })
    .await;
    probe.shutdown.begin();
    gate.add_permits(4);
    probe.stop().await;
    assert_eq!(seen.len(), 4, "what was under way is finished");

    let rest = Seen::default();
    events::drain(&probe.broker, &queue, rest.handler())
        .await
        .unwrap();
    let mut numbers = [seen.numbers(), rest.numbers()].concat();
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..20).collect::<Vec<_>>(),
        "each event was handled once"
    );
}

#[tokio::test]
async fn an_event_that_outlasts_the_drain_is_handled_again() {
    let probe = Probe::new().await;
    let queue = users().drain_timeout(Duration::from_millis(50));
    events::declare(&probe.broker, &queue).await.unwrap();
    probe.emit("ann", 1).await;
    probe.flush().await;
    let entered = Arc::new(AtomicUsize::new(0));
    let inner = Arc::clone(&entered);
    probe.start_consumer(queue.clone(), move |_| {
        inner.fetch_add(1, Ordering::SeqCst);
        std::future::pending()
    });
    eventually("it is under way", || async {
        (entered.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    probe.stop().await;
    let seen = Seen::default();
    events::drain(&probe.broker, &queue, seen.handler())
        .await
        .unwrap();
    assert_eq!(seen.len(), 1);
}
