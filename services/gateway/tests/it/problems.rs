//! Failures of every kind have one shape.

use std::time::Duration;

use kernel::ErrorCode;
use serde_json::json;

use crate::stage::Stage;

const RECORDS: &str = "/v1/niches/catalog/package/records";

#[tokio::test(flavor = "multi_thread")]
async fn every_code_of_a_service_keeps_its_status_and_shape() {
    let stage = Stage::start().await;
    for code in ErrorCode::ALL {
        let got = stage
            .send(
                stage
                    .as_ann("POST", RECORDS)
                    .json(&json!({"data": {"fail": code.as_str()}})),
            )
            .await;
        assert_eq!(got.problem(), code.as_str(), "{}", got.text);
        assert_eq!(got.status, gateway::problem::status_of(*code).as_u16());
        assert_eq!(got.json()["error"]["traceId"].as_str().unwrap().len(), 32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_our_fault_says_nothing_of_its_cause() {
    let stage = Stage::start().await;
    for wish in ["internal", "panic"] {
        let got = stage
            .send(
                stage
                    .as_ann("POST", RECORDS)
                    .json(&json!({"data": {"fail": wish}})),
            )
            .await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (500, "INTERNAL_ERROR")
        );
        assert!(
            !got.text.contains("secret") && !got.text.contains("wished"),
            "{}",
            got.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_or_slow_is_told_apart() {
    let stage =
        Stage::start_with(|config| config.request_timeout = Duration::from_millis(300)).await;
    let got = stage
        .send(
            stage
                .as_ann("POST", "/v1/search")
                .json(&json!({"query": "x"})),
        )
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (503, "SERVICE_UNAVAILABLE")
    );
    assert!(!got.header("retry-after").is_empty());
    let got = stage
        .send(
            stage
                .as_ann("POST", RECORDS)
                .json(&json!({"data": {"fail": "slow"}})),
        )
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (504, "DEADLINE_EXCEEDED")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_do_not_exist_are_problems_too() {
    let stage = Stage::start().await;
    for path in [
        "/nothing",
        "/v1/",
        "/v1/me/",
        "/metrics",
        "/docs/../secret",
        "/docs/oauth2-redirect.html",
    ] {
        let got = stage.send(stage.request("GET", path)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (404, "ROUTE_NOT_FOUND"),
            "{path}"
        );
    }
    let got = stage.send(stage.request("PUT", "/v1/me")).await;
    assert_eq!(
        (got.status, got.problem().as_str(), got.header("allow")),
        (405, "METHOD_NOT_ALLOWED", "GET, HEAD, OPTIONS")
    );
    let got = stage.send(stage.request("DELETE", "/health/live")).await;
    assert_eq!(
        (got.status, got.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    let got = stage.send(stage.request("BREW", "/v1/auth/login")).await;
    assert_eq!((got.status, got.header("allow")), (405, "POST, OPTIONS"));
    // A method override is not a thing here.
    let got = stage
        .send(
            stage
                .request("POST", "/v1/me")
                .header("x-http-method-override", "GET"),
        )
        .await;
    assert_eq!(got.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_even_http_gets_a_problem() {
    let stage = Stage::start().await;
    let check = |answer: String, status: &str, code: &str| {
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(
            answer.contains("content-type: application/problem+json") && answer.contains(code),
            "{answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    };
    check(
        stage.raw(b"NOT HTTP AT ALL\r\n\r\n").await,
        "400",
        "MALFORMED_REQUEST",
    );
    check(
        stage
            .raw(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
            .await,
        "400",
        "MALFORMED_REQUEST",
    );
    let smuggled = b"POST /v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    check(stage.raw(smuggled).await, "400", "MALFORMED_REQUEST");
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-big: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    check(stage.raw(huge.as_bytes()).await, "431", "HEADERS_TOO_LARGE");
    let large = stage
        .send(
            stage
                .request("GET", "/")
                .header("x-big", "x".repeat(40_000)),
        )
        .await;
    assert_eq!(
        (large.status, large.problem().as_str()),
        (431, "HEADERS_TOO_LARGE")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = Stage::start_with(|config| config.body_timeout = Duration::from_millis(200)).await;
    let head = format!(
        "POST {RECORDS} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ann\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let answer = stage.raw(head.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("REQUEST_TIMEOUT"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_follow_the_language() {
    let stage = Stage::start().await;
    let message = |language: &'static str| {
        let stage = &stage;
        async move {
            stage
                .send(
                    stage
                        .request("GET", "/v1/me")
                        .header("accept-language", language),
                )
                .await
                .json()["error"]["message"]
                .clone()
        }
    };
    assert_eq!(
        message("pt-BR,pt;q=0.9,en;q=0.8").await,
        "autentique-se primeiro"
    );
    assert_eq!(message("en").await, "sign in first");
    assert_eq!(message("fr").await, "sign in first");
}
