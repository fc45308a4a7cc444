//! What this service publishes and consumes.
//!
//! Publishes `search.documents.indexed` (`proto/search/v1/events.proto`) to itself when the embedder is another process: it is the queue of embeddings.
//! Consumes the records' events of niche.

use std::time::Duration;

use events::{Ladder, Queue};

/// Records that changed. Several tenants' events are in hand side by side; their batches take turns with all other work in the background.
pub fn records_queue() -> Queue {
    Queue::new(
        "search.records",
        [
            "record.created",
            "record.updated",
            "record.deleted",
            "records.imported",
        ],
    )
    .concurrency(4)
    .ladder(quick_ladder())
}

/// Documents that wait for their embeddings. While one event waits for the embedder, which may take many seconds, the other is stored.
pub fn embeddings_queue() -> Queue {
    Queue::new("search.embeddings", ["search.documents.indexed"])
        .concurrency(2)
        .ladder(quick_ladder())
        .handler_timeout(Duration::from_secs(120))
}

/// An index that lags by a minute is noticed, so the first retries come sooner than those of the standard ladder.
fn quick_ladder() -> Ladder {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    Ladder::of([
        Duration::from_secs(2),
        Duration::from_secs(10),
        minutes(1),
        minutes(5),
        minutes(15),
        minutes(60),
        minutes(360),
    ])
}
