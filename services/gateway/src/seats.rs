//! How many requests are under way to each service: what is over it is refused at once.
//!
//! Beyond capacity, requests that wait help nobody: each waits longer than the one before, until the answers come too late for all.
//! A refusal before anything else is done costs a fraction of a request, so what was admitted stays fast. Counted by service, so that
//! one that hangs does not fill the seats of the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kernel::{Error, ErrorCode, Result};

/// Requests under way to one service and through one gateway. Reads take half a millisecond, so this many are far more than can be worked on,
/// and the last of them still waits for less than a tenth of a second.
pub const SEATS: usize = 256;
/// When to come back; the queue in front of the seats is gone much sooner.
const PAUSE: Duration = Duration::from_secs(1);

/// The seats of all services.
pub struct Seats {
    max: usize,
    taken: Vec<(&'static str, AtomicUsize)>,
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
        Err(Error::new(
            ErrorCode::ServiceUnavailable,
            "service.overloaded",
            "too many requests at once; try again shortly",
        )
        .with_retry_after(PAUSE))
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
        assert_eq!(refused.reason(), "service.overloaded");
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
