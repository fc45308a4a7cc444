//! Ambiguous HTTP/1 messages: each is refused once, and whatever follows it on the connection is never taken for a request.

mod chunks;
mod vectors;

use std::net::SocketAddr;

use futures::{StreamExt as _, stream};

use crate::input::stage::Stage;
use crate::input::wire::{canary, talk};

use vectors::Vector;

#[tokio::test(flavor = "multi_thread")]
async fn no_ambiguous_message_hides_a_request() {
    let stage = Stage::start(&[]).await;
    let vectors = vectors::all();
    let count = vectors.len();
    let address = stage.address;
    let objections: Vec<String> = stream::iter(vectors)
        .map(|vector| async move { objection(address, vector).await })
        .buffer_unordered(8)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(
        objections.is_empty(),
        "{} of {count}:\n{}",
        objections.len(),
        objections.join("\n")
    );
    campaign::Extent::of_this_run().tell("ambiguous messages", count);
    stage.platform.stop().await;
}

/// What is wrong with the answer to a vector.
async fn objection(address: SocketAddr, (name, message, expected): Vector) -> Option<String> {
    let exchange = talk(address, message.as_bytes()).await;
    canary(address, name).await;
    let (statuses, must_close) = match expected {
        [statuses @ .., 0] => (statuses, true),
        statuses => (statuses, false),
    };
    for answer in exchange
        .answers
        .iter()
        .filter(|answer| !answer.body.is_empty())
    {
        answer.code();
    }
    let is_right = exchange.statuses() == statuses && (exchange.closed || !must_close);
    (!is_right).then(|| {
        format!(
            "{name}: {:?}, closed: {}",
            exchange.statuses(),
            exchange.closed
        )
    })
}
