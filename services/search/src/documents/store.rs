//! The SQL of the index.
//!
//! Rows are fetched by their whole keys, one by one: `lateral (.. offset 0)` leaves the planner no other way. Left free, it plans while a table is small,
//! when reading all rows of the tenant is as good, and the plan stays while the tenant grows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

use super::{Document, Progress, passage_hash};

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
        "select d.id, d.content_hash from unnest($1::uuid[]) as u(id)
         cross join lateral (select d.id, d.content_hash from search.documents d where d.tenant_id = $2 and d.id = u.id offset 0) d",
        ids,
        tx.tenant_id().uuid(),
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

/// Writes the passages of these documents. A passage that is the same keeps its embedding.
///
/// Words are indexed with the English and the Portuguese stems, so that a tenant may write in either language.
pub async fn upsert_chunks(tx: &mut Tx, documents: &[Document]) -> Result<()> {
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
            ordinals.push(small(ordinal));
            hashes.push(passage_hash(passage));
            contents.push(passage.clone());
        }
    }
    sqlx::query!(
        "insert into search.chunks (tenant_id, document_id, ordinal, niche, entity, facet_terms, content, content_hash, tsv)
         select d.tenant_id, d.id, u.ordinal, d.niche, d.entity, d.facet_terms, u.content, u.hash,
                setweight(to_tsvector('pg_catalog.english', d.title) || to_tsvector('pg_catalog.portuguese', d.title), 'A')
                || to_tsvector('pg_catalog.english', u.content) || to_tsvector('pg_catalog.portuguese', u.content)
         from unnest($1::uuid[], $2::smallint[], $3::text[], $4::bytea[]) as u(id, ordinal, content, hash)
         cross join lateral (select * from search.documents d where d.tenant_id = $5 and d.id = u.id offset 0) d
         on conflict (tenant_id, document_id, ordinal) do update
         set niche = excluded.niche, entity = excluded.entity, facet_terms = excluded.facet_terms,
             content = excluded.content, content_hash = excluded.content_hash, tsv = excluded.tsv",
        &ids,
        &ordinals,
        &contents,
        &hashes,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Removes the passages that documents no longer have, with their embeddings.
pub async fn delete_surplus_chunks(tx: &mut Tx, documents: &[&Document]) -> Result<()> {
    let ids: Vec<Uuid> = documents.iter().map(|doc| doc.id).collect();
    let counts: Vec<i16> = documents
        .iter()
        .map(|doc| small(doc.passages.len()))
        .collect();
    sqlx::query!(
        "delete from search.chunks c using unnest($1::uuid[], $2::smallint[]) as u(id, passages)
         where c.document_id = u.id and c.ordinal >= u.passages",
        &ids,
        &counts,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lets the filters of embeddings follow their documents, even where the passage, and so the vector, stayed the same.
pub async fn refresh_filters(tx: &mut Tx, documents: &[&Document]) -> Result<()> {
    let ids: Vec<Uuid> = documents.iter().map(|doc| doc.id).collect();
    sqlx::query!(
        "update search.embeddings e set niche = d.niche, entity = d.entity, facet_terms = d.facet_terms
         from search.documents d
         where e.document_id = any($1::uuid[]) and d.id = e.document_id
           and (e.niche, e.entity, e.facet_terms) is distinct from (d.niche, d.entity, d.facet_terms)",
        &ids,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

fn small(passages: usize) -> i16 {
    i16::try_from(passages).expect("a document has at most 100 passages")
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
