//! What is noted about a call when it ends, however it ends: one log line and one measurement.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kernel::{Clock, Code, Error, ErrorCode, RequestContext};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use runtime::LATENCY_BUCKETS_S;
use tonic::Status;
use tracing::{Level, Span};

use crate::status::to_status;

/// A successful call that took longer is worth a line at the default level.
const SLOW: Duration = Duration::from_secs(1);

/// The instruments of a server. No label names a tenant.
#[derive(Clone)]
pub(crate) struct Instruments {
    duration: Histogram<f64>,
    shed: Counter<u64>,
}

impl Instruments {
    pub(crate) fn new(meter: &Meter) -> Self {
        let duration = meter
            .f64_histogram("rpc.server.call.duration")
            .with_unit("s")
            .with_description("how long calls took")
            .with_boundaries(LATENCY_BUCKETS_S.to_vec())
            .build();
        let shed = meter
            .u64_counter("rpc.server.shed")
            .with_description("calls refused because too many were in flight")
            .build();
        Self { duration, shed }
    }

    pub(crate) fn count_shed(&self, path: &'static str) {
        self.shed.add(1, &[KeyValue::new("rpc.method", path)]);
    }
}

/// Travels with the request to the handler, so that both can speak about the failure.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) ctx: RequestContext,
    failure: Arc<OnceLock<ErrorCode>>,
}

impl Call {
    pub(crate) fn new(ctx: RequestContext, failure: Arc<OnceLock<ErrorCode>>) -> Self {
        Self { ctx, failure }
    }

    /// Logs a failure once, with its chain when it is ours, and turns it into a status.
    pub(crate) fn fail(&self, error: &Error) -> Status {
        note(error);
        // A stream can fail only once, and a second note would be of the same failure.
        let _ = self.failure.set(error.error_code());
        to_status(error)
    }
}

/// Writes the line that a failure deserves. A failure that another service has logged comes without a cause and is not repeated as an error.
pub(crate) fn note(error: &Error) {
    let (code, reason) = (error.error_code().as_str(), error.reason());
    let is_ours = std::error::Error::source(error).is_some();
    match error.code() {
        Code::Internal if is_ours => tracing::error!(
            error.code = code,
            reason,
            chain = error.chain(),
            "failed: {}",
            error.chain()
        ),
        Code::Internal | Code::Unavailable | Code::Timeout => tracing::warn!(
            error.code = code,
            reason,
            chain = error.chain(),
            "failed: {}",
            error.chain()
        ),
        Code::Forbidden | Code::Limited => {
            tracing::info!(error.code = code, reason, "refused: {}", error.message())
        }
        Code::Invalid
        | Code::Unauthenticated
        | Code::NotFound
        | Code::Exists
        | Code::Conflict
        | Code::Precondition => {
            tracing::debug!(error.code = code, reason, "refused: {}", error.message());
        }
    }
}

/// An open call; dropping it without an end means that the caller went away.
pub(crate) struct Record {
    path: &'static str,
    clock: Clock,
    started: Instant,
    span: Span,
    instruments: Instruments,
    failure: Arc<OnceLock<ErrorCode>>,
    is_open: bool,
}

impl Record {
    pub(crate) fn open(
        path: &'static str,
        clock: &Clock,
        span: Span,
        instruments: &Instruments,
    ) -> Self {
        Self {
            path,
            clock: clock.clone(),
            started: clock.instant(),
            span,
            instruments: instruments.clone(),
            failure: Arc::default(),
            is_open: true,
        }
    }

    pub(crate) fn failure(&self) -> Arc<OnceLock<ErrorCode>> {
        Arc::clone(&self.failure)
    }

    pub(crate) const fn span(&self) -> &Span {
        &self.span
    }

    pub(crate) fn close(mut self, code: tonic::Code) {
        self.write(code);
    }

    fn write(&mut self, code: tonic::Code) {
        self.is_open = false;
        let took = self.clock.instant().saturating_duration_since(self.started);
        let status = i32::from(code);
        self.instruments.duration.record(
            took.as_secs_f64(),
            &[
                KeyValue::new("rpc.method", self.path),
                KeyValue::new("rpc.response.status_code", i64::from(status)),
            ],
        );
        let level = match code {
            tonic::Code::Ok if took < SLOW => Level::DEBUG,
            tonic::Code::InvalidArgument
            | tonic::Code::Unauthenticated
            | tonic::Code::NotFound
            | tonic::Code::AlreadyExists => Level::DEBUG,
            tonic::Code::Internal | tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => {
                Level::WARN
            }
            _ => Level::INFO,
        };
        let _entered = self.span.enter();
        let latency_ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
        let error_code = self.failure.get().map(|code| code.as_str());
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(target: "rpc::access", $level, statusCode = status, latency_ms, error.code = error_code, "{} {:?}", self.path, code)
            };
        }
        if level == Level::DEBUG {
            line!(Level::DEBUG);
        } else if level == Level::INFO {
            line!(Level::INFO);
        } else {
            line!(Level::WARN);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.is_open {
            self.write(tonic::Code::Cancelled);
        }
    }
}
