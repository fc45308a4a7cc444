//! Permits that a process has fetched in advance for limits that are generous enough not to ask Redis each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::gcra::{Rate, Reply};

/// Keys with leased permits; beyond it the least used forget theirs, which costs their callers a question to Redis and no more.
const KEYS_MAX: u64 = 100_000;
/// Only a key that asked within this time leases ahead: somebody who comes by rarely takes one permit at a time, so none go to waste.
const HOT: Duration = Duration::from_secs(1);

/// While one request fetches a lease, those beside it take a permit each. A question that takes longer than this has failed.
const FETCHING_MAX: Duration = Duration::from_millis(100);

struct Held {
    permits: u32,
    /// What Redis had left after the lease.
    beyond: u32,
    full_at: Instant,
    expires_at: Instant,
    asked_at: Instant,
    /// Until when somebody is believed to be fetching a lease.
    fetching_until: Instant,
}

pub(crate) struct Leases(Cache<String, Arc<Mutex<Held>>>);

impl Leases {
    pub(crate) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(KEYS_MAX)
                .time_to_idle(Duration::from_secs(60))
                .build(),
        )
    }

    /// Takes one leased permit, if there is one.
    pub(crate) fn take(&self, key: &str, now: Instant) -> Option<Reply> {
        let held = self.0.get(key)?;
        let mut held = lock(&held);
        if held.permits == 0 || now >= held.expires_at {
            return None;
        }
        held.permits -= 1;
        let reset = micros(held.full_at.saturating_duration_since(now));
        Some(Reply {
            granted: 1,
            allowed: true,
            remaining: held.permits + held.beyond,
            reset,
            retry: 0,
        })
    }

    /// Gives back a permit that was not used after all.
    pub(crate) fn give_back(&self, key: &str) {
        if let Some(held) = self.0.get(key) {
            lock(&held).permits += 1;
        }
    }

    /// How many permits to ask for: one, or `lease` when the key is in demand and nobody is fetching a lease already.
    ///
    /// Without the latter, requests side by side would each fetch a lease, and a burst would eat the limit without using it.
    pub(crate) fn want(&self, key: &str, lease: u32, now: Instant) -> u32 {
        let Some(held) = self.0.get(key) else {
            return 1;
        };
        let mut held = lock(&held);
        let is_hot = now.saturating_duration_since(held.asked_at) < HOT;
        if !is_hot || now < held.fetching_until {
            return 1;
        }
        held.fetching_until = now + FETCHING_MAX;
        lease
    }

    /// Stores what was granted beyond the one permit that its request uses, and keeps what is held already.
    ///
    /// A lease ends when its permits have grown back in Redis: using them later would let through more than the limit.
    pub(crate) fn store(&self, key: String, rate: Rate, reply: Reply, now: Instant) {
        let nothing = || Held {
            permits: 0,
            beyond: 0,
            full_at: now,
            expires_at: now,
            asked_at: now,
            fetching_until: now,
        };
        let held = self.0.get_with(key, || Arc::new(Mutex::new(nothing())));
        let mut held = lock(&held);
        let fetched = reply.granted.saturating_sub(1);
        if fetched > 0 {
            let ends = now + duration(rate.step.saturating_mul(i64::from(reply.granted)));
            let has_some = held.permits > 0 && now < held.expires_at;
            let (permits, expires_at) = if has_some {
                (
                    held.permits.saturating_add(fetched),
                    ends.min(held.expires_at),
                )
            } else {
                (fetched, ends)
            };
            (held.permits, held.expires_at) = (permits, expires_at);
            held.fetching_until = now;
        }
        held.beyond = reply.remaining;
        held.full_at = now + duration(reply.reset);
        held.asked_at = now;
    }
}

fn lock(held: &Arc<Mutex<Held>>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: u32 = 10;

    fn granted(granted: u32) -> Reply {
        Reply {
            granted,
            allowed: true,
            remaining: 50,
            reset: 0,
            retry: 0,
        }
    }

    #[test]
    fn requests_side_by_side_fetch_one_lease_and_lose_none_of_it() {
        let leases = Leases::new();
        let rate = Rate::new(100, Duration::from_secs(60));
        let now = kernel::Clock::system().instant();
        assert_eq!(leases.want("k", LEASE, now), 1);
        leases.store("k".to_owned(), rate, granted(1), now);
        assert_eq!(leases.want("k", LEASE, now), LEASE);
        assert_eq!(leases.want("k", LEASE, now), 1, "somebody is fetching");
        leases.store("k".to_owned(), rate, granted(LEASE), now);
        // The answer to the one beside it comes later and must not replace the lease.
        leases.store("k".to_owned(), rate, granted(1), now);
        let taken = std::iter::from_fn(|| leases.take("k", now)).count();
        assert_eq!(taken, LEASE as usize - 1);
    }

    #[test]
    fn a_question_that_failed_does_not_end_leasing() {
        let leases = Leases::new();
        let rate = Rate::new(100, Duration::from_secs(60));
        let now = kernel::Clock::system().instant();
        leases.store("k".to_owned(), rate, granted(1), now);
        assert_eq!(leases.want("k", LEASE, now), LEASE);
        assert_eq!(leases.want("k", LEASE, now + FETCHING_MAX), LEASE);
    }
}
