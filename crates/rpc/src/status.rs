//! The one place where failures become gRPC statuses and come back.
//!
//! Code, reason and facts travel as `google.rpc.ErrorInfo`, broken rules as `BadRequest`, the pause as `RetryInfo`. Causes never travel.
#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::HashMap;
use std::time::Duration;

use kernel::{Code, Error, ErrorCode, Violation};
use tonic::{Status, TimeoutExpired};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::token::{REASON_EXPIRED, REASON_INVALID};

/// The domain of our `ErrorInfo`s; those of others are not read.
const DOMAIN: &str = "tenantry.dev";
const CODE: &str = "code";
const FACT: &str = "fact.";
const PARAM: &str = "param.";
/// What the details may have in bytes: base64 makes a third more of it, and 64 KiB of headers is what both ends take.
const DETAILS_BYTES_MAX: usize = 40 * 1024;

/// Turns a failure into a status. Its cause stays behind; log it first.
pub fn to_status(error: &Error) -> Status {
    let mut facts = HashMap::from([(CODE.to_owned(), error.error_code().as_str().to_owned())]);
    facts.extend(
        error
            .details()
            .iter()
            .map(|(key, value)| (format!("{FACT}{key}"), value.clone())),
    );
    let mut fields = Vec::new();
    let mut bytes = 0;
    for (index, violation) in error.violations().iter().enumerate() {
        let params: usize = violation
            .params
            .iter()
            .map(|(key, value)| key.len() + value.len() + 24)
            .sum();
        bytes +=
            violation.field.len() + violation.rule.len() + violation.message.len() + params + 16;
        if bytes > DETAILS_BYTES_MAX {
            tracing::info!(
                left_out = error.violations().len() - index,
                "an answer has more violations than its headers can hold"
            );
            break;
        }
        facts.extend(
            violation
                .params
                .iter()
                .map(|(key, value)| (format!("{PARAM}{index}.{key}"), value.clone())),
        );
        fields.push(FieldViolation {
            field: violation.field.clone(),
            description: violation.message.clone(),
            reason: violation.rule.clone(),
            localized_message: None,
        });
    }
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, facts);
    if !fields.is_empty() {
        details.set_bad_request(fields);
    }
    if let Some(after) = error.retry_after() {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(grpc_code(error.code()), error.message(), details)
}

/// Reads a failure back. A status that none of our services made keeps its text as the cause, which only the log sees.
pub fn from_status(status: Status) -> Error {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| info.domain == DOMAIN);
    let Some((info, code)) =
        info.and_then(|info| Some((info, ErrorCode::parse(info.metadata.get(CODE)?)?)))
    else {
        return foreign(status);
    };
    let mut error = Error::new(code, info.reason.clone(), status.message());
    for (key, value) in &info.metadata {
        if let Some(key) = key.strip_prefix(FACT) {
            error = error.with_detail(key, value);
        }
    }
    if let Some(request) = details.bad_request() {
        error = error.with_violations(
            request
                .field_violations
                .iter()
                .enumerate()
                .map(|(index, field)| violation(index, field, &info.metadata))
                .collect(),
        );
    }
    match details.retry_info().and_then(|info| info.retry_delay) {
        Some(after) => error.with_retry_after(after),
        None => error,
    }
}

/// Reads the failure of a call of our own.
///
/// Like [`from_status`], but that a service refuses the token that we sent is our trouble and none of whoever asked us, who would sign in again
/// and again: `SERVICE_UNAVAILABLE`. Clocks are further apart than [`LEEWAY`](crate::token::LEEWAY), or keys differ.
pub fn from_peer(status: Status) -> Error {
    let error = from_status(status);
    match error.reason() {
        REASON_INVALID | REASON_EXPIRED => Error::unavailable(
            "another service refuses our token: compare the clocks of both, and their keys",
            error,
        ),
        _ => error,
    }
}

fn violation(index: usize, field: &FieldViolation, facts: &HashMap<String, String>) -> Violation {
    let prefix = format!("{PARAM}{index}.");
    let mut violation = Violation::new(&field.field, &field.reason, &field.description);
    for (key, value) in facts {
        if let Some(key) = key.strip_prefix(&prefix) {
            violation = violation.with(key, value);
        }
    }
    violation
}

/// A status from the transport, a proxy or a foreign server.
fn foreign(status: Status) -> Error {
    let text = || format!("{:?}: {}", status.code(), status.message());
    let code = if is_timeout(&status) {
        Code::Timeout
    } else {
        local_code(status.code())
    };
    match code {
        Code::Unavailable => Error::unavailable("calling another service", status),
        Code::Timeout => Error::new(
            ErrorCode::DeadlineExceeded,
            "service.deadline",
            "it took longer than its deadline",
        )
        .caused_by(text()),
        Code::Limited => Error::new(
            ErrorCode::RateLimited,
            "service.overloaded",
            "too many requests; try again shortly",
        )
        .with_retry_after(Duration::from_secs(1))
        .caused_by(text()),
        // Whatever else a foreign hop says was provoked by us, not by the caller, and its text is not for them.
        Code::Invalid
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::Exists
        | Code::Conflict
        | Code::Precondition
        | Code::Internal => Error::internal(text()),
    }
}

/// tonic calls its own deadline `Cancelled`, on both ends of the wire.
fn is_timeout(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    status.code() == tonic::Code::Cancelled && status.message() == TimeoutExpired(()).to_string()
}

/// From our codes to gRPC's.
pub const fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::Invalid => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Forbidden => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::Exists => tonic::Code::AlreadyExists,
        Code::Conflict => tonic::Code::Aborted,
        Code::Precondition => tonic::Code::FailedPrecondition,
        Code::Limited => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Timeout => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
    }
}

/// From gRPC's codes to ours. `Unknown` and `Cancelled` come from a connection that broke half way, so a retry may help.
pub const fn local_code(code: tonic::Code) -> Code {
    match code {
        tonic::Code::InvalidArgument | tonic::Code::OutOfRange => Code::Invalid,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
        tonic::Code::PermissionDenied => Code::Forbidden,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::Exists,
        tonic::Code::Aborted => Code::Conflict,
        tonic::Code::FailedPrecondition => Code::Precondition,
        tonic::Code::ResourceExhausted => Code::Limited,
        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => {
            Code::Unavailable
        }
        tonic::Code::DeadlineExceeded => Code::Timeout,
        tonic::Code::Internal
        | tonic::Code::DataLoss
        | tonic::Code::Unimplemented
        | tonic::Code::Ok => Code::Internal,
    }
}
