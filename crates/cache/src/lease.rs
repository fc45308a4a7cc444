//! Permits that a process has fetched in advance for limits that are generous enough not to ask Redis each time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::gcra::{Rate, Reply};

/// Keys with leased permits; beyond it the least used forget theirs, which costs their callers a question to Redis and no more.
const KEYS_MAX: u64 = 100_000;
/// Only a key that asked within this time leases ahead: somebody who comes by rarely takes one permit at a time, so none go to waste.
const HOT: Duration = Duration::from_secs(1);

struct Held {
    permits: u32,
    /// What Redis had left after the lease.
    beyond: u32,
    full_at: Instant,
    expires_at: Instant,
    asked_at: Instant,
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

    /// How many permits to ask for: one, or `lease` when the key is in demand.
    pub(crate) fn want(&self, key: &str, lease: u32, now: Instant) -> u32 {
        let hot = self
            .0
            .get(key)
            .is_some_and(|held| now.saturating_duration_since(lock(&held).asked_at) < HOT);
        if hot { lease } else { 1 }
    }

    /// Stores what was granted beyond the one permit that its request uses.
    ///
    /// The lease ends when its permits have grown back in Redis: using them later would let through more than the limit.
    pub(crate) fn store(&self, key: String, rate: Rate, reply: Reply, now: Instant) {
        let lifetime = rate.step.saturating_mul(i64::from(reply.granted));
        let held = Held {
            permits: reply.granted.saturating_sub(1),
            beyond: reply.remaining,
            full_at: now + duration(reply.reset),
            expires_at: now + duration(lifetime),
            asked_at: now,
        };
        self.0.insert(key, Arc::new(Mutex::new(held)));
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
