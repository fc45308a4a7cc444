//! Spans on their way to a collector: this test is one.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::Tasks;
use tokio::net::TcpListener;

use crate::process::{finish, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_reaches_the_collector_before_the_process_ends_and_without_personal_data() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let (keep, tasks) = (Arc::clone(&received), Tasks::new());
    let collecting = tasks.spawn("collector", async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request| collect(request, Arc::clone(&keep)));
        let connection = http2::Builder::new(TokioExecutor::new());
        // The process closes the connection when it ends, however that looks from here.
        let _ = connection
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
    let child = start(
        "trace",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("TENANTRY_TRACE_RATIO", "1"),
        ],
    );
    let (code, out, _) = tokio::task::spawn_blocking(|| finish(child)).await.unwrap();
    assert_eq!(code, Some(0), "{out}");
    collecting.await.unwrap();
    let bytes = received.lock().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for part in [
        "TraceService/Export",
        "checkout",
        "o-1",
        "service.name",
        "demo",
        "paid by ***",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("ann@example.com"), "{text}");
}

async fn collect(
    request: Request<Incoming>,
    keep: Arc<Mutex<Vec<u8>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    {
        let mut received = keep.lock().unwrap();
        received.extend_from_slice(path.as_bytes());
        received.extend_from_slice(&body);
    }
    let mut response = Response::new(Full::default());
    response
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    response
        .headers_mut()
        .insert("grpc-status", "0".parse().unwrap());
    Ok(response)
}
