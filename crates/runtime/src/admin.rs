//! The admin port: `/health/live`, `/health/ready` and `/metrics`. Never reachable from outside.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::net::TcpListener;

use crate::health::Readiness;
use crate::process::Process;

/// A scraper that sends its request slower than this is cut off.
const HEADERS_MAX: Duration = Duration::from_secs(5);

/// Serves the admin port until the process has ended its work; `token`, when set, is demanded as a bearer token for `/metrics`.
pub fn serve(listener: TcpListener, process: &Process, token: Option<SecretString>) {
    let (own, tasks) = (process.clone(), process.tasks.clone());
    process.tasks.spawn("admin", async move {
        loop {
            let stream = match own.shutdown.or(listener.accept()).await {
                None => return,
                Some(Ok((stream, _))) => stream,
                Some(Err(error)) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (process, token) = (own.clone(), token.clone());
            tasks.spawn("admin.connection", async move {
                let service = service_fn(|request| answer(request, &process, token.as_ref()));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_MAX)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "admin connection");
                }
            });
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    process: &Process,
    token: Option<&SecretString>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(respond(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "GET only\n".into(),
        ));
    }
    Ok(match request.uri().path() {
        "/health/live" => respond(
            StatusCode::OK,
            "application/json",
            json!({"status": "live"}).to_string(),
        ),
        "/health/ready" => ready(&process.health.readiness().await),
        "/metrics" if !is_allowed(request.headers(), token) => respond(
            StatusCode::UNAUTHORIZED,
            "text/plain",
            "a bearer token is needed\n".into(),
        ),
        "/metrics" => respond(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            process.metrics.render(),
        ),
        _ => respond(StatusCode::NOT_FOUND, "text/plain", "not found\n".into()),
    })
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let down: Vec<_> = readiness
        .down
        .iter()
        .map(|(name, reason)| json!({"name": name, "reason": reason}))
        .collect();
    let (code, status) = match (readiness.is_ready(), readiness.draining) {
        (true, _) => (StatusCode::OK, "ready"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
    };
    respond(
        code,
        "application/json",
        json!({"status": status, "down": down}).to_string(),
    )
}

fn is_allowed(headers: &HeaderMap, token: Option<&SecretString>) -> bool {
    let Some(token) = token else { return true };
    let given = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    let wanted = format!("Bearer {}", token.expose_secret());
    // Every byte is compared whatever the first difference is, so that timing tells nothing but the length.
    given.len() == wanted.len()
        && given
            .iter()
            .zip(wanted.as_bytes())
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}
