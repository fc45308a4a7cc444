//! The SQL of the index.

use std::collections::HashMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

use super::{Document, PendingPassage, Progress, passage_hash};

/// Serialises work on the same documents until the end of the transaction. Sorted, so that two batches cannot deadlock.
pub async fn lock_documents(tx: &mut Tx, ids: &[Uuid]) -> Result<()> {
    sqlx::query!(
        r#"select pg_advisory_xact_lock(s.k)::text as "locked" from
           (select distinct hashtextextended(u.id::text, 0) as k from unnest($1::uuid[]) as u(id) order by k) s"#,
        ids,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Reads the content hashes of what is indexed already.
pub async fn list_hashes(tx: &mut Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<u8>>> {
    let rows = sqlx::query!(
        "select id, content_hash from search.documents where id = any($1::uuid[])",
        ids
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.content_hash))
        .collect())
}

/// Removes documents with their passages and embeddings.
pub async fn delete_documents(tx: &mut Tx, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "delete from search.documents where id = any($1::uuid[])",
        ids
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Inserts or replaces documents, all in one statement.
pub async fn upsert_documents(
    tx: &mut Tx,
    documents: &[Document],
    now: DateTime<Utc>,
) -> Result<()> {
    if documents.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = documents.iter().map(|doc| doc.id).collect();
    let niches: Vec<String> = documents.iter().map(|doc| doc.niche.clone()).collect();
    let entities: Vec<String> = documents.iter().map(|doc| doc.entity.clone()).collect();
    let titles: Vec<String> = documents.iter().map(|doc| doc.title.clone()).collect();
    let versions: Vec<i32> = documents.iter().map(|doc| doc.record_version).collect();
    let hashes: Vec<Vec<u8>> = documents
        .iter()
        .map(|doc| doc.content_hash.clone())
        .collect();
    // Arrays of arrays must be rectangular in SQL, so the terms travel as JSON.
    let terms: Vec<serde_json::Value> = documents
        .iter()
        .map(|doc| doc.facet_terms.clone().into())
        .collect();
    sqlx::query!(
        "insert into search.documents (tenant_id, id, niche, entity, title, facet_terms, record_version, content_hash, indexed_at)
         select app.tid(), u.id, u.niche, u.entity, u.title,
                array(select jsonb_array_elements_text(u.terms)), u.version, u.hash, $8
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::int[], $7::bytea[])
              as u(id, niche, entity, title, terms, version, hash)
         on conflict (tenant_id, id) do update
         set niche = excluded.niche, entity = excluded.entity, title = excluded.title, facet_terms = excluded.facet_terms,
             record_version = excluded.record_version, content_hash = excluded.content_hash, indexed_at = excluded.indexed_at",
        &ids,
        &niches,
        &entities,
        &titles,
        &terms,
        &versions,
        &hashes,
        now,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Writes the passages of these documents. A passage that is the same keeps its embedding; surplus ones go.
///
/// Words are indexed with the English and the Portuguese stems, so that a tenant may write in either language.
pub async fn replace_chunks(tx: &mut Tx, documents: &[Document]) -> Result<()> {
    if documents.is_empty() {
        return Ok(());
    }
    let mut ids = Vec::new();
    let mut ordinals: Vec<i16> = Vec::new();
    let mut contents = Vec::new();
    let mut hashes = Vec::new();
    for document in documents {
        for (ordinal, passage) in document.passages.iter().enumerate() {
            ids.push(document.id);
            ordinals.push(i16::try_from(ordinal).expect("a document has at most 100 passages"));
            hashes.push(passage_hash(passage));
            contents.push(passage.clone());
        }
    }
    let document_ids: Vec<Uuid> = documents.iter().map(|doc| doc.id).collect();
    let counts: Vec<i16> = documents
        .iter()
        .map(|doc| i16::try_from(doc.passages.len()).expect("a document has at most 100 passages"))
        .collect();
    sqlx::query!(
        "delete from search.chunks c using unnest($1::uuid[], $2::smallint[]) as u(id, passages)
         where c.document_id = u.id and c.ordinal >= u.passages",
        &document_ids,
        &counts,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!(
        "insert into search.chunks (tenant_id, document_id, ordinal, niche, entity, facet_terms, content, content_hash, tsv)
         select d.tenant_id, d.id, u.ordinal, d.niche, d.entity, d.facet_terms, u.content, u.hash,
                setweight(to_tsvector('pg_catalog.english', d.title) || to_tsvector('pg_catalog.portuguese', d.title), 'A')
                || to_tsvector('pg_catalog.english', u.content) || to_tsvector('pg_catalog.portuguese', u.content)
         from unnest($1::uuid[], $2::smallint[], $3::text[], $4::bytea[]) as u(id, ordinal, content, hash)
         join search.documents d on d.id = u.id
         on conflict (tenant_id, document_id, ordinal) do update
         set niche = excluded.niche, entity = excluded.entity, facet_terms = excluded.facet_terms,
             content = excluded.content, content_hash = excluded.content_hash, tsv = excluded.tsv",
        &ids,
        &ordinals,
        &contents,
        &hashes,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    // The filters of an embedding follow its document even when the passage, and so the vector, stays the same.
    sqlx::query!(
        "update search.embeddings e set niche = d.niche, entity = d.entity, facet_terms = d.facet_terms
         from search.documents d
         where e.document_id = any($1::uuid[]) and d.id = e.document_id
           and (e.niche, e.entity, e.facet_terms) is distinct from (d.niche, d.entity, d.facet_terms)",
        &document_ids,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lists the passages of these documents whose embedding is missing, of another content or of another model.
pub async fn list_pending(
    tx: &mut Tx,
    document_ids: &[Uuid],
    model: &str,
) -> Result<Vec<PendingPassage>> {
    sqlx::query_as!(
        PendingPassage,
        "select c.document_id, c.ordinal, c.content, c.content_hash
         from search.chunks c
         left join search.embeddings e on e.document_id = c.document_id and e.ordinal = c.ordinal
         where c.document_id = any($1::uuid[])
           and (e.document_id is null or e.content_hash <> c.content_hash or e.embedding_model <> $2)
         order by c.document_id, c.ordinal",
        document_ids,
        model,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Stores vectors of passages that still have the content that was embedded.
pub async fn upsert_embeddings(
    tx: &mut Tx,
    passages: &[PendingPassage],
    vectors: &[Vec<f32>],
    (model, now): (&str, DateTime<Utc>),
) -> Result<()> {
    let ids: Vec<Uuid> = passages.iter().map(|passage| passage.document_id).collect();
    let ordinals: Vec<i16> = passages.iter().map(|passage| passage.ordinal).collect();
    let hashes: Vec<Vec<u8>> = passages
        .iter()
        .map(|passage| passage.content_hash.clone())
        .collect();
    let vectors: Vec<String> = vectors.iter().map(|vector| to_text(vector)).collect();
    // Locked, because a passage may vanish while its vector is written; whoever removes it is waited for, and then it is left out.
    sqlx::query!(
        "insert into search.embeddings (tenant_id, document_id, ordinal, niche, entity, facet_terms, content_hash,
                                        embedding, embedding_model, embedding_updated_at)
         select c.tenant_id, c.document_id, c.ordinal, c.niche, c.entity, c.facet_terms, c.content_hash,
                u.vector::ext.halfvec, $5, $6
         from unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::text[]) as u(id, ordinal, hash, vector)
         join search.chunks c on c.document_id = u.id and c.ordinal = u.ordinal and c.content_hash = u.hash
         for key share of c
         on conflict (tenant_id, document_id, ordinal) do update
         set niche = excluded.niche, entity = excluded.entity, facet_terms = excluded.facet_terms,
             content_hash = excluded.content_hash, embedding = excluded.embedding,
             embedding_model = excluded.embedding_model, embedding_updated_at = excluded.embedding_updated_at",
        &ids,
        &ordinals,
        &hashes,
        &vectors,
        model,
        now,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Counts documents and passages without an embedding of the present model and content.
pub async fn count_progress(tx: &mut Tx, model: &str) -> Result<Progress> {
    sqlx::query_as!(
        Progress,
        r#"select (select count(*) from search.documents) as "documents!",
                  (select count(*) from search.chunks c
                   left join search.embeddings e on e.tenant_id = c.tenant_id and e.document_id = c.document_id and e.ordinal = c.ordinal
                   where e.document_id is null or e.content_hash <> c.content_hash or e.embedding_model <> $1) as "pending_embeddings!""#,
        model,
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)
}

/// The text form of a vector, for example `[0.25,-1]`.
fn to_text(vector: &[f32]) -> String {
    let mut text = String::with_capacity(vector.len() * 10);
    text.push('[');
    for (place, number) in vector.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        // Six digits are more than the half-precision column keeps.
        write!(text, "{comma}{number:.6}").expect("writing to a string cannot fail");
    }
    text.push(']');
    text
}
