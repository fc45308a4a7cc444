//! Stops calling a service that is silent: one that takes connections and answers nothing, like a process that was stopped.
//!
//! What tells silence from slowness is the ping of HTTP/2, which a service answers however long its methods take. A connection whose ping
//! stays without an answer ends, and its calls fail. Each call after that would wait as long on a connection of its own; so from then on
//! calls are refused at once, except for one now and then that finds out whether the service speaks again. Any answer closes the circuit.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::Clock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tonic::Status;

use crate::unsent::causes;

/// One call in so long finds out whether the service speaks again.
const PAUSE: Duration = Duration::from_secs(1);
const CLOSED: u64 = 0;

/// One service as seen through one channel. Costs a call an atomic load while all is well.
pub(crate) struct Circuit {
    place: String,
    clock: Clock,
    zero: Instant,
    /// Microseconds after `zero` from when on a call may find out whether the service speaks again.
    probe_at: AtomicU64,
    refused: Counter<u64>,
}

impl Circuit {
    pub(crate) fn new(place: impl fmt::Display, clock: Clock) -> Self {
        Self {
            place: place.to_string(),
            zero: clock.instant(),
            clock,
            probe_at: AtomicU64::new(CLOSED),
            refused: opentelemetry::global::meter("rpc")
                .u64_counter("rpc.client.refused")
                .with_description("calls that were not made because the service is silent")
                .build(),
        }
    }

    /// Never zero, which is closed.
    fn now(&self) -> u64 {
        let passed = self.clock.instant().saturating_duration_since(self.zero);
        micros(passed).saturating_add(1)
    }

    /// Whether a call may be made. While the service is silent only one in each pause may.
    pub(crate) fn admit(&self) -> Result<(), Status> {
        let probe_at = self.probe_at.load(Ordering::Acquire);
        if probe_at == CLOSED {
            return Ok(());
        }
        let now = self.now();
        let exchange = |next| {
            let order = (Ordering::AcqRel, Ordering::Acquire);
            self.probe_at
                .compare_exchange(probe_at, next, order.0, order.1)
        };
        if now >= probe_at && exchange(now + micros(PAUSE)).is_ok() {
            return Ok(());
        }
        let place = KeyValue::new("server.address", self.place.clone());
        self.refused.add(1, &[place]);
        Err(Status::unavailable(format!("{} is silent", self.place)))
    }

    /// Learns from what came of a call.
    pub(crate) fn learn<T>(&self, outcome: &Result<T, Box<dyn Error + Send + Sync>>) {
        match outcome {
            Ok(_) => self.heard(),
            Err(error) if is_silence(error.as_ref()) => self.unheard(),
            // A port that is closed, a connection that breaks: whoever tries again learns that as quickly.
            Err(_) => {}
        }
    }

    fn heard(&self) {
        if self.probe_at.load(Ordering::Relaxed) != CLOSED
            && self.probe_at.swap(CLOSED, Ordering::AcqRel) != CLOSED
        {
            tracing::info!(
                service = self.place,
                "a service that was silent speaks again"
            );
        }
    }

    fn unheard(&self) {
        // The next call goes out at once: where a balancer stands in front, it finds another replica.
        let opened =
            self.probe_at
                .compare_exchange(CLOSED, self.now(), Ordering::AcqRel, Ordering::Acquire);
        if opened.is_ok() {
            tracing::warn!(
                service = self.place,
                "a service is silent; most calls to it are refused until it speaks"
            );
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether a call failed because nothing came from the other side: no answer to a ping, or none to a connection.
fn is_silence(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let ping = cause.downcast_ref::<hyper::Error>();
        let connect = cause.downcast_ref::<io::Error>();
        ping.is_some_and(hyper::Error::is_timeout)
            || connect.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

    fn silence() -> Outcome {
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    }

    fn circuit() -> (Circuit, Clock) {
        let clock = Clock::manual("2026-01-01T00:00:00Z");
        (Circuit::new("http://niche:7003", clock.clone()), clock)
    }

    #[test]
    fn a_silent_service_is_asked_at_once_and_then_once_in_each_pause() {
        let (circuit, clock) = circuit();
        assert!((0..10).all(|_| circuit.admit().is_ok()));
        circuit.learn(&silence());
        let admitted = || (0..10).filter(|_| circuit.admit().is_ok()).count();
        assert_eq!(admitted(), 1, "a replica may answer");
        clock.advance(TimeDelta::milliseconds(999));
        assert_eq!(admitted(), 0);
        clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(admitted(), 1);
        // Another silence does not let another call out before its time.
        circuit.learn(&silence());
        assert_eq!(admitted(), 0);
        let refused = circuit.admit().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
    }

    #[test]
    fn one_answer_closes_the_circuit() {
        let (circuit, _) = circuit();
        circuit.learn(&silence());
        circuit.learn(&Outcome::Ok(()));
        assert!((0..10).all(|_| circuit.admit().is_ok()));
    }

    #[test]
    fn failures_that_come_quickly_do_not_open_it() {
        let (circuit, _) = circuit();
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::BrokenPipe] {
            circuit.learn(&Outcome::Err(io::Error::from(kind).into()));
        }
        let late = tonic::TimeoutExpired(());
        circuit.learn(&Outcome::Err(Box::new(late)));
        assert!((0..10).all(|_| circuit.admit().is_ok()));
    }
}
