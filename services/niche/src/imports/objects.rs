//! Deleting files that no import needs any more, also those of uploads that never became imports.

use kernel::{RequestContext, Result, TenantId};

use super::store;
use crate::App;

/// Objects that one sweep deletes; the next one takes the others.
const SWEEP_OBJECTS: i32 = 500;

/// Deletes every object whose time has come, of all tenants, and answers how many. For the worker, now and then.
pub async fn sweep_objects(app: &App, ctx: &RequestContext) -> Result<usize> {
    let mut tx = app
        .db
        .across_tenants(
            ctx,
            "files that nobody needs are found by age, whoever they belonged to",
        )
        .await?;
    let due = store::list_due_objects(&mut tx, app.clock.now(), SWEEP_OBJECTS).await?;
    tx.commit().await?;
    for (tenant_id, key) in &due {
        app.objects.delete(key).await?;
        forget(app, &ctx.within(TenantId(*tenant_id)), key).await?;
    }
    Ok(due.len())
}

/// Deletes an object at once if that can be; what fails is left to the sweep.
pub(super) async fn delete_object(app: &App, ctx: &RequestContext, key: &str) {
    let deleted = match app.objects.delete(key).await {
        Ok(()) => forget(app, ctx, key).await,
        Err(error) => Err(error),
    };
    if let Err(error) = deleted {
        tracing::warn!(
            error = error.chain(),
            "a file that is not needed any more could not be deleted yet; the sweep will"
        );
    }
}

async fn forget(app: &App, ctx: &RequestContext, key: &str) -> Result<()> {
    let mut tx = app.db.tenant(ctx).await?;
    store::delete_object(&mut tx, key).await?;
    tx.commit().await
}
