//! What the operators of the platform look after: messages that no retry could deliver.

use db::AuditEntry;
use events::dead_letters::{self, DEAD_LETTERS_MAX, DeadLetter, Selection};
use kernel::{RequestContext, Result};
use serde_json::json;
use uuid::Uuid;

use crate::App;

/// Lists the dead letters of a queue, oldest first, and leaves them where they are.
pub async fn list_dead_letters(app: &App, queue: &str, limit: u32) -> Result<Vec<DeadLetter>> {
    dead_letters::list(&app.broker, queue, limit as usize).await
}

/// Puts dead letters back into their queue; no ids means the oldest thousand. Returns how many went back.
pub async fn replay_dead_letters(
    app: &App,
    ctx: &RequestContext,
    queue: &str,
    ids: Vec<Uuid>,
) -> Result<i32> {
    let selection = if ids.is_empty() {
        Selection::Oldest(DEAD_LETTERS_MAX)
    } else {
        Selection::Events(ids.into_iter().collect())
    };
    let replayed = dead_letters::replay(&app.broker, queue, &selection).await?;
    // The entry follows the deed: the broker has no transaction with the database, and an entry about a replay
    // that did not happen would be the worse of the two.
    let mut tx = app
        .db
        .across_tenants(ctx, "a queue belongs to the platform")
        .await?;
    tx.audit(
        AuditEntry::new("dead-letters.replay", "queue", queue)
            .with(json!({ "replayed": replayed })),
    )?;
    tx.commit().await?;
    Ok(i32::try_from(replayed).unwrap_or(i32::MAX))
}
