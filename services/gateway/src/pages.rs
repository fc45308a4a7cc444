//! What the gateway answers by itself: welcome, health, documentation, and a look inside while developing.

use std::sync::{Arc, OnceLock};

use actix_http::body::BoxBody;
use actix_http::header::{self, HeaderValue};
use actix_http::{HttpMessage as _, Request, Response, StatusCode};
use bytes::Bytes;
use kernel::{Error, ErrorCode, Result};
use runtime::{Process, Profile};
use serde_json::json;
use utoipa_swagger_ui::Config;

use crate::openapi;
use crate::routes::table;

/// The reason of a 503 of `/health/ready`.
pub const NOT_READY: &str = "service.not_ready";

const ALLOW: &str = "GET, HEAD, OPTIONS";
/// The documentation page runs its own scripts and asks its own host, nothing else. Its styles are set from scripts.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=300");

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tenantry API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-standalone-preset.js"></script>
<script src="/docs/swagger-initializer.js"></script>
</body>
</html>
"#;

/// The pages and what they need.
pub struct Pages {
    dev: bool,
    swagger: Arc<Config<'static>>,
}

impl Pages {
    /// `/debug` exists in the dev profile only.
    pub fn new(profile: Profile) -> Self {
        let swagger = Config::from("/v1/openapi.json")
            .try_it_out_enabled(true)
            .persist_authorization(false)
            .validator_url("none");
        Self {
            dev: profile == Profile::Dev,
            swagger: Arc::new(swagger),
        }
    }

    /// The methods that a page takes; `None` when there is no such page.
    pub fn find(&self, path: &str) -> Option<&'static str> {
        let known = matches!(
            path,
            "/" | "/health"
                | "/health/live"
                | "/health/ready"
                | "/v1/openapi.json"
                | "/docs"
                | "/docs/"
        ) || path
            .strip_prefix("/docs/")
            .is_some_and(|file| self.asset(file).is_some())
            || (self.dev && path == "/debug/routes");
        known.then_some(ALLOW)
    }

    /// Shows a page that [`Pages::find`] knows.
    pub async fn show(
        &self,
        path: &str,
        request: &Request,
        process: &Process,
    ) -> Result<Response<BoxBody>> {
        match path {
            "/" => Ok(json_page(&welcome())),
            "/health" | "/health/live" => Ok(json_page(&json!({"status": "live"}))),
            "/health/ready" => {
                if process.health.readiness().await.is_ready() {
                    return Ok(json_page(&json!({"status": "ready"})));
                }
                let message = "the service does not take requests right now";
                Err(
                    Error::new(ErrorCode::ServiceUnavailable, NOT_READY, message)
                        .with_retry_after(std::time::Duration::from_secs(1)),
                )
            }
            "/v1/openapi.json" => Ok(openapi_page(request)),
            "/docs" | "/docs/" => Ok(docs_page(
                "text/html; charset=utf-8",
                Bytes::from_static(INDEX.as_bytes()),
            )),
            "/debug/routes" if self.dev => Ok(json_page(&routes())),
            other => {
                let file = other
                    .strip_prefix("/docs/")
                    .and_then(|file| self.asset(file));
                let (content_type, bytes) =
                    file.ok_or_else(|| Error::internal("a page was announced and is not there"))?;
                Ok(docs_page(&content_type, bytes))
            }
        }
    }

    /// A file of the documentation page. Source maps and other extras are not served.
    fn asset(&self, file: &str) -> Option<(String, Bytes)> {
        const SERVED: [&str; 6] = [
            "swagger-ui.css",
            "swagger-ui-bundle.js",
            "swagger-ui-standalone-preset.js",
            "swagger-initializer.js",
            "favicon-32x32.png",
            "favicon-16x16.png",
        ];
        if !SERVED.contains(&file) {
            return None;
        }
        let found = utoipa_swagger_ui::serve(file, Arc::clone(&self.swagger)).ok()??;
        Some((found.content_type, Bytes::from(found.bytes.into_owned())))
    }
}

fn welcome() -> serde_json::Value {
    json!({
        "data": {
            "name": "Tenantry",
            "version": env!("CARGO_PKG_VERSION"),
            "links": {"documentation": "/docs", "openapi": "/v1/openapi.json", "health": "/health/ready", "keys": "/.well-known/jwks.json"},
        }
    })
}

fn routes() -> serde_json::Value {
    let routes = table().methods.iter().map(|method| {
        let policy = method.policy;
        json!({
            "method": method.verb.as_str(),
            "path": method.template,
            "rpc": policy.path,
            "access": format!("{:?}", policy.access),
            "permission": policy.permission,
            "rate": format!("{:?}", policy.rate),
            "bodyBytesMax": policy.body_bytes_max,
        })
    });
    json!({"data": routes.collect::<Vec<_>>()})
}

fn json_page(value: &serde_json::Value) -> Response<BoxBody> {
    page("application/json", Bytes::from(value.to_string()))
}

fn page(content_type: &str, bytes: Bytes) -> Response<BoxBody> {
    let mut response = Response::with_body(StatusCode::OK, BoxBody::new(bytes));
    let value = HeaderValue::from_str(content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn docs_page(content_type: &str, bytes: Bytes) -> Response<BoxBody> {
    let mut response = page(content_type, bytes);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, DOCS_POLICY);
    response.headers_mut().insert(header::CACHE_CONTROL, PUBLIC);
    response
}

fn openapi_page(request: &Request) -> Response<BoxBody> {
    static DOCUMENT: OnceLock<(Bytes, HeaderValue)> = OnceLock::new();
    let (bytes, tag) = DOCUMENT.get_or_init(|| {
        use sha2::Digest as _;
        let text = openapi::COMMITTED;
        let hash = hex::encode(&sha2::Sha256::digest(text)[..12]);
        (
            Bytes::from_static(text.as_bytes()),
            HeaderValue::from_str(&format!("\"{hash}\"")).expect("hexadecimal is printable"),
        )
    });
    let is_known = crate::call::is_known(request.headers(), tag);
    let mut response = if is_known {
        Response::with_body(StatusCode::NOT_MODIFIED, BoxBody::new(()))
    } else {
        page("application/json", bytes.clone())
    };
    response.headers_mut().insert(header::ETAG, tag.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, PUBLIC);
    response
}
