//! Files as client streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use testkit::eventually;
use tokio::io::AsyncWriteExt as _;

use crate::stage::{Got, Stage};

const IMPORTS: &str = "/v1/niches/catalog/package/imports";
const PART: usize = 64 * 1024;

/// A body of `parts` parts that counts what has been taken of it.
fn body(parts: usize, taken: &Arc<AtomicU64>) -> reqwest::Body {
    let taken = Arc::clone(taken);
    let stream = futures::stream::iter(0..parts).map(move |_| {
        taken.fetch_add(PART as u64, Ordering::SeqCst);
        Ok::<_, std::io::Error>(vec![7_u8; PART])
    });
    reqwest::Body::wrap_stream(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_whole_with_its_parameters() {
    let stage = Stage::start().await;
    let taken = Arc::default();
    let request = stage
        .as_ann("POST", &format!("{IMPORTS}?dryRun=true&mapping=debian"))
        .header("content-type", "text/csv; header=present");
    let got = stage.send(request.body(body(100, &taken))).await;
    assert_eq!(
        (got.status, &got.json()["data"]["fileBytes"]),
        (202, &(100 * PART).into()),
        "{}",
        got.text
    );
    let seen = stage.fake.upload.lock().unwrap().clone();
    assert_eq!(
        seen.params,
        Some(("catalog".into(), "package".into(), true, "debian".into()))
    );
    assert_eq!(seen.content_type, "text/csv; header=present");
    assert_eq!(
        (seen.bytes, seen.sum),
        ((100 * PART) as u64, (100 * PART * 7) as u64)
    );
    assert!(seen.complete && seen.largest_part <= 256 * 1024, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_client_down() {
    let stage = Stage::start().await;
    stage.fake.gated.store(true, Ordering::SeqCst);
    let taken: Arc<AtomicU64> = Arc::default();
    let total = 1000 * PART as u64;
    let sending = stage.services.tasks.spawn(
        "client",
        stage
            .as_ann("POST", IMPORTS)
            .header("content-type", "text/csv")
            .body(body(1000, &taken))
            .send(),
    );
    // When nothing more is taken for a while, every buffer on the way is full.
    let mut last = u64::MAX;
    loop {
        // sleeps because nothing tells that something does not happen
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = taken.load(Ordering::SeqCst);
        if now > 0 && now == last {
            break;
        }
        last = now;
    }
    // Sockets of both sides, the HTTP/2 window and the gateway's queue; the rest of the 62 MiB waits in the client.
    assert!(last < total / 3, "{last} of {total}");
    stage.fake.gated.store(false, Ordering::SeqCst);
    stage.fake.gate.notify_waiters();
    assert_eq!(Got::read(sending.await.unwrap().unwrap()).await.status, 202);
    assert_eq!(stage.fake.upload.lock().unwrap().bytes, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_never_looks_complete() {
    let stage = Stage::start().await;
    let mut socket = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST {IMPORTS} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ann\r\ncontent-type: text/csv\r\ncontent-length: 900000\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![7; 400_000]).await.unwrap();
    eventually("the service has a part", || {
        let bytes = stage.fake.upload.lock().unwrap().bytes;
        async move { (bytes > 0).then_some(()) }
    })
    .await;
    drop(socket);
    eventually("the service is told", || {
        let seen = stage.fake.upload.lock().unwrap().clone();
        async move {
            assert!(!seen.complete);
            seen.broken.then_some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stops_coming_is_given_up() {
    let stage = Stage::start_with(|config| config.body_timeout = Duration::from_millis(200)).await;
    let head = format!(
        "POST {IMPORTS} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ann\r\ncontent-type: text/csv\r\ncontent-length: 900000\r\n\r\nabc"
    );
    let answer = stage.raw(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("REQUEST_TIMEOUT"),
        "{answer}"
    );
    eventually("the service is told", || {
        let seen = stage.fake.upload.lock().unwrap().clone();
        async move {
            assert!(!seen.complete);
            seen.broken.then_some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_and_too_large_files_are_refused_at_once() {
    let stage = Stage::start().await;
    let request = stage
        .as_ann("POST", IMPORTS)
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x--");
    let got = stage.send(request).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (415, "UNSUPPORTED_MEDIA_TYPE")
    );
    let head = format!(
        "POST {IMPORTS} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ann\r\ncontent-type: text/csv\r\ncontent-length: 1073741825\r\n\r\n"
    );
    let answer = stage.raw(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("PAYLOAD_TOO_LARGE"),
        "{answer}"
    );
    assert!(
        stage.fake.upload.lock().unwrap().params.is_none(),
        "the service was not bothered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_reaches_the_client() {
    let stage = Stage::start().await;
    let taken = Arc::default();
    let got = stage
        .send(
            stage
                .as_ann("POST", "/v1/niches/NOT-A-NICHE/package/imports")
                .header("content-type", "text/csv")
                .body(body(2, &taken)),
        )
        .await;
    assert_eq!(
        (got.status, got.fields()),
        (400, vec!["niche string.pattern".to_owned()])
    );
    let got = stage
        .send(
            stage
                .as_ann("POST", &format!("{IMPORTS}?nope=1"))
                .header("content-type", "text/csv")
                .body("a"),
        )
        .await;
    assert_eq!(got.fields(), ["nope request.unknown_parameter"]);
}
