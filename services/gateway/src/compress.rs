//! Gzip for answers that are worth it.

use std::io::Write as _;

use actix_http::Response;
use actix_http::body::{BoxBody, MessageBody as _};
use actix_http::header::{self, HeaderMap, HeaderValue};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::arrival;
use crate::handle::body_bytes;

/// Smaller answers fit into one packet anyway.
const BYTES_MIN: u64 = 1400;
/// Larger ones would hold up the thread; level 1 packs about 150 MB/s.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Packs the body when the client takes gzip and the body is text of a size that pays.
pub fn shrink(request: &HeaderMap, mut response: Response<BoxBody>) -> Response<BoxBody> {
    let Some(bytes) = body_bytes(&response) else {
        return response;
    };
    let packable = (BYTES_MIN..=BYTES_MAX).contains(&bytes)
        && !response.headers().contains_key(header::CONTENT_ENCODING)
        && response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(is_text);
    if !packable {
        return response;
    }
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !takes_gzip(request) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match body.try_into_bytes() {
        Ok(body) => body,
        Err(body) => return head.set_body(body),
    };
    match pack(&body) {
        Some(packed) => {
            head.headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            // A strong tag promises the same bytes, and these are others.
            if let Some(weak) = head.headers().get(header::ETAG).and_then(weaken) {
                head.headers_mut().insert(header::ETAG, weak);
            }
            head.set_body(BoxBody::new(packed))
        }
        None => head.set_body(BoxBody::new(body)),
    }
}

fn weaken(tag: &HeaderValue) -> Option<HeaderValue> {
    let tag = tag.to_str().ok()?;
    if tag.starts_with("W/") {
        None
    } else {
        HeaderValue::from_str(&format!("W/{tag}")).ok()
    }
}

fn pack(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

fn is_text(content_type: &HeaderValue) -> bool {
    let content_type = content_type.to_str().unwrap_or_default();
    [
        "application/json",
        "application/problem+json",
        "text/html",
        "text/css",
        "text/javascript",
        "application/javascript",
        "image/svg",
    ]
    .iter()
    .any(|text| content_type.starts_with(text))
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let Some(accepted) = arrival::text(request, header::ACCEPT_ENCODING.as_str()) else {
        return false;
    };
    accepted.split(',').any(|part| {
        let mut pieces = part.split(';');
        let is_gzip = matches!(pieces.next().map(str::trim), Some("gzip" | "*"));
        is_gzip
            && !pieces.any(|parameter| {
                parameter
                    .trim()
                    .strip_prefix("q=")
                    .is_some_and(|q| q.parse() == Ok(0.0_f32))
            })
    })
}
