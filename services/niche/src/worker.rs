//! One handler per consumed event, and what the worker does by the clock.

use std::time::Duration;

use events::Delivery;
use kernel::{Error, RequestContext, Result, TenantId};
use proto::niche::v1::ImportQueued;
use runtime::Shutdown;
use uuid::Uuid;

use crate::imports::run::{Slice, Turn, work_on};
use crate::{App, events_used, imports};

/// How often files that nobody needs are looked for.
const SWEEP_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Works on an import for a while.
pub async fn import_queued(app: App, delivery: Delivery) -> Result<()> {
    work_on(&app, &delivery.ctx, turn(&delivery)?, Slice::default()).await
}

/// What an event asks of the worker.
pub fn turn(delivery: &Delivery) -> Result<Turn> {
    let id = delivery.payload::<ImportQueued>()?.import_id;
    let broken = |error| {
        Error::precondition(
            "import.event_id_invalid",
            "an event names an import whose id is not a UUID",
        )
        .caused_by(error)
    };
    Ok(Turn {
        import_id: Uuid::parse_str(&id).map_err(broken)?,
        event_id: delivery.event_id(),
        is_last_attempt: events_used::imports_queue()
            .ladder
            .pause_after(delivery.attempt)
            .is_none(),
    })
}

/// Deletes what uploads and ended imports have left behind, until shutdown.
pub async fn keep_sweeping(app: App, shutdown: Shutdown) {
    let ctx = RequestContext::system("niche", TenantId::PLATFORM).build();
    while !shutdown.is_begun() {
        match imports::sweep_objects(&app, &ctx).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "deleted files that no import needs"),
            Err(error) => tracing::warn!(
                error = error.chain(),
                "files that no import needs could not be deleted; trying again later"
            ),
        }
        shutdown.or(tokio::time::sleep(SWEEP_PAUSE)).await;
    }
}
