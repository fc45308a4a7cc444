//! Searching: words and vectors, fused.

pub mod store;

use std::sync::Arc;
use std::time::Duration;

use kernel::{PAGE_ROWS_DEFAULT, RequestContext, Result, TenantId};
use proto::search::v1::{Hit, HitFacet, SearchMeta, SearchRequest, SearchResponse};
use serde_json::Value;

use crate::App;
use crate::passages;
use crate::vectors::store as vectors;

/// How long it is believed that a tenant has vectors in the index, or none. Believed too long, searches are right all the same: the one way
/// compares all vectors, the other those that are not in the index.
const WALKED_LIFETIME: Duration = Duration::from_secs(30);

/// Which tenants have vectors in the index that is walked.
pub type Walked = moka::future::Cache<TenantId, bool>;

/// Knows nothing yet.
pub fn walked() -> Walked {
    moka::future::Cache::builder()
        .max_capacity(100_000)
        .time_to_live(WALKED_LIFETIME)
        .build()
}

/// What to search for, beside the words.
pub struct Plan<'a> {
    pub query: &'a str,
    pub vector: Option<Vec<f32>>,
    pub niche: &'a str,
    pub entity: &'a str,
    pub filters: Value,
    pub use_keyword: bool,
    pub vector_mode: &'static str,
    pub model: &'a str,
    pub wanted: i32,
}

/// A document that was found.
pub struct Found {
    pub id: uuid::Uuid,
    pub niche: String,
    pub entity: String,
    pub title: String,
    pub headline: String,
    pub score: f64,
    pub candidates: i64,
    pub facet_terms: Vec<String>,
}

/// Searches the caller's tenant.
///
/// With the embedder down, a hybrid search answers from full text alone and says so in `meta.degraded`; a search by
/// vectors only has nothing to fall back on and answers no hits, degraded.
pub async fn search(
    app: &App,
    ctx: &RequestContext,
    request: &SearchRequest,
) -> Result<SearchResponse> {
    let mode = if request.mode.is_empty() {
        "hybrid"
    } else {
        request.mode.as_str()
    };
    let query = passages::clean(&request.query);
    let (vector, degraded) = match mode {
        "keyword" => (None, false),
        _ => embed_query(app, &query).await,
    };
    let vector_mode = match &vector {
        None => "none",
        Some(_) if has_walked(app, ctx).await? => "hnsw",
        Some(_) => "exact",
    };
    let plan = Plan {
        query: &query,
        vector,
        niche: &request.niche,
        entity: &request.entity,
        filters: filter_terms(request),
        use_keyword: mode != "vector",
        vector_mode,
        model: app.embedder.model(),
        wanted: if request.limit == 0 {
            PAGE_ROWS_DEFAULT as i32
        } else {
            request.limit
        },
    };
    let mut tx = app.db.tenant(ctx).await?;
    let found = store::list_found(&mut tx, &plan).await?;
    tx.commit().await?;
    let meta = SearchMeta {
        vector_mode: vector_mode.to_owned(),
        degraded,
        candidates: found.first().map_or(0, |first| {
            i32::try_from(first.candidates).unwrap_or(i32::MAX)
        }),
        embedding_model: app.embedder.model().to_owned(),
    };
    Ok(SearchResponse {
        data: found.into_iter().map(to_hit).collect(),
        meta: Some(meta),
    })
}

async fn embed_query(app: &App, query: &str) -> (Option<Vec<f32>>, bool) {
    match app.embedder.embed(&[query]).await {
        Ok(mut vectors) => (vectors.pop(), false),
        Err(error) => {
            tracing::warn!(error.code = %error.error_code(), "searching without vectors: {}", error.chain());
            (None, true)
        }
    }
}

async fn has_walked(app: &App, ctx: &RequestContext) -> Result<bool> {
    let tenant_id = ctx.require_tenant()?;
    let has = app.walked.try_get_with(tenant_id, async {
        let mut tx = app.db.tenant(ctx).await?;
        let has = vectors::has_walked(&mut tx).await?;
        tx.commit().await?;
        Ok::<_, kernel::Error>(has)
    });
    has.await.map_err(told_to_all)
}

/// A failure that several searches waited for at once: each of them gets it as what it is, not as a fault of ours.
fn told_to_all(error: Arc<kernel::Error>) -> kernel::Error {
    Arc::try_unwrap(error).unwrap_or_else(|shared| {
        let copy = kernel::Error::new(
            shared.error_code(),
            shared.reason().to_owned(),
            shared.message(),
        );
        match shared.retry_after() {
            Some(after) => copy.with_retry_after(after),
            None => copy,
        }
        .caused_by(shared)
    })
}

/// `[["section:web", "section:video"], ["priority:optional"]]`: any term of a group, all groups.
fn filter_terms(request: &SearchRequest) -> Value {
    let group = |facet: &str, values: &[String]| {
        values
            .iter()
            .map(|value| format!("{facet}:{value}"))
            .collect::<Vec<_>>()
    };
    request
        .filters
        .iter()
        .map(|filter| Value::from(group(&filter.facet, &filter.values)))
        .collect::<Vec<_>>()
        .into()
}

fn to_hit(found: Found) -> Hit {
    let facets = found.facet_terms.iter().filter_map(|term| {
        let (facet, value) = term.split_once(':')?;
        Some(HitFacet {
            facet: facet.to_owned(),
            value: value.to_owned(),
        })
    });
    Hit {
        record_id: found.id.to_string(),
        niche: found.niche,
        entity: found.entity,
        title: found.title,
        highlight: passages::highlight_html(&found.headline),
        score: found.score,
        facets: facets.collect(),
    }
}
