//! What a call leaves in the log.

use std::sync::{Arc, Mutex};

use kernel::Error;
use proto::search::v1::{SearchRequest, SearchResponse};
use runtime::telemetry::{Format, Sink, subscriber};
use serde_json::Value;
use testkit::{ANN, TENANT_A};
use tracing::subscriber::DefaultGuard;

use crate::stub::{as_ann, search, serve};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Collects what this thread logs; tests run their servers on the same thread.
    fn collect(&self) -> DefaultGuard {
        let bytes = Arc::clone(&self.0);
        let sink: Sink = Arc::new(move |line: &[u8]| bytes.lock().unwrap().extend_from_slice(line));
        tracing::subscriber::set_default(subscriber(
            "search",
            Format::Json,
            "info,rpc::access=debug",
            sink,
        ))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn with(&self, key: &str, value: &str) -> Vec<Value> {
        let lines: Vec<Value> = self
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        lines
            .into_iter()
            .filter(|line| line[key] == value)
            .collect()
    }
}

#[tokio::test]
async fn a_call_leaves_one_line_that_says_who_what_and_how_long() {
    let (lines, clock) = (Lines::default(), testkit::clock());
    let _collecting = lines.collect();
    let (rpc, mut client) = serve(&clock, |_, _| async { Ok(SearchResponse::default()) }).await;
    search(&mut client, as_ann(&clock)).await.unwrap();
    rpc.stop().await;
    let found = lines.with("target", "rpc::access");
    let [line] = found.as_slice() else {
        panic!("{}", lines.text())
    };
    let expected = [
        ("requestId", "req-test".to_owned()),
        ("tenantId", TENANT_A.to_string()),
        ("actorType", "user".to_owned()),
        ("userId", ANN.to_string()),
        ("path", "/search.v1.SearchService/Search".to_owned()),
        ("service", "search".to_owned()),
    ];
    for (key, value) in expected {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert_eq!(line["statusCode"], 0);
    assert!(
        line["latency_ms"].is_number() && line["timestamp"].is_string() && line["level"] == "debug",
        "{line}"
    );
    assert!(line.get("error.code").is_none(), "{line}");
}

#[tokio::test]
async fn an_internal_failure_is_logged_once_with_its_chain_and_redacted() {
    let (lines, clock) = (Lines::default(), testkit::clock());
    let _collecting = lines.collect();
    let (rpc, mut client) = serve(&clock, |_, message: SearchRequest| async move {
        tracing::info!(email = "ann@example.com", password = "hunter2", request = ?message, "careless");
        let cause = std::io::Error::other("no row for ann@example.com");
        Err::<SearchResponse, _>(Error::internal(cause).context("while counting"))
    })
    .await;
    let mut request = as_ann(&clock);
    request.get_mut().query = "mail ann@example.com".to_owned();
    search(&mut client, request).await.unwrap_err();
    rpc.stop().await;
    let errors = lines.with("level", "error");
    let [line] = errors.as_slice() else {
        panic!("{}", lines.text())
    };
    assert_eq!(
        line["chain"],
        "while counting: something went wrong on our side: no row for ***"
    );
    assert_eq!(
        (&line["error.code"], &line["requestId"]),
        (&"INTERNAL_ERROR".into(), &"req-test".into())
    );
    let access = lines.with("target", "rpc::access");
    assert_eq!(
        (access.len(), &access[0]["error.code"]),
        (1, &"INTERNAL_ERROR".into())
    );
    let text = lines.text();
    assert!(
        text.contains("careless") && !text.contains("ann@example.com") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_never_reaches_the_log() {
    let (lines, clock) = (Lines::default(), testkit::clock());
    let _collecting = lines.collect();
    let (rpc, mut client) = serve(&clock, |_, _| async { Ok(SearchResponse::default()) }).await;
    let mut request = as_ann(&clock);
    let mut token = request
        .metadata()
        .get("tenantry-context")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    token.push('x');
    request
        .metadata_mut()
        .insert("tenantry-context", token.parse().unwrap());
    search(&mut client, request).await.unwrap_err();
    rpc.stop().await;
    let text = lines.text();
    assert!(
        text.contains("INVALID_TOKEN") && !text.contains("eyJ"),
        "{text}"
    );
}
