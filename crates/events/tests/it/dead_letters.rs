use std::collections::BTreeSet;

use events::dead_letters::{self, Selection};
use kernel::Error;

use crate::probe::{Probe, Seen, apply, users};

/// A queue with `count` dead letters.
async fn buried(count: usize) -> Probe {
    let probe = Probe::new().await;
    events::declare(&probe.broker, &users()).await.unwrap();
    probe.emit("ann", count).await;
    probe.flush().await;
    let refuse = |_| async { Err(Error::not_found("probe.gone", "it is gone")) };
    assert_eq!(
        events::drain(&probe.broker, &users(), refuse)
            .await
            .unwrap()
            .dead,
        count
    );
    probe
}

#[tokio::test]
async fn looking_at_dead_letters_leaves_them_where_they_are() {
    let probe = buried(5).await;
    for _ in 0..30 {
        // More looks than a queue's delivery limit would forgive.
        let letters = dead_letters::list(&probe.broker, "probe.users", 3)
            .await
            .unwrap();
        assert_eq!(letters.len(), 3);
    }
    assert_eq!(
        dead_letters::count(&probe.broker, "probe.users")
            .await
            .unwrap(),
        5
    );
}

#[tokio::test]
async fn a_replayed_letter_is_injected_once_with_a_fresh_ladder() {
    let probe = buried(3).await;
    let selection = Selection::Oldest(2);
    assert_eq!(
        dead_letters::replay(&probe.broker, "probe.users", &selection)
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        dead_letters::count(&probe.broker, "probe.users")
            .await
            .unwrap(),
        1
    );
    let seen = Seen::default();
    events::drain(&probe.broker, &users(), seen.handler())
        .await
        .unwrap();
    assert_eq!(seen.numbers(), [0, 1]);
    assert!(seen.all().iter().all(|delivery| delivery.attempt == 1));
}

#[tokio::test]
async fn chosen_letters_are_replayed_and_a_second_time_there_are_none() {
    let probe = buried(4).await;
    let letters = dead_letters::list(&probe.broker, "probe.users", 10)
        .await
        .unwrap();
    let selection = Selection::Events(BTreeSet::from([
        letters[1].event_id.unwrap(),
        letters[3].event_id.unwrap(),
    ]));
    assert_eq!(
        dead_letters::replay(&probe.broker, "probe.users", &selection)
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        dead_letters::replay(&probe.broker, "probe.users", &selection)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        dead_letters::count(&probe.broker, "probe.users")
            .await
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn two_who_replay_at_once_inject_each_letter_once() {
    let probe = buried(40).await;
    let selection = Selection::Oldest(1000);
    let (a, b) = tokio::join!(
        dead_letters::replay(&probe.broker, "probe.users", &selection),
        dead_letters::replay(&probe.broker, "probe.users", &selection)
    );
    assert_eq!(a.unwrap() + b.unwrap(), 40);
    let db = probe.db.clone();
    let queue = users();
    let drained = events::drain(&probe.broker, &queue, |delivery| {
        let db = db.clone();
        async move { apply(&db, &delivery).await }
    });
    assert_eq!(drained.await.unwrap().done, 40);
    assert_eq!(probe.effects().await, 40);
}

#[tokio::test]
async fn a_letter_that_dies_again_says_how_often_it_was_replayed() {
    let probe = buried(1).await;
    for replays in 1..=2 {
        dead_letters::replay(&probe.broker, "probe.users", &Selection::Oldest(1))
            .await
            .unwrap();
        let refuse = |_| async { Err(Error::not_found("probe.gone", "it is gone")) };
        events::drain(&probe.broker, &users(), refuse)
            .await
            .unwrap();
        let letters = dead_letters::list(&probe.broker, "probe.users", 1)
            .await
            .unwrap();
        assert_eq!(letters[0].replays, replays);
    }
}
