//! What this service publishes and consumes.
//!
//! Publishes `user.created`, `user.email_verified`, `membership.created`, `session.reuse_detected` (`proto/auth/v1/events.proto`) and
//! `audit.recorded`. Consumes `tenant.created` and `tenant.status.changed`, which say the same as the commands of the tenant service:
//! whichever comes first counts, the other changes nothing.

use events::Queue;

/// Comings and goings of tenants. One at a time is plenty, and keeps the versions of a tenant in order.
pub fn tenants_queue() -> Queue {
    Queue::new("auth.tenants", ["tenant.created", "tenant.status.changed"]).concurrency(4)
}
