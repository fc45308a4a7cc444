//! What answers say to browsers: who may read them (CORS) and what they may do with them.

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_http::{HttpMessage as _, Request, StatusCode};

/// Headers that a page may send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, x-api-key, idempotency-key, if-match, if-none-match, accept-language, x-request-id, x-tenant-id, traceparent",
);
/// Headers of an answer that a page may read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-request-id, etag, retry-after, ratelimit, ratelimit-policy, idempotency-replayed, content-language, content-disposition",
);
const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
/// A day, as requirement SC-06 says.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("86400");

/// An API's answers are data: nothing in them may run, be framed or be sniffed into something else.
const STRICT_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// The origins that may read answers, as configured.
pub struct Browsers {
    origins: Vec<String>,
    behind_tls: bool,
}

impl Browsers {
    /// `origins` match exactly; `null` and prefixes never do.
    pub fn new(origins: Vec<String>, behind_tls: bool) -> Self {
        Self {
            origins,
            behind_tls,
        }
    }

    /// Whether this is the question of a browser before a request.
    pub fn is_preflight(request: &Request) -> bool {
        request.method() == actix_http::Method::OPTIONS
            && request.headers().contains_key(header::ORIGIN)
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The configured origin that the request names.
    pub fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut named = headers.get_all(header::ORIGIN);
        let origin = named.next()?;
        let known = named.next().is_none()
            && self
                .origins
                .iter()
                .any(|known| known.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }

    /// Adds the answer to a preflight.
    pub fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    }

    /// Adds what every answer carries.
    pub fn dress(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>, status: StatusCode) {
        if !self.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-site"),
        );
        if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
            headers.insert(header::CONTENT_SECURITY_POLICY, STRICT_POLICY);
        }
        // Answers belong to one caller; whoever may cache says so itself.
        if status.is_success() && !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.behind_tls {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_origin_is_known() {
        let browsers = Browsers::new(vec!["https://app.example.com".to_owned()], false);
        let known = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            browsers.origin(&headers).is_some()
        };
        assert!(known("https://app.example.com"));
        for origin in [
            "null",
            "https://app.example.com.evil.net",
            "https://evil.net/https://app.example.com",
            "http://app.example.com",
            "https://APP.example.com",
            "*",
            "",
        ] {
            assert!(!known(origin), "{origin}");
        }
    }
}
