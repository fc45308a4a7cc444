//! Vectors: made of passages, compared one by one in a small tenant, and handed over to the index in a large one.

pub mod store;

use std::time::Duration;

use db::Tx;
use kernel::{RequestContext, Result, TenantId};
use uuid::Uuid;

use crate::App;
use crate::embedder::TEXTS_PER_CALL_MAX;

/// So few new vectors change little, so that whether there are too many is looked up no more than once in [`LOOK_LIFETIME`].
const FEW: usize = 50;
const LOOK_LIFETIME: Duration = Duration::from_secs(10);

/// How many vectors of a tenant are compared one by one; the rest are found by a walk through the index.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Up to here, all of them: recall 1 at a price of about 20 ms.
    pub small_max: i64,
    /// Beyond, only so many that came last: a fraction of what the walk costs.
    pub rest_max: i64,
    /// Handed over in one transaction and one turn in the background: some tenths of a second's work.
    pub step: i64,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            small_max: 20_000,
            rest_max: 1_500,
            step: 100,
        }
    }
}

/// Tenants that were looked at of late.
pub type Looked = moka::future::Cache<TenantId, ()>;

/// None yet.
pub fn looked() -> Looked {
    moka::future::Cache::builder()
        .max_capacity(100_000)
        .time_to_live(LOOK_LIFETIME)
        .build()
}

/// A passage that waits for its embedding.
#[derive(Clone, Debug)]
pub struct PendingPassage {
    pub document_id: Uuid,
    pub ordinal: i16,
    pub content: String,
    pub content_hash: Vec<u8>,
}

/// Embeds the passages of these documents that have no embedding of the present model and content.
///
/// Idempotent by content hash: a passage that has changed meanwhile is left to its own event.
pub async fn embed_documents(app: &App, ctx: &RequestContext, document_ids: &[Uuid]) -> Result<()> {
    let mut tx = app.db.tenant(ctx).await?;
    let pending = store::list_pending(&mut tx, document_ids, app.embedder.model()).await?;
    tx.commit().await?;
    for part in pending.chunks(TEXTS_PER_CALL_MAX) {
        // No transaction is open while the embedder works: it may take seconds.
        let vectors = embed(app, part).await?;
        let _turn = app.background.turn().await;
        let mut tx = app.db.tenant(ctx).await?;
        keep(app, &mut tx, part, &vectors).await?;
        tx.commit().await?;
    }
    hand_over_if_due(app, ctx, pending.len()).await
}

/// Like [`embed_documents`], but within the transaction that stored the passages: for an embedder that is part of this process. Answers how many
/// vectors were added; [`hand_over_if_due`] is for after the commit.
pub async fn embed_within(app: &App, tx: &mut Tx, document_ids: &[Uuid]) -> Result<usize> {
    let pending = store::list_pending(tx, document_ids, app.embedder.model()).await?;
    for part in pending.chunks(TEXTS_PER_CALL_MAX) {
        let vectors = embed(app, part).await?;
        keep(app, tx, part, &vectors).await?;
    }
    Ok(pending.len())
}

async fn embed(app: &App, passages: &[PendingPassage]) -> Result<Vec<Vec<f32>>> {
    let texts: Vec<&str> = passages
        .iter()
        .map(|passage| passage.content.as_str())
        .collect();
    app.embedder.embed(&texts).await
}

async fn keep(
    app: &App,
    tx: &mut Tx,
    passages: &[PendingPassage],
    vectors: &[Vec<f32>],
) -> Result<()> {
    let origin = (app.embedder.model(), app.clock.now());
    store::upsert_embeddings(tx, passages, vectors, origin).await
}

/// Hands vectors over to the index when so many new ones may have made it due.
pub async fn hand_over_if_due(app: &App, ctx: &RequestContext, added: usize) -> Result<()> {
    let tenant_id = ctx.require_tenant()?;
    if added == 0 || (added < FEW && app.looked.contains_key(&tenant_id)) {
        return Ok(());
    }
    app.looked.insert(tenant_id, ()).await;
    hand_over(app, ctx).await
}

/// Hands vectors over to the index until no more are compared one by one than [`Walk`] says.
///
/// May be ended at any moment and begun anew: each step is a transaction, and what is left to do is seen from the rows. Workers that do it at the
/// same time take different rows.
pub async fn hand_over(app: &App, ctx: &RequestContext) -> Result<()> {
    let Walk {
        small_max,
        rest_max,
        step,
    } = app.walk;
    loop {
        let _turn = app.background.turn().await;
        let mut tx = app.db.tenant(ctx).await?;
        let compared_max = match store::has_walked(&mut tx).await? {
            true => rest_max,
            false => small_max,
        };
        let compared = store::count_compared(&mut tx, compared_max + 1).await?;
        let handed_over = match compared > compared_max {
            true => store::hand_over(&mut tx, step).await?,
            false => 0,
        };
        tx.commit().await?;
        if handed_over == 0 {
            return Ok(());
        }
    }
}
