//! Vectors: made of passages, compared one by one in a small tenant, and handed over to the index in a large one.

pub mod store;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::Tx;
use kernel::{RequestContext, Result, TenantId};
use runtime::Shutdown;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::App;
use crate::embedder::TEXTS_PER_CALL_MAX;

/// Whether a tenant has too many vectors to compare is looked up so often at most: a look costs as much as a small search.
const REST: Duration = Duration::from_secs(10);
/// While other work waits for its turn, handing over pauses for so many times as long as it worked.
const PAUSES: u32 = 3;

/// How many vectors of a tenant are compared one by one; the rest are found by a walk through the index.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Up to here, all of them: recall 1 at a price of about 20 ms.
    pub small_max: i64,
    /// Beyond, only so many, whichever they are: a fraction of what the walk costs.
    pub rest_max: i64,
    /// Handed over in one transaction and one turn in the background: as much work as a batch of documents.
    pub step: i64,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            small_max: 20_000,
            rest_max: 500,
            step: 25,
        }
    }
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
        app.grown.note(ctx.require_tenant()?);
    }
    Ok(())
}

/// Like [`embed_documents`], but within the transaction that stored the passages: for an embedder that is part of this process. After the commit
/// the tenant is to be noted as [`Grown`].
pub async fn embed_within(app: &App, tx: &mut Tx, document_ids: &[Uuid]) -> Result<()> {
    let pending = store::list_pending(tx, document_ids, app.embedder.model()).await?;
    for part in pending.chunks(TEXTS_PER_CALL_MAX) {
        let vectors = embed(app, part).await?;
        keep(app, tx, part, &vectors).await?;
    }
    Ok(())
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

/// Tenants with new vectors. Known to this process alone: what is to be done for them is seen from the rows, and their next vectors bring them back.
#[derive(Default)]
pub struct Grown {
    tenants: Mutex<BTreeSet<TenantId>>,
    more: Notify,
}

impl Grown {
    /// Notes that a tenant has new vectors, after which some may have to be handed over.
    pub fn note(&self, tenant_id: TenantId) {
        self.lock().insert(tenant_id);
        self.more.notify_one();
    }

    fn take(&self) -> Option<TenantId> {
        self.lock().pop_first()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<TenantId>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands over what is due in the tenants that have grown. Apart from the events that made them grow: new documents are to be found soon, and in which
/// way matters less.
pub async fn hand_over_grown(app: &App) -> Result<()> {
    while let Some(tenant_id) = app.grown.take() {
        let ctx = RequestContext::system("search", tenant_id).build();
        if let Err(error) = hand_over(app, &ctx).await {
            app.grown.note(tenant_id);
            return Err(error);
        }
    }
    Ok(())
}

/// Goes on handing over until shutdown.
pub async fn keep_handing_over(app: App, shutdown: Shutdown) {
    while shutdown.or(app.grown.more.notified()).await.is_some() {
        let Some(done) = shutdown.or(hand_over_grown(&app)).await else {
            return;
        };
        if let Err(error) = done {
            tracing::warn!(
                error = error.chain(),
                "vectors could not be handed over to the index; searches compare them for now"
            );
        }
        shutdown.or(tokio::time::sleep(REST)).await;
    }
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
        let turn = app.background.turn().await;
        let started = app.clock.instant();
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
        drop(turn);
        if handed_over == 0 {
            return Ok(());
        }
        // Until then its vectors are compared, which is slower but as good; documents that are not indexed are not found at all.
        if app.background.is_wanted() {
            let took = app.clock.instant().saturating_duration_since(started);
            tokio::time::sleep(took * PAUSES).await;
        }
    }
}
