//! Time, injected.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The only source of the present time. Tests advance a manual clock and never sleep.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// Microseconds since 1970 and the instant that stands for zero.
    Manual(Arc<AtomicI64>, Instant),
}

impl Clock {
    /// The clock of the machine.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at an RFC 3339 time until it is advanced.
    ///
    /// # Panics
    /// When `start` is not RFC 3339: it is a literal in a test.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that may read the machine's clock"
    )]
    pub fn manual(start: &str) -> Self {
        let start =
            DateTime::parse_from_rfc3339(start).expect("the start of a manual clock is RFC 3339");
        Self(Source::Manual(
            Arc::new(AtomicI64::new(start.timestamp_micros())),
            Instant::now(),
        ))
    }

    /// Now, with the microseconds that PostgreSQL keeps; finer digits would not survive a round trip.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that may read the machine's clock"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = match &self.0 {
            Source::System => Utc::now().timestamp_micros(),
            Source::Manual(micros, _) => micros.load(Ordering::SeqCst),
        };
        DateTime::from_timestamp_micros(micros).expect("the clock is within the range of chrono")
    }

    /// A monotonic reading for measuring and for deadlines.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that may read the machine's clock"
    )]
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(micros, zero) => {
                let micros = u64::try_from(micros.load(Ordering::SeqCst)).unwrap_or(0);
                // The offset is taken modulo a year to stay within what `Instant` can hold.
                *zero + Duration::from_micros(micros % 31_536_000_000_000)
            }
        }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the machine's clock, which nobody but time itself advances.
    pub fn advance(&self, by: TimeDelta) {
        match &self.0 {
            Source::System => panic!("only a manual clock can be advanced"),
            Source::Manual(micros, _) => {
                let by = by
                    .num_microseconds()
                    .expect("a step fits into 292,000 years");
                micros.fetch_add(by, Ordering::SeqCst);
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System => f.write_str("Clock(system)"),
            Source::Manual(..) => write!(f, "Clock({})", self.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        let before = (clock.now(), clock.instant());
        assert_eq!(clock.now(), before.0);
        clock.advance(TimeDelta::seconds(90));
        assert_eq!(clock.now() - before.0, TimeDelta::seconds(90));
        assert_eq!(clock.instant() - before.1, Duration::from_secs(90));
    }
}
