//! What this service publishes and consumes.
//!
//! Publishes `tenant.created`, `tenant.status.changed` and `tenant.package.assigned` (`proto/tenant/v1/events.proto`).
//! Consumes `audit.recorded` of every service.

use events::{Ladder, Queue};

/// Every service's audit entries. The ladder is the long one: an entry must not be lost to an outage of a day.
pub fn audit_queue() -> Queue {
    Queue::new("tenant.audit", ["audit.recorded"])
        .concurrency(16)
        .ladder(Ladder::standard())
}
