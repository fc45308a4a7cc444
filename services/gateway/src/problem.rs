//! Failures as `application/problem+json`: RFC 9457 and the `error` envelope in one body.

use std::collections::BTreeMap;

use actix_http::body::BoxBody;
use actix_http::header::{self, HeaderValue};
use actix_http::{Response, StatusCode};
use kernel::{Error, ErrorCode, Locale};
use serde_json::{Map, Value, json};

use crate::routes::{Method, table};
use crate::texts;
use crate::transcode;

/// What every `type` starts with; the code follows in lower case with hyphens.
pub const TYPE_BASE: &str = "https://tenantry.dev/problems/";
/// The media type of every body that is not a success.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The request that failed.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub request_id: &'a str,
    pub trace_id: Option<&'a str>,
    pub locale: Locale,
    /// The method, when its service failed: its names are needed to speak of its fields.
    pub method: Option<&'a Method>,
}

/// The HTTP status of each public code.
#[deny(clippy::wildcard_enum_match_arm)]
pub const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ValidationError | ErrorCode::MalformedRequest | ErrorCode::TenantMismatch => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::Unauthorized
        | ErrorCode::InvalidToken
        | ErrorCode::TokenExpired
        | ErrorCode::TenantNotFound
        | ErrorCode::InvalidCredentials => StatusCode::UNAUTHORIZED,
        ErrorCode::TenantSuspended
        | ErrorCode::UserSuspended
        | ErrorCode::EmailNotVerified
        | ErrorCode::TenantRequired
        | ErrorCode::ForbiddenAction => StatusCode::FORBIDDEN,
        ErrorCode::NotFound | ErrorCode::RouteNotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Conflict | ErrorCode::DuplicateResource | ErrorCode::StateConflict => {
            StatusCode::CONFLICT
        }
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::RateLimited | ErrorCode::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorCode::DatabaseError | ErrorCode::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// `https://tenantry.dev/problems/forbidden-action`.
pub fn type_of(code: ErrorCode) -> String {
    format!(
        "{TYPE_BASE}{}",
        code.as_str().to_ascii_lowercase().replace('_', "-")
    )
}

/// The body of a failure.
pub fn body(error: &Error, about: &About<'_>) -> Value {
    let code = error.error_code();
    let none = BTreeMap::new();
    let title = texts::find(about.locale, &format!("title.{code}"), &none)
        .unwrap_or_else(|| code.to_string());
    let message = texts::find(about.locale, error.reason(), error.details())
        .unwrap_or_else(|| error.message().to_owned());
    let mut inner =
        json!({"code": code.as_str(), "message": message, "requestId": about.request_id});
    if let Some(trace_id) = about.trace_id {
        inner["traceId"] = trace_id.into();
    }
    let details = details(error, about);
    if !details.is_empty() {
        inner["details"] = details.into();
    }
    json!({
        "type": type_of(code),
        "title": title,
        "status": status_of(code).as_u16(),
        "detail": message,
        "instance": format!("urn:request:{}", about.request_id),
        "error": inner,
    })
}

fn details(error: &Error, about: &About<'_>) -> Map<String, Value> {
    let mut details: Map<String, Value> = error
        .details()
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    if !error.violations().is_empty() {
        let fields = error.violations().iter().map(|violation| {
            let field = match about.method {
                Some(method) => transcode::json_path(&table().shapes, method, &violation.field),
                None => violation.field.clone(),
            };
            let text = texts::find(about.locale, &format!("rule.{}", violation.rule), &violation.params);
            json!({"field": field, "rule": violation.rule, "message": text.unwrap_or_else(|| violation.message.clone())})
        });
        details.insert("fields".to_owned(), fields.collect());
    }
    details
}

/// The whole response to a failure.
pub fn respond(error: &Error, about: &About<'_>) -> Response<BoxBody> {
    let code = error.error_code();
    let bytes = serde_json::to_vec(&body(error, about)).expect("a JSON value is always writable");
    let mut response = Response::with_body(status_of(code), BoxBody::new(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(
        header::CONTENT_LANGUAGE,
        HeaderValue::from_static(about.locale.as_str()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(after) = error.retry_after() {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64),
        );
    }
    let challenge = match code {
        ErrorCode::Unauthorized => Some("Bearer"),
        ErrorCode::InvalidToken | ErrorCode::TokenExpired | ErrorCode::TenantNotFound => {
            Some("Bearer error=\"invalid_token\"")
        }
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    response
}
