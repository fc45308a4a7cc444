//! Forgetting in time: expired idempotency keys and the memory of old events.

use std::time::Duration;

use kernel::{RequestContext, TenantId};
use runtime::Shutdown;

use crate::handle::Db;

/// Keys live for a day, so an hour more or less does not matter.
const PAUSE: Duration = Duration::from_secs(3600);

/// Calls [`Db::sweep_expired`] every hour until `shutdown`; one process of each service does it, usually its worker. A failure is
/// logged and tried again with the next round.
pub async fn keep_swept(db: Db, shutdown: Shutdown) {
    let ctx = RequestContext::system(db.schema(), TenantId::PLATFORM)
        .request_id("sweep")
        .build();
    while !shutdown.is_begun() {
        match sweep(&db, &ctx).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(schema = db.schema(), removed, "swept what has expired"),
            Err(error) => tracing::warn!(
                schema = db.schema(),
                "sweeping failed and is tried again later: {}",
                error.chain()
            ),
        }
        shutdown.or(tokio::time::sleep(PAUSE)).await;
    }
}

async fn sweep(db: &Db, ctx: &RequestContext) -> kernel::Result<u64> {
    let mut total = 0;
    loop {
        let removed = db.sweep_expired(ctx).await?;
        total += removed;
        if removed == 0 {
            return Ok(total);
        }
    }
}
