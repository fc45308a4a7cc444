//! One handler per consumed event.

use events::Delivery;
use kernel::Result;
use proto::tenantry::api::v1::AuditRecorded;

use crate::{App, audit_logs};

/// Stores an audit entry.
pub async fn audit_recorded(app: App, delivery: Delivery) -> Result<()> {
    let entry = delivery.payload::<AuditRecorded>()?;
    audit_logs::record(
        &app,
        &delivery.ctx,
        delivery.event_id(),
        delivery.envelope.time,
        entry,
    )
    .await
}
