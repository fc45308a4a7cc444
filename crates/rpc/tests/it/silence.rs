//! A service that takes connections and says nothing, and one that is merely slow.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use kernel::{Clock, Error, ErrorCode, Result};
use proto::search::v1::SearchResponse;
use proto::search::v1::search_service_client::SearchServiceClient;
use rpc::Peer;
use testkit::{Proxy, Rpc};

use crate::stub::{Client, as_ann, search, searching};

/// Longer than any of these tests takes: nothing here ends by its deadline.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service behind a gate, and a way through it; the handler needs so long for an answer.
async fn gated(clock: &Clock, pause: Duration) -> (Rpc, Proxy, Client) {
    let (listener, _) = testkit::rpc::listen().await;
    let url = listener.endpoint().unwrap().to_string();
    let rpc = Rpc::start_on(
        searching(clock, move |_, _| async move {
            // sleeps because a method that takes its time is what some of this is about
            tokio::time::sleep(pause).await;
            Ok(SearchResponse::default())
        }),
        listener,
    );
    let gate = Proxy::to(&url).await;
    let peer = Peer::new(testkit::keyring("gateway"), "search", clock.clone());
    let channel = peer.connect(&gate.url_of(&url).parse().unwrap());
    (rpc, gate, SearchServiceClient::new(channel))
}

async fn ask(client: &Client, clock: &Clock) -> Result<SearchResponse> {
    let mut request = as_ann(clock);
    request.set_timeout(PATIENCE);
    search(&mut client.clone(), request).await
}

/// Asks so many times at once: how many calls failed without having been made, and how many after they had.
async fn crowd(client: &Client, clock: &Clock, count: usize) -> (usize, usize) {
    let answers = join_all((0..count).map(|_| ask(client, clock))).await;
    let is_refused = |error: &Error| error.chain().contains("is silent");
    let (mut refused, mut tried) = (0, 0);
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(
            error.error_code(),
            ErrorCode::ServiceUnavailable,
            "{error:?}"
        );
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        if is_refused(&error) {
            refused += 1;
        } else {
            tried += 1;
        }
    }
    (refused, tried)
}

#[tokio::test]
async fn calls_to_a_silent_service_fail_before_their_deadline_and_then_at_once() {
    let clock = testkit::clock();
    let (rpc, gate, client) = gated(&clock, Duration::ZERO).await;
    ask(&client, &clock).await.unwrap();
    gate.stall();
    // Nobody knows yet: all of them find out.
    assert_eq!(crowd(&client, &clock, 5).await, (0, 5));
    // One of those that follow is let out to see whether anybody answers.
    assert_eq!(crowd(&client, &clock, 20).await, (19, 1));
    assert_eq!(crowd(&client, &clock, 20).await, (20, 0));
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(crowd(&client, &clock, 20).await, (19, 1));
    gate.restore();
    clock.advance(TimeDelta::seconds(1));
    ask(&client, &clock).await.unwrap();
    for answer in join_all((0..20).map(|_| ask(&client, &clock))).await {
        answer.unwrap();
    }
    rpc.stop().await;
}

#[tokio::test]
async fn a_slow_method_is_waited_for() {
    let clock = testkit::clock();
    // Longer than silence is borne.
    let (rpc, _gate, client) = gated(&clock, Duration::from_millis(4_500)).await;
    for answer in join_all((0..5).map(|_| ask(&client, &clock))).await {
        answer.unwrap();
    }
    rpc.stop().await;
}
