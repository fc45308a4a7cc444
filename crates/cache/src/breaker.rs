//! Stops asking a server that does not answer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Failures in a row that open the breaker: one slow answer is not an outage, three are.
const FAILURES_MAX: u32 = 3;
/// How long an open breaker refuses before it lets one call probe.
const PAUSE: Duration = Duration::from_secs(1);

/// A circuit breaker without locks: callers pay two atomic loads.
#[derive(Debug)]
pub(crate) struct Breaker {
    zero: Instant,
    failures: AtomicU32,
    /// Microseconds after `zero` until which calls are refused; 0 is closed.
    open_until: AtomicU64,
}

/// What a call's result did to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
    None,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            zero: now,
            failures: AtomicU32::new(0),
            open_until: AtomicU64::new(0),
        }
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.zero).as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether a call may be made now. After a pause exactly one caller gets yes and is the probe.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let open_until = self.open_until.load(Ordering::Acquire);
        if open_until == 0 {
            return true;
        }
        let now = self.micros(now);
        now >= open_until && {
            let again = now + u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX);
            self.open_until
                .compare_exchange(open_until, again, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        }
    }

    pub(crate) fn succeeded(&self) -> Change {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return Change::None;
        }
        self.failures.store(0, Ordering::Relaxed);
        match self.open_until.swap(0, Ordering::AcqRel) {
            0 => Change::None,
            _ => Change::Closed,
        }
    }

    pub(crate) fn failed(&self, now: Instant) -> Change {
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if failures < FAILURES_MAX {
            return Change::None;
        }
        let until = self.micros(now) + u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX);
        match self.open_until.swap(until, Ordering::AcqRel) {
            0 => Change::Opened,
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use kernel::Clock;

    #[test]
    fn an_open_breaker_lets_one_probe_through_per_pause() {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        let breaker = Breaker::new(clock.instant());
        assert_eq!(breaker.failed(clock.instant()), Change::None);
        assert_eq!(breaker.failed(clock.instant()), Change::None);
        assert!(breaker.admits(clock.instant()));
        assert_eq!(breaker.failed(clock.instant()), Change::Opened);
        assert!(!breaker.admits(clock.instant()));

        clock.advance(TimeDelta::milliseconds(1001));
        let admitted = (0..10).filter(|_| breaker.admits(clock.instant())).count();
        assert_eq!(admitted, 1);

        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.admits(clock.instant()));
    }

    #[test]
    fn one_good_answer_forgives_earlier_failures() {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        let breaker = Breaker::new(clock.instant());
        for _ in 0..5 {
            breaker.failed(clock.instant());
            breaker.failed(clock.instant());
            breaker.succeeded();
        }
        assert!(breaker.admits(clock.instant()));
    }
}
