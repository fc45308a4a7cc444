//! The seats of those whose password is being looked at, and the room in which a few more wait for one.
//!
//! A hash takes a core and 19 MiB, and anybody may ask for one without having signed in. So there are few seats, who waits is bounded in
//! number and time, and everybody else is refused before they have cost anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Clock, Error, ErrorCode, Result};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, UpDownCounter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seats for each thread that hashes: enough to keep it busy while others read and write.
pub(super) const SEATS_PER_SLOT: usize = 2;
/// Places to wait for each thread that hashes. At 25 ms a hash the last one waits for less than a second.
pub(super) const PLACES_PER_SLOT: usize = 32;
/// The longest wait, where hashes are slower than that. Shorter than a client waits.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What is left to do after the wait: it must fit into the caller's deadline, too.
const WORK: Duration = Duration::from_millis(500);
/// When to come back; the room is empty again by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Where people wait for a seat.
pub(super) struct Room {
    seats: Arc<Semaphore>,
    places: Semaphore,
    clock: Clock,
    waiting: UpDownCounter<i64>,
    refused: Counter<u64>,
}

impl Room {
    pub(super) fn new(slots: usize, clock: Clock, meter: &Meter) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(slots * SEATS_PER_SLOT)),
            places: Semaphore::new(slots * PLACES_PER_SLOT),
            clock,
            waiting: meter
                .i64_up_down_counter("auth.passwords.waiting")
                .with_description("requests that wait for a password to be hashed")
                .build(),
            refused: meter
                .u64_counter("auth.passwords.refused")
                .with_description(
                    "requests refused because too many passwords were to be hashed, by whether the waiting room was full or the wait too long",
                )
                .build(),
        }
    }

    /// A seat, at once or after a wait that leaves time for the work before `deadline`.
    pub(super) async fn enter(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        // Whoever waits already goes first: a free seat is theirs before it can be tried for.
        if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(seat);
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(self.refuse("full"));
        };
        let _waiting = Waiting::begin(&self.waiting);
        let patience = deadline.map_or(WAIT_MAX, |deadline| {
            let left = deadline.saturating_duration_since(self.clock.instant());
            left.saturating_sub(WORK).min(WAIT_MAX)
        });
        let seat = Arc::clone(&self.seats).acquire_owned();
        match tokio::time::timeout(patience, seat).await {
            Ok(seat) => seat.map_err(Error::internal),
            Err(_) => Err(self.refuse("late")),
        }
    }

    fn refuse(&self, why: &'static str) -> Error {
        self.refused.add(1, &[KeyValue::new("reason", why)]);
        Error::new(
            ErrorCode::ServiceUnavailable,
            "service.overloaded",
            "too many requests at once; try again shortly",
        )
        .with_retry_after(PAUSE)
    }

    #[cfg(test)]
    pub(super) fn free_seats(&self) -> usize {
        self.seats.available_permits()
    }
}

/// Counts somebody as waiting, also when they go away.
struct Waiting<'r>(&'r UpDownCounter<i64>);

impl<'r> Waiting<'r> {
    fn begin(waiting: &'r UpDownCounter<i64>) -> Self {
        waiting.add(1, &[]);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{Either, select};

    use super::*;

    fn room(slots: usize, clock: &Clock) -> Room {
        Room::new(slots, clock.clone(), &opentelemetry::global::meter("test"))
    }

    #[tokio::test]
    async fn who_finds_neither_seat_nor_place_is_refused_at_once_and_leaves_nothing_behind() {
        let clock = Clock::system();
        let room = room(1, &clock);
        let mut seated = Vec::new();
        for _ in 0..SEATS_PER_SLOT {
            seated.push(room.enter(None).await.unwrap());
        }
        let mut waiting: Vec<_> = (0..PLACES_PER_SLOT)
            .map(|_| Box::pin(room.enter(None)))
            .collect();
        for one in &mut waiting {
            assert!(futures::poll!(one).is_pending());
        }
        let refused = futures::poll!(Box::pin(room.enter(None)));
        let std::task::Poll::Ready(Err(refused)) = refused else {
            panic!("the room is full: {refused:?}")
        };
        assert_eq!(refused.error_code(), ErrorCode::ServiceUnavailable);
        assert_eq!(refused.reason(), "service.overloaded");
        assert_eq!(refused.retry_after(), Some(PAUSE));
        drop(seated);
        drop(waiting);
        assert_eq!(room.free_seats(), SEATS_PER_SLOT);
        assert_eq!(room.places.available_permits(), PLACES_PER_SLOT);
    }

    #[tokio::test]
    async fn nobody_waits_past_the_deadline_of_their_caller() {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        let room = room(1, &clock);
        let _first = room.enter(None).await.unwrap();
        let _second = room.enter(None).await.unwrap();
        // The one has all the time there is, the other no more than the work takes, so waiting would be in vain.
        let patient = Box::pin(room.enter(None));
        let hurried = Box::pin(room.enter(Some(clock.instant() + WORK)));
        let Either::Right((refused, _)) = select(patient, hurried).await else {
            panic!("who is in a hurry is told first")
        };
        assert_eq!(refused.unwrap_err().reason(), "service.overloaded");
    }
}
