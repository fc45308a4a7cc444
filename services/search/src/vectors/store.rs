//! The SQL of vectors. Rows are fetched as in `documents/store.rs`, and for the same reason.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::Result;
use uuid::Uuid;

use super::PendingPassage;

/// Lists the passages of these documents whose embedding is missing, of another content or of another model.
pub async fn list_pending(
    tx: &mut Tx,
    document_ids: &[Uuid],
    model: &str,
) -> Result<Vec<PendingPassage>> {
    sqlx::query_as!(
        PendingPassage,
        "select c.document_id, c.ordinal, c.content, c.content_hash
         from unnest($1::uuid[]) as u(id)
         cross join lateral (select * from search.chunks c where c.tenant_id = $3 and c.document_id = u.id offset 0) c
         where not exists (select from search.embeddings e
                           where e.tenant_id = $3 and e.document_id = c.document_id and e.ordinal = c.ordinal
                             and e.content_hash = c.content_hash and e.embedding_model = $2
                           offset 0)
         order by c.document_id, c.ordinal",
        document_ids,
        model,
        tx.tenant_id().uuid(),
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
         cross join lateral (select * from search.chunks c
                             where c.tenant_id = $7 and c.document_id = u.id and c.ordinal = u.ordinal and c.content_hash = u.hash
                             for key share) c
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
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Whether any vector of the tenant is in the index.
pub async fn has_walked(tx: &mut Tx) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from search.embeddings where tenant_id = $1 and walked) as "has!""#,
        tx.tenant_id().uuid(),
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)
}

/// Counts the tenant's vectors that are not in the index, but no further than `most`.
pub async fn count_compared(tx: &mut Tx, most: i64) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
             select from search.embeddings where tenant_id = $1 and not walked limit $2) s"#,
        tx.tenant_id().uuid(),
        most,
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)
}

/// Puts so many of the tenant's vectors into the index, passing over those that another transaction works on. Answers how many they were.
pub async fn hand_over(tx: &mut Tx, count: i64) -> Result<u64> {
    let done = sqlx::query!(
        "update search.embeddings e set walked = true
         from (select s.document_id, s.ordinal from search.embeddings s
               where s.tenant_id = $1 and not s.walked limit $2 for update skip locked) s
         where e.tenant_id = $1 and e.document_id = s.document_id and e.ordinal = s.ordinal",
        tx.tenant_id().uuid(),
        count,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
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
