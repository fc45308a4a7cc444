//! The SQL of searching. The search itself is `search.hybrid`, see its migration.

use db::Tx;
use kernel::Result;

use super::{Found, Plan};
use crate::passages::{MARK_END, MARK_START};

/// Runs a plan and reads what it found, best first, with the found words marked.
///
/// Row by row, which is what the limits force: left free, the planner reads all documents of a large tenant to join ten of them.
pub async fn list_found(tx: &mut Tx, plan: &Plan<'_>) -> Result<Vec<Found>> {
    let headline = format!(
        "StartSel={MARK_START}, StopSel={MARK_END}, MaxFragments=2, MinWords=8, MaxWords=24, FragmentDelimiter=\" … \""
    );
    sqlx::query_as!(
        Found,
        r#"select d.id, d.niche, d.entity, d.title, h.score as "score!", h.candidates as "candidates!", d.facet_terms,
                  ts_headline('pg_catalog.english', c.content,
                              websearch_to_tsquery('pg_catalog.english', $1) || websearch_to_tsquery('pg_catalog.portuguese', $1),
                              $10) as "headline!"
           from search.hybrid($1, $2, $3, $4, $5, $6, $7, $8, $9) h
           cross join lateral (select * from search.documents d where d.id = h.document_id limit 1) d
           cross join lateral (select c.content from search.chunks c
                               where c.document_id = h.document_id and c.ordinal = h.ordinal limit 1) c
           order by h.score desc, d.id"#,
        plan.query,
        plan.vector.as_deref(),
        plan.niche,
        plan.entity,
        plan.filters,
        plan.use_keyword,
        plan.vector_mode,
        plan.model,
        plan.wanted,
        headline,
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}
