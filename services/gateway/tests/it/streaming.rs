//! Server-Sent Events.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use proto::auth::v1::AccessChange;
use serde_json::Value;
use testkit::{ANN, eventually};

use crate::fake::{BROKEN, SHORT, SILENT};
use crate::stage::Stage;

fn path(id: &str) -> String {
    format!("/v1/imports/{id}/progress")
}

/// Reads until `enough` says so or the stream ends.
async fn read_until(response: reqwest::Response, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut body = response.bytes_stream();
    let reading = async {
        while let Some(part) = body.next().await {
            text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
            if enough(&text) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("the stream tells in time");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_as_numbered_events_and_the_end_is_told() {
    let stage = Stage::start().await;
    let response = stage.as_ann("GET", &path(SHORT)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = read_until(response, |_| false).await;
    let events: Vec<&str> = text
        .split("\n\n")
        .filter(|event| !event.is_empty())
        .collect();
    assert_eq!(events[0], "retry: 2000");
    for (n, event) in events[1..4].iter().enumerate() {
        let data = event
            .strip_prefix(&format!("id: {}\ndata: ", n + 1))
            .unwrap_or_else(|| panic!("{event}"));
        let json: Value = serde_json::from_str(data).unwrap();
        assert_eq!(json["data"]["processedRows"], n + 1);
    }
    assert_eq!(events[4], "event: end\ndata: {}");
    assert_eq!(events.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_the_first_message_is_an_ordinary_problem() {
    let stage = Stage::start().await;
    let got = stage
        .send(stage.as_ann("GET", &path("00000000-0000-7000-8000-0000000000ff")))
        .await;
    assert_eq!((got.status, got.problem().as_str()), (404, "NOT_FOUND"));
    let got = stage.send(stage.as_ann("GET", &path("not-a-uuid"))).await;
    assert_eq!(
        (got.status, got.fields()),
        (400, vec!["importId string.uuid".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_half_way_is_the_last_event() {
    let stage = Stage::start().await;
    let text = read_until(
        stage.as_ann("GET", &path(BROKEN)).send().await.unwrap(),
        |_| false,
    )
    .await;
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    let data = last
        .strip_prefix("event: error\ndata: ")
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(
        serde_json::from_str::<Value>(data).unwrap()["error"]["code"],
        "CONFLICT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_filled_and_a_client_that_leaves_ends_the_call() {
    let stage = Stage::start_with(|config| config.heartbeat = Duration::from_millis(50)).await;
    let response = stage.as_ann("GET", &path(SILENT)).send().await.unwrap();
    assert_eq!(stage.fake.listeners.load(Ordering::SeqCst), 1);
    read_until(response, |text| text.matches(": \n\n").count() >= 3).await;
    eventually("the service is told that nobody listens", || {
        let listeners = stage.fake.listeners.load(Ordering::SeqCst);
        async move { (listeners == 0).then_some(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_loses_access_stops_hearing_within_a_second() {
    let stage = Stage::start().await;
    let response = stage.as_ann("GET", &path(SILENT)).send().await.unwrap();
    stage.fake.callers.lock().unwrap().clear();
    let change = AccessChange {
        tenant_id: None,
        actor_id: Some(ANN.to_string()),
        session_id: None,
    };
    stage.fake.change(change);
    let text = tokio::time::timeout(Duration::from_secs(1), read_until(response, |_| false))
        .await
        .expect("within a second");
    assert!(
        text.contains("event: error") && text.contains("INVALID_TOKEN"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_sends_listeners_elsewhere() {
    let stage = Stage::start().await;
    let response = stage.as_ann("GET", &path(SILENT)).send().await.unwrap();
    let process = stage.process.clone();
    let stopping = stage.services.tasks.spawn("client", async move {
        process.stop(Duration::from_secs(10)).await
    });
    let text = read_until(response, |_| false).await;
    assert!(text.ends_with("event: reconnect\ndata: {}\n\n"), "{text}");
    assert!(stopping.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn head_on_a_stream_opens_none() {
    let stage = Stage::start().await;
    let got = stage.send(stage.as_ann("HEAD", &path(SILENT))).await;
    assert_eq!(
        (got.status, got.header("content-type")),
        (200, "text/event-stream")
    );
    assert_eq!(stage.fake.listeners.load(Ordering::SeqCst), 0);
}
