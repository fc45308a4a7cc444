//! What this service publishes and consumes.
//!
//! Publishes `niche.activated`, `record.created`, `record.updated`, `record.deleted`, `records.imported`, `import.queued` and `import.finished`
//! (`proto/niche/v1/events.proto`). Consumes its own `import.queued`: it is the queue of imports.

use std::time::Duration;

use events::{Ladder, Queue};

/// Imports that wait for a worker. Two advance side by side; their batches take turns with all other work in the background.
pub fn imports_queue() -> Queue {
    Queue::new("niche.imports", ["import.queued"])
        .concurrency(2)
        .ladder(ladder())
        // A slice ends by itself after 15 seconds; a batch or a range that hangs may double that a few times.
        .handler_timeout(Duration::from_secs(120))
}

/// Soon at first, because a lease that a dead worker left runs out after twenty seconds; then for seven hours, which an outage may last.
fn ladder() -> Ladder {
    Ladder::of([5, 15, 30, 60, 300, 900, 3_600, 21_600].map(Duration::from_secs))
}
