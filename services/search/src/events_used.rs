//! What this service publishes and consumes.
//!
//! Publishes `search.documents.indexed` (`proto/search/v1/events.proto`) to itself: it is the queue of embeddings.
//! Consumes the records' events of niche.

use std::time::Duration;

use events::{Ladder, Queue};

/// Records that changed. Four at a time: each holds a connection while it reads up to 500 records.
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

/// Documents that wait for their embeddings. A call of the embedder may take many seconds.
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
