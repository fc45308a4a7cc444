//! Bodies of requests: media types, limits and time.

use std::time::Duration;

use actix_http::error::PayloadError;
use actix_http::header::{self, HeaderMap};
use actix_http::{HttpMessage as _, Payload, Request};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use kernel::{Error, ErrorCode, Result};

use crate::arrival;
use crate::authn::Credential;
use crate::routes::{BodyRule, Method, Verb};

/// All header lines of a request together. An access token, a trace and what browsers send stay below 8 KiB.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;
const KEY_BYTES_MAX: usize = 255;

/// Refuses requests whose headers only an attacker needs.
pub fn check_headers(request: &Request) -> Result<()> {
    let lines: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if lines + target > HEADERS_BYTES_MAX {
        let message =
            format!("the headers are larger than the {HEADERS_BYTES_MAX} bytes that are taken");
        return Err(Error::new(
            ErrorCode::HeadersTooLarge,
            "request.headers_too_large",
            message,
        )
        .with_detail("max", HEADERS_BYTES_MAX));
    }
    Ok(())
}

/// The idempotency key of a method that takes one.
pub fn idempotency_key<'h>(headers: &'h HeaderMap, method: &Method) -> Result<Option<&'h str>> {
    use proto::policy::Idempotency;
    let declared = method.policy.idempotency;
    if declared == Idempotency::None {
        return Ok(None);
    }
    let mut lines = headers.get_all("idempotency-key");
    match (lines.next(), lines.next()) {
        (None, _) if declared == Idempotency::Required => Err(Error::new(
            ErrorCode::ValidationError,
            "idempotency.key_required",
            "this method needs the header Idempotency-Key",
        )),
        (None, _) => Ok(None),
        (Some(value), None) => {
            let key = value.to_str().ok().filter(|key| {
                (1..=KEY_BYTES_MAX).contains(&key.len())
                    && key.bytes().all(|b| b.is_ascii_graphic())
            });
            key.map(Some).ok_or_else(bad_key)
        }
        (Some(_), Some(_)) => Err(bad_key()),
    }
}

fn bad_key() -> Error {
    let message = "Idempotency-Key must be 1 to 255 visible ASCII characters";
    Error::new(
        ErrorCode::ValidationError,
        "idempotency.key_invalid",
        message,
    )
}

/// What a body announces about itself.
pub struct Announced<'h> {
    /// `Content-Type`; empty when there is none.
    pub content_type: &'h str,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Whether there can be a body at all.
    pub is_present: bool,
}

impl<'h> Announced<'h> {
    /// Reads the headers and refuses a body that the method does not take.
    pub fn read(headers: &'h HeaderMap, method: &Method) -> Result<Self> {
        let length = arrival::text(headers, header::CONTENT_LENGTH.as_str())
            .and_then(|text| text.parse::<u64>().ok());
        let is_present = length.is_some_and(|length| length > 0)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let content_type =
            arrival::text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let announced = Self {
            content_type,
            length,
            is_present,
        };
        if is_present {
            announced.check(headers, method)?;
        }
        Ok(announced)
    }

    fn check(&self, headers: &HeaderMap, method: &Method) -> Result<()> {
        let encoding =
            arrival::text(headers, header::CONTENT_ENCODING.as_str()).unwrap_or_default();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            // Unpacking would let a small body become a large one; clients of an API can do without.
            let message = "send the body without Content-Encoding";
            return Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                "request.unsupported_encoding",
                message,
            ));
        }
        let media_type = self
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let taken = match method.body {
            BodyRule::None => {
                return Err(Error::new(
                    ErrorCode::MalformedRequest,
                    "request.body_not_taken",
                    "this method takes no body",
                ));
            }
            // The file itself is the body; a form around it is not unwrapped.
            BodyRule::Raw(_) => !media_type.to_ascii_lowercase().starts_with("multipart/"),
            BodyRule::All | BodyRule::Field(_) => {
                let patch = method.verb == Verb::Patch
                    && media_type.eq_ignore_ascii_case("application/merge-patch+json");
                (patch || media_type.eq_ignore_ascii_case("application/json"))
                    && is_utf8(self.content_type)
            }
        };
        if !taken {
            let expected = if matches!(method.body, BodyRule::Raw(_)) {
                "the file itself, without a form around it"
            } else {
                "application/json"
            };
            let message = format!("send the body as {expected}");
            return Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                "request.unsupported_media_type",
                message,
            )
            .with_detail("expected", expected));
        }
        match self.length {
            Some(length) if length > method.policy.body_bytes_max => {
                Err(too_large(method.policy.body_bytes_max))
            }
            _ => Ok(()),
        }
    }
}

fn is_utf8(content_type: &str) -> bool {
    content_type
        .split(';')
        .skip(1)
        .all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

/// Reads a whole body, up to `max` bytes and within `patience`.
pub async fn read(payload: Payload, max: u64, patience: Duration) -> Result<Bytes> {
    let reading = async {
        let mut parts = Parts::new(payload, max);
        let Some(first) = parts.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = parts.next().await? else {
            return Ok(first);
        };
        let mut body = BytesMut::with_capacity(first.len() + second.len());
        body.extend_from_slice(&first);
        body.extend_from_slice(&second);
        while let Some(part) = parts.next().await? {
            body.extend_from_slice(&part);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(patience, reading)
        .await
        .unwrap_or_else(|_| Err(too_slow()))
}

/// The parts of a body as they arrive, up to a limit that holds whatever `Content-Length` said.
pub struct Parts {
    payload: Payload,
    max: u64,
    taken: u64,
}

impl Parts {
    /// `max` is the limit for all parts together.
    pub fn new(payload: Payload, max: u64) -> Self {
        Self {
            payload,
            max,
            taken: 0,
        }
    }

    /// The next part; nothing at the end of a complete body.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(part) = self.payload.next().await else {
            return Ok(None);
        };
        let part = part.map_err(|error| broken(&error))?;
        self.taken += part.len() as u64;
        if self.taken > self.max {
            Err(too_large(self.max))
        } else {
            Ok(Some(part))
        }
    }
}

/// The client let too much time pass.
pub fn too_slow() -> Error {
    Error::new(
        ErrorCode::RequestTimeout,
        "request.body_timeout",
        "the body did not arrive in time",
    )
}

fn too_large(max: u64) -> Error {
    let message = format!("the body is larger than the {max} bytes that this method takes");
    Error::new(
        ErrorCode::PayloadTooLarge,
        "request.payload_too_large",
        message,
    )
    .with_detail("max", max)
}

fn broken(error: &PayloadError) -> Error {
    Error::new(
        ErrorCode::MalformedRequest,
        "request.body_broken",
        "the body ended before it was complete",
    )
    .caused_by(error.to_string())
}

/// The credential of a request, unless the method is for everybody.
pub fn credential<'h>(headers: &'h HeaderMap, method: &Method) -> Result<Option<Credential<'h>>> {
    if method.policy.access == proto::policy::Access::Public {
        return Ok(None);
    }
    match Credential::read(headers)? {
        Some(credential) => Ok(Some(credential)),
        None => Err(Error::new(
            ErrorCode::Unauthorized,
            "access.sign_in_required",
            "sign in first",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_in_utf8() {
        assert!(is_utf8("application/json"));
        assert!(is_utf8("application/json; charset=UTF-8"));
        assert!(is_utf8("application/json; charset=\"utf-8\"; x=y"));
        assert!(!is_utf8("application/json; charset=latin1"));
    }
}
