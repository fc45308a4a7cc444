//! HTTP itself: HEAD, OPTIONS, CORS, compression, common headers, own pages, and the end of the process.

use std::io::Read as _;
use std::time::Duration;

use kernel::Clock;
use runtime::Profile;
use serde_json::json;
use testkit::eventually;

use crate::fake::RECORD;
use crate::stage::Stage;

const RECORDS: &str = "/v1/niches/catalog/package/records";

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let stage = Stage::start().await;
    for path in [
        format!("{RECORDS}/{RECORD}"),
        "/docs".into(),
        "/v1/openapi.json".into(),
        "/health/ready".into(),
        "/nothing".into(),
    ] {
        let (get, head) = (
            stage.send(stage.as_ann("GET", &path)).await,
            stage.send(stage.as_ann("HEAD", &path)).await,
        );
        assert_eq!(
            (head.status, head.text.as_str()),
            (get.status, ""),
            "{path}"
        );
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("etag"), get.header("etag"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_tells_the_methods() {
    let stage = Stage::start().await;
    let got = stage
        .send(stage.request("OPTIONS", &format!("{RECORDS}/{RECORD}")))
        .await;
    assert_eq!(
        (got.status, got.header("allow")),
        (204, "GET, HEAD, DELETE, PATCH, OPTIONS")
    );
    assert_eq!(
        stage
            .send(stage.request("OPTIONS", "/nothing"))
            .await
            .status,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_origins_may_read() {
    let stage = Stage::start().await;
    let preflight = |origin: &str| {
        stage
            .request("OPTIONS", "/v1/auth/login")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
    };
    let got = stage.send(preflight("https://app.example.com")).await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (204, "https://app.example.com")
    );
    assert_eq!(got.header("access-control-max-age"), "86400");
    assert!(
        got.header("access-control-allow-headers")
            .contains("x-api-key")
    );
    assert!(got.varies("origin"));
    for origin in [
        "null",
        "https://evil.example",
        "https://app.example.com.evil.example",
    ] {
        let got = stage.send(preflight(origin)).await;
        assert_eq!(
            (
                got.header("access-control-allow-origin"),
                got.header("access-control-allow-methods")
            ),
            ("", ""),
            "{origin}"
        );
    }
    // Failures can be read by the page too.
    let got = stage
        .send(
            stage
                .request("GET", "/v1/me")
                .header("origin", "https://app.example.com"),
        )
        .await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (401, "https://app.example.com")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_dressed() {
    let stage = Stage::start_with(|config| config.behind_tls = true).await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1/me"),
        ("OPTIONS", "/v1/me"),
        ("GET", "/docs"),
    ] {
        let got = stage.send(stage.request(method, path)).await;
        assert_eq!(got.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(got.header("x-frame-options"), "DENY");
        assert_eq!(got.header("referrer-policy"), "no-referrer");
        assert_eq!(
            got.header("strict-transport-security"),
            "max-age=31536000; includeSubDomains"
        );
        assert!(
            got.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert!(!got.header("x-request-id").is_empty());
    }
    let got = stage.send(stage.as_ann("GET", "/v1/me")).await;
    assert_eq!(got.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_packed_for_those_who_take_it() {
    let stage = Stage::start().await;
    let path = format!("{RECORDS}?limit=50");
    let plain = stage.send(stage.as_ann("GET", &path)).await;
    assert_eq!(
        (
            plain.header("content-encoding"),
            plain.varies("accept-encoding")
        ),
        ("", true)
    );
    let packed = stage
        .as_ann("GET", &path)
        .header("accept-encoding", "br, gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let bytes = packed.bytes().await.unwrap();
    assert!(bytes.len() * 5 < plain.text.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, plain.text);
    for (path, accept) in [
        (path.as_str(), "gzip;q=0"),
        (path.as_str(), "br"),
        ("/", "gzip"),
    ] {
        let got = stage
            .as_ann("GET", path)
            .header("accept-encoding", accept)
            .send()
            .await
            .unwrap();
        assert!(
            !got.headers().contains_key("content-encoding"),
            "{path} {accept}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_complete_without_the_internet() {
    let stage = Stage::start().await;
    let page = stage.send(stage.request("GET", "/docs")).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        !page.text.contains("http://")
            && !page.text.contains("https://")
            && !page.text.contains("<script>")
    );
    let links: Vec<&str> = page
        .text
        .split('"')
        .filter(|part| part.starts_with("/docs/"))
        .collect();
    assert_eq!(links.len(), 5);
    for link in links {
        let got = stage.request("GET", link).send().await.unwrap();
        assert_eq!(got.status(), 200, "{link}");
        assert!(
            got.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("script-src 'self'")
        );
    }
    let script = stage
        .send(stage.request("GET", "/docs/swagger-initializer.js"))
        .await;
    assert!(script.text.contains("/v1/openapi.json"), "{}", script.text);
    let document = stage.send(stage.request("GET", "/v1/openapi.json")).await;
    assert_eq!(document.json()["openapi"], "3.1.0");
    let again = stage
        .send(
            stage
                .request("GET", "/v1/openapi.json")
                .header("if-none-match", document.header("etag")),
        )
        .await;
    assert_eq!(again.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_little_and_metrics_are_not_here() {
    let stage = Stage::start().await;
    assert_eq!(
        stage
            .send(stage.request("GET", "/health/live"))
            .await
            .json(),
        json!({"status": "live"})
    );
    assert_eq!(
        stage
            .send(stage.request("GET", "/health/ready"))
            .await
            .json(),
        json!({"status": "ready"})
    );
    assert_eq!(
        stage.send(stage.request("GET", "/metrics")).await.status,
        404
    );
    assert_eq!(
        stage.send(stage.request("GET", "/")).await.json()["data"]["links"]["documentation"],
        "/docs"
    );
    stage.send(stage.as_ann("GET", "/v1/me")).await;
    let metrics = stage.process.metrics.render();
    let line = metrics
        .lines()
        .find(|line| {
            line.contains("http_server_request_duration_seconds_count") && line.contains("/v1/me")
        })
        .expect(&metrics);
    assert!(line.contains("200") && !line.contains("tenant"), "{line}");
}

/// RFC 9112, section 9.6: a client that says `close` has sent its last request, whatever else arrives with it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_that_follows_the_last_request_of_a_connection() {
    let stage = Stage::start().await;
    let smuggled =
        format!("GET {RECORDS}/{RECORD} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ann\r\n\r\n");
    let lasts = [
        format!(
            "GET {RECORDS}/{RECORD} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ann\r\nConnection: close\r\n\r\n"
        ),
        "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /health/live HTTP/1.0\r\n\r\n".to_owned(),
    ];
    for last in lasts {
        let before = stage.fake.seen.lock().unwrap().len();
        let answer = stage
            .raw(format!("{last}{smuggled}{smuggled}").as_bytes())
            .await;
        let seen = stage.fake.seen.lock().unwrap().len() - before;
        assert_eq!(seen, usize::from(last.contains(RECORD)), "{last}{answer}");
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            3,
            "each is answered: {answer}"
        );
    }
    // Without it both are honest requests of one connection.
    let before = stage.fake.seen.lock().unwrap().len();
    let second = smuggled.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = stage.raw(format!("{smuggled}{second}").as_bytes()).await;
    assert_eq!(
        stage.fake.seen.lock().unwrap().len() - before,
        2,
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn debugging_is_for_development_only() {
    let stage = Stage::start().await;
    assert!(
        stage
            .send(stage.request("GET", "/debug/routes"))
            .await
            .text
            .contains("/v1/auth/login")
    );
    let process = runtime::Process::new("gateway", Profile::Production, Clock::system());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let running = process.clone();
    let settings = crate::stage::config("http://127.0.0.1:9", "http://127.0.0.1:9");
    process.tasks.spawn("gateway", async move {
        gateway::run(settings, listener, running).await.unwrap()
    });
    let got = stage
        .http
        .get(format!("http://{address}/debug/routes"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.status(), 404);
    assert!(process.stop(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_finishes_what_is_under_way_and_takes_nothing_new() {
    let stage = Stage::start().await;
    stage
        .fake
        .gated
        .store(true, std::sync::atomic::Ordering::SeqCst);
    // An idle connection must not hold up the end.
    let idle = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let request = stage
        .as_ann("POST", "/v1/niches/catalog/package/imports")
        .header("content-type", "text/csv")
        .body("a,b\n1,2\n");
    let under_way = stage.services.tasks.spawn("client", request.send());
    eventually("the upload has begun", || {
        let begun = stage.fake.upload.lock().unwrap().params.is_some();
        async move { begun.then_some(()) }
    })
    .await;
    let process = stage.process.clone();
    let stopping = stage.services.tasks.spawn("client", async move {
        process.stop(Duration::from_secs(15)).await
    });
    eventually("the port is closed", || async {
        tokio::net::TcpStream::connect(stage.address)
            .await
            .is_err()
            .then_some(())
    })
    .await;
    stage
        .fake
        .gated
        .store(false, std::sync::atomic::Ordering::SeqCst);
    stage.fake.gate.notify_waiters();
    let answer = under_way.await.unwrap().unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["connection"], "close");
    assert!(stopping.await.unwrap(), "the process ended in time");
    drop(idle);
}
