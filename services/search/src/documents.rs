//! The index: documents and their passages, kept in step with the records. Their vectors follow, see `vectors.rs`.

pub mod store;

use std::collections::HashSet;

use kernel::{Error, RequestContext, Result};
use proto::niche::v1::{BatchGetSearchDocumentsRequest, SearchDocument};
use proto::search::v1::DocumentsIndexed;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{App, passages, vectors};

/// Documents in one event about pending embeddings: their ids stay far below the 64 KiB of a message.
const DOCUMENTS_PER_EVENT: usize = 200;

/// A document ready to be stored.
#[derive(Clone, Debug)]
pub struct Document {
    pub id: Uuid,
    pub niche: String,
    pub entity: String,
    pub title: String,
    pub facet_terms: Vec<String>,
    pub record_version: i32,
    pub content_hash: Vec<u8>,
    pub passages: Vec<String>,
}

/// How far the index of a tenant is.
pub struct Progress {
    pub documents: i64,
    pub pending_embeddings: i64,
}

/// Brings the index in step with these records: what exists is indexed, what does not is removed.
///
/// Idempotent, and indifferent to the order of events: the records are read while their documents are locked, so
/// whoever comes last has read the newest state. Vectors come at once from an embedder within this process; any other is asked later, by an event of
/// our own, because it may be slow or away.
pub async fn index_records(app: &App, ctx: &RequestContext, record_ids: &[Uuid]) -> Result<()> {
    let turn = app.background.turn().await;
    let mut tx = app.db.tenant(ctx).await?;
    store::lock_documents(&mut tx, record_ids).await?;
    let found = fetch(app, ctx, record_ids).await?;
    let existing: HashSet<Uuid> = found.iter().map(|doc| doc.id).collect();
    let missing: Vec<Uuid> = record_ids
        .iter()
        .filter(|id| !existing.contains(id))
        .copied()
        .collect();
    store::delete_documents(&mut tx, &missing).await?;

    let hashes = store::list_hashes(&mut tx, record_ids).await?;
    let changed: Vec<Document> = found
        .into_iter()
        .filter(|doc| hashes.get(&doc.id) != Some(&doc.content_hash))
        .collect();
    store::upsert_documents(&mut tx, &changed, app.clock.now()).await?;
    store::upsert_chunks(&mut tx, &changed).await?;
    // Most documents are new: nothing of them is left from before.
    let known: Vec<&Document> = changed
        .iter()
        .filter(|doc| hashes.contains_key(&doc.id))
        .collect();
    if !known.is_empty() {
        store::delete_surplus_chunks(&mut tx, &known).await?;
        store::refresh_filters(&mut tx, &known).await?;
    }
    let ids: Vec<Uuid> = changed.iter().map(|doc| doc.id).collect();
    if app.embedder.is_local() {
        vectors::embed_within(app, &mut tx, &ids).await?;
    } else {
        for part in ids.chunks(DOCUMENTS_PER_EVENT) {
            let document_ids = part.iter().map(Uuid::to_string).collect();
            tx.emit(part[0], &DocumentsIndexed { document_ids })?;
        }
    }
    tx.commit().await?;
    drop(turn);
    if app.embedder.is_local() {
        app.grown.note(ctx.require_tenant()?);
    }
    Ok(())
}

/// Counts what is indexed and what waits.
pub async fn progress(app: &App, ctx: &RequestContext) -> Result<Progress> {
    let mut tx = app.db.tenant(ctx).await?;
    let progress = store::count_progress(&mut tx, app.embedder.model()).await?;
    tx.commit().await?;
    Ok(progress)
}

async fn fetch(app: &App, ctx: &RequestContext, record_ids: &[Uuid]) -> Result<Vec<Document>> {
    let message = BatchGetSearchDocumentsRequest {
        record_ids: record_ids.iter().map(Uuid::to_string).collect(),
    };
    let request = app.niche_peer.request(ctx, message);
    let answer = app
        .niche
        .clone()
        .batch_get_search_documents(request)
        .await
        .map_err(rpc::from_peer)?;
    answer
        .into_inner()
        .documents
        .into_iter()
        .map(prepare)
        .collect()
}

fn prepare(source: SearchDocument) -> Result<Document> {
    let title = passages::clean(&source.title);
    let text = passages::clean(&source.text);
    let facet_terms: Vec<String> = source
        .facets
        .iter()
        .map(|facet| format!("{}:{}", facet.facet, facet.value))
        .collect();
    let mut hash = Sha256::new();
    for part in [&source.niche, &source.entity, &title, &text]
        .into_iter()
        .chain(&facet_terms)
    {
        // The length keeps `ab` + `c` apart from `a` + `bc`.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    Ok(Document {
        id: Uuid::parse_str(&source.record_id).map_err(Error::internal)?,
        passages: passages::cut(&title, &text),
        niche: source.niche,
        entity: source.entity,
        title,
        facet_terms,
        record_version: source.version,
        content_hash: hash.finalize().to_vec(),
    })
}

/// The hash by which a passage is known to be unchanged.
pub fn passage_hash(content: &str) -> Vec<u8> {
    Sha256::digest(content.as_bytes()).to_vec()
}
