//! The same limits, counted inside one process, for as long as Redis is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kernel::Clock;
use moka::sync::Cache;

use crate::gcra::{Rate, Reply, take};

/// Buckets kept; a flood of fresh subjects pushes out the least used ones instead of filling the memory.
const BUCKETS_MAX: u64 = 100_000;
/// A bucket that nobody asked for in this time is full again for every class of the platform.
const IDLE_MAX: Duration = Duration::from_secs(3600);

pub(crate) struct LocalLimiter {
    buckets: Cache<String, Arc<AtomicI64>>,
    clock: Clock,
    /// Processes that share the traffic; each allows its part, so that together they allow no more than the limit.
    replicas: u32,
}

impl LocalLimiter {
    pub(crate) fn new(clock: Clock, replicas: u32) -> Self {
        let buckets = Cache::builder()
            .max_capacity(BUCKETS_MAX)
            .time_to_idle(IDLE_MAX)
            .build();
        Self {
            buckets,
            clock,
            replicas: replicas.max(1),
        }
    }

    /// One permit of each limit, all or nothing.
    pub(crate) fn check(&self, limits: &[(&str, Rate)]) -> Vec<Reply> {
        let now = self.clock.now().timestamp_micros();
        let mut replies: Vec<Reply> = Vec::with_capacity(limits.len());
        for (key, rate) in limits {
            replies.push(self.take(key, self.share(*rate), now));
        }
        if replies.iter().all(|reply| reply.granted > 0) {
            return replies;
        }
        for (reply, (key, rate)) in replies.iter_mut().zip(limits) {
            if reply.granted > 0 {
                self.bucket(key)
                    .fetch_sub(self.share(*rate).step, Ordering::AcqRel);
                reply.remaining += 1;
                reply.granted = 0;
            }
        }
        replies
    }

    fn share(&self, rate: Rate) -> Rate {
        let permits = (rate.permits / self.replicas).max(1);
        Rate {
            permits,
            step: rate.depth() / i64::from(permits),
        }
    }

    fn bucket(&self, key: &str) -> Arc<AtomicI64> {
        self.buckets
            .get_with_by_ref(key, || Arc::new(AtomicI64::new(0)))
    }

    fn take(&self, key: &str, rate: Rate, now: i64) -> Reply {
        let bucket = self.bucket(key);
        let mut tat = bucket.load(Ordering::Acquire);
        loop {
            let (reply, after) = take(rate, tat, now, 1);
            if reply.granted == 0 {
                return reply;
            }
            match bucket.compare_exchange_weak(tat, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return reply,
                Err(current) => tat = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn limiter(replicas: u32) -> (LocalLimiter, Clock) {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        (LocalLimiter::new(clock.clone(), replicas), clock)
    }

    fn allowed(limiter: &LocalLimiter, key: &str, rate: Rate, tries: usize) -> usize {
        (0..tries)
            .filter(|_| limiter.check(&[(key, rate)])[0].granted > 0)
            .count()
    }

    #[test]
    fn each_of_three_replicas_allows_a_third() {
        let (limiter, clock) = limiter(3);
        let rate = Rate::new(90, Duration::from_secs(60));
        assert_eq!(allowed(&limiter, "a", rate, 100), 30);
        clock.advance(TimeDelta::seconds(60));
        assert_eq!(allowed(&limiter, "a", rate, 100), 30);
    }

    #[test]
    fn more_replicas_than_permits_still_leave_one() {
        let (limiter, _) = limiter(10);
        assert_eq!(
            allowed(&limiter, "a", Rate::new(5, Duration::from_secs(900)), 100),
            1
        );
    }

    #[test]
    fn a_refused_request_takes_nothing_from_its_other_limits() {
        let (limiter, _) = limiter(1);
        let (narrow, wide) = (
            Rate::new(1, Duration::from_secs(60)),
            Rate::new(10, Duration::from_secs(60)),
        );
        for _ in 0..50 {
            limiter.check(&[("narrow", narrow), ("wide", wide)]);
        }
        assert_eq!(limiter.check(&[("wide", wide)])[0].remaining, 8);
    }

    #[test]
    fn threads_together_get_no_more_than_the_limit() {
        let (limiter, _) = limiter(1);
        let rate = Rate::new(5, Duration::from_secs(900));
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| allowed(&limiter, "a", rate, 100)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(total, 5);
    }
}
