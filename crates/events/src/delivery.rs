//! One message: read, handed to the handler, and judged by what came back.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use db::Envelope;
use futures::FutureExt;
use kernel::{Clock, Code, Error, ErrorCode, RequestContext, Result, TenantId};
use proto::Event;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::{Queue, trace};

/// An event, handed to a handler.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The request that the event stands for: its tenant, its trace, and the event's id as the request id.
    ///
    /// The platform's own events carry the platform's scope as their tenant.
    pub ctx: RequestContext,
    /// The event as it was emitted.
    pub envelope: Envelope,
    /// Which attempt this is, from 1. Redeliveries after a crash do not count.
    pub attempt: u32,
    consumer: &'static str,
}

impl Delivery {
    /// The event's id: what `Tx::first_delivery` takes.
    pub fn event_id(&self) -> Uuid {
        self.envelope.id
    }

    /// The event's type, for example `user.created`.
    pub fn event_type(&self) -> &str {
        &self.envelope.event_type
    }

    /// The consumer's name: what `Tx::first_delivery` takes.
    pub fn consumer(&self) -> &'static str {
        self.consumer
    }

    /// The payload.
    ///
    /// Fails with `Invalid` for another type, for a version newer than this program knows, and for JSON that does not fit: the
    /// event then goes to the dead letters, from where it is replayed after an upgrade.
    pub fn payload<M: Event>(&self) -> Result<M> {
        let envelope = &self.envelope;
        let unreadable = |reason: &'static str, what: String| {
            Error::new(ErrorCode::ValidationError, reason, what)
        };
        let version = envelope
            .dataschema
            .rsplit_once("/v")
            .and_then(|(_, version)| version.parse::<u32>().ok());
        if envelope.event_type != M::TYPE {
            return Err(unreadable(
                "events.type_unexpected",
                format!("{} is not {}", envelope.event_type, M::TYPE),
            ));
        }
        if version.is_none_or(|version| version > M::VERSION) {
            return Err(unreadable(
                "events.version_unknown",
                format!(
                    "{} is newer than version {}",
                    envelope.dataschema,
                    M::VERSION
                ),
            ));
        }
        proto::json::from_value(envelope.data.clone()).map_err(|error| {
            unreadable(
                "events.payload_invalid",
                format!("the payload of {} does not fit: {error}", M::TYPE),
            )
        })
    }
}

/// What to do with a message after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// Again after the pause.
    Retry {
        pause: Duration,
        reason: String,
    },
    /// Never again by itself.
    Dead {
        reason: String,
    },
}

impl Verdict {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry { .. } => "retried",
            Self::Dead { .. } => "dead",
        }
    }
}

/// Reads the envelope; what cannot be read is dead at once, with a reason that repeats nothing of the content.
pub(crate) fn read(body: &[u8]) -> Result<Envelope, Verdict> {
    if body.len() > db::ENVELOPE_BYTES_MAX {
        return Err(Verdict::Dead {
            reason: "events.too_large".into(),
        });
    }
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| Verdict::Dead {
        reason: "events.undecodable".into(),
    })?;
    if envelope.specversion != "1.0" {
        return Err(Verdict::Dead {
            reason: "events.specversion_unknown".into(),
        });
    }
    Ok(envelope)
}

/// Runs one attempt: within its time, in its own span, with panics caught.
pub(crate) async fn attempt<F>(
    queue: &Queue,
    clock: &Clock,
    envelope: Envelope,
    attempt: u32,
    handler: impl FnOnce(Delivery) -> F,
) -> Verdict
where
    F: Future<Output = Result<()>>,
{
    let span = tracing::info_span!(
        "event",
        otel.name = %envelope.event_type,
        otel.kind = "consumer",
        queue = queue.name,
        eventId = %envelope.id,
        tenantId = %envelope.tenantid,
        attempt,
    );
    let delivery = delivery(queue, clock, envelope, attempt, &span);
    async {
        let work = AssertUnwindSafe(async { handler(delivery).await }).catch_unwind();
        let result = match tokio::time::timeout(queue.handler_timeout, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(Error::new(
                ErrorCode::InternalError,
                "events.handler_panicked",
                "the handler panicked",
            )),
            Err(_) => Err(Error::new(
                ErrorCode::DeadlineExceeded,
                "events.handler_timeout",
                "the handler took too long",
            )),
        };
        judge(queue, attempt, result)
    }
    .instrument(span)
    .await
}

fn delivery(
    queue: &Queue,
    clock: &Clock,
    envelope: Envelope,
    attempt: u32,
    span: &Span,
) -> Delivery {
    let service = queue.name.split('.').next().unwrap_or(queue.name);
    let ctx = RequestContext::system(service, TenantId(envelope.tenantid))
        .request_id(envelope.id.to_string())
        .method(queue.name)
        .traceparent(trace::adopt(span, envelope.traceparent.as_deref()))
        .deadline(clock.instant() + queue.handler_timeout)
        .build();
    Delivery {
        ctx,
        envelope,
        attempt,
        consumer: queue.name,
    }
}

fn judge(queue: &Queue, attempt: u32, result: Result<()>) -> Verdict {
    let Err(error) = result else {
        return Verdict::Done;
    };
    let reason = error.reason().to_owned();
    let pause = match error.code() {
        Code::Unavailable | Code::Timeout | Code::Conflict | Code::Limited => {
            queue.ladder.pause_after(attempt)
        }
        Code::Invalid
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::Exists
        | Code::Precondition
        | Code::Internal => None,
    };
    match pause {
        Some(pause) => {
            tracing::warn!(reason, attempt, pause_ms = pause.as_millis() as u64, error = %error.chain(), "an event could not be handled and is tried again");
            Verdict::Retry { pause, reason }
        }
        None => {
            tracing::error!(reason, attempt, error = %error.chain(), "an event could not be handled and is among the dead letters");
            Verdict::Dead { reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ladder;

    #[test]
    fn the_code_decides_between_another_attempt_and_the_dead_letters() {
        let queue = Queue::new("tenant.audit", ["audit.recorded"])
            .ladder(Ladder::of([Duration::from_secs(60)]));
        for code in ErrorCode::ALL {
            let retried = matches!(
                code.code(),
                Code::Unavailable | Code::Timeout | Code::Conflict | Code::Limited
            );
            let first = judge(&queue, 1, Err(Error::new(*code, "x.y", "z")));
            assert_eq!(matches!(first, Verdict::Retry { .. }), retried, "{code}");
            let last = judge(&queue, 2, Err(Error::new(*code, "x.y", "z")));
            assert_eq!(
                last,
                Verdict::Dead {
                    reason: "x.y".into()
                },
                "{code}"
            );
        }
        assert_eq!(judge(&queue, 1, Ok(())), Verdict::Done);
    }

    #[test]
    fn what_is_no_envelope_is_dead_and_its_reason_repeats_nothing_of_it() {
        let check = |body: &[u8], reason: &str| {
            assert_eq!(
                read(body),
                Err(Verdict::Dead {
                    reason: reason.into()
                })
            )
        };
        check(b"\xff\xfe", "events.undecodable");
        check(b"{\"cpf\":\"123.456.789-00\"}", "events.undecodable");
        check(&vec![b' '; db::ENVELOPE_BYTES_MAX + 1], "events.too_large");
    }
}
