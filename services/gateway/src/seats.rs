//! How many requests are under way to each service: what is over it is refused at once.
//!
//! Beyond capacity, requests that wait help nobody: each waits longer than the one before, until the answers come too late for all.
//! A refusal before anything else is done costs a fraction of a request, so what was admitted stays fast. Counted by service, so that
//! one that hangs does not fill the seats of the others.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kernel::{Error, ErrorCode, Result};
use runtime::Shutdown;

/// Requests under way to one service and through one gateway. Reads take half a millisecond, so this many are far more than can be worked on,
/// and the last of them still waits for less than a tenth of a second.
pub const SEATS: usize = 256;
/// What a refusal for want of a seat is called.
pub const OVERLOADED: &str = "service.overloaded";
/// How often refusals are told, all of them in one line: a line for each would cost more than the refusal.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// When to come back; the queue in front of the seats is gone much sooner.
const PAUSE: Duration = Duration::from_secs(1);

/// The seats of all services.
pub struct Seats {
    max: usize,
    taken: Vec<(&'static str, AtomicUsize)>,
    refused: AtomicU64,
}

/// Taken while a request is under way.
pub struct Seat<'s>(&'s AtomicUsize);

impl Seats {
    /// `max` seats for each of the services.
    pub fn new(services: impl IntoIterator<Item = &'static str>, max: usize) -> Self {
        let taken = services.into_iter().map(|name| (name, AtomicUsize::new(0)));
        Self {
            max,
            taken: taken.collect(),
            refused: AtomicU64::new(0),
        }
    }

    /// A seat for a request to `service`, or a refusal when all are taken.
    pub fn take(&self, service: &str) -> Result<Option<Seat<'_>>> {
        let Some((_, taken)) = self.taken.iter().find(|(name, _)| *name == service) else {
            return Ok(None);
        };
        let seat = Seat(taken);
        // The seat is given back when it turns out to be one too many.
        if taken.fetch_add(1, Ordering::Relaxed) < self.max {
            return Ok(Some(seat));
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(
            ErrorCode::ServiceUnavailable,
            OVERLOADED,
            "too many requests at once; try again shortly",
        )
        .with_retry_after(PAUSE))
    }

    /// How many were refused since the last call.
    fn refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// Tells of refusals until shutdown.
    pub async fn keep_telling(&self, shutdown: &Shutdown) {
        while shutdown.or(tokio::time::sleep(TOLD_EVERY)).await.is_some() {
            let refused = self.refused();
            if refused > 0 {
                tracing::warn!(
                    requests = refused,
                    "more requests than can be worked on: refused {refused} in the last second"
                );
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_seats_of_a_service_is_refused_and_others_go_on() {
        let seats = Seats::new(["niche", "search"], 2);
        let first = seats.take("niche").unwrap();
        let second = seats.take("niche").unwrap();
        let refused = seats.take("niche").err().unwrap();
        assert_eq!(refused.reason(), OVERLOADED);
        assert_eq!((seats.refused(), seats.refused()), (1, 0));
        assert_eq!(refused.retry_after(), Some(PAUSE));
        assert!(seats.take("search").is_ok());
        drop(first);
        assert!(
            seats.take("niche").is_ok(),
            "a refusal leaves nothing behind"
        );
        drop(second);
        let left: usize = seats
            .taken
            .iter()
            .map(|(_, taken)| taken.load(Ordering::Relaxed))
            .sum();
        assert_eq!(left, 0);
    }
}
