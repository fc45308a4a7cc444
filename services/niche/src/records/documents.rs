//! What search indexes of records.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::{RequestContext, Result};
use proto::niche::v1 as pb;
use uuid::Uuid;

use super::store;
use crate::App;
use crate::forms::EntityForm;
use crate::niches;

/// Reads what search indexes of up to 500 records, in any order. An id that is missing in the answer is a record that was deleted, or whose
/// niche is not active any more: either way search forgets it.
pub async fn batch_get_search_documents(
    app: &App,
    ctx: &RequestContext,
    ids: &[Uuid],
) -> Result<pb::BatchGetSearchDocumentsResponse> {
    let mut tx = app.db.tenant(ctx).await?;
    let records = store::list_by_ids(&mut tx, ids).await?;
    let mut forms: HashMap<(String, String), Option<Arc<EntityForm>>> = HashMap::new();
    let mut documents = Vec::with_capacity(records.len());
    for record in records {
        let key = (record.niche.clone(), record.entity.clone());
        let form = match forms.get(&key) {
            Some(form) => form.clone(),
            None => {
                let effective = niches::effective(app, &mut tx, &record.niche).await?;
                let form = effective.and_then(|e| {
                    e.entities
                        .get(&record.entity)
                        .map(|entity| Arc::clone(&entity.form))
                });
                forms.insert(key, form.clone());
                form
            }
        };
        let Some(form) = form else { continue };
        let (title, text) = form.document(&record.data);
        let facets = form.facet_values(&record.data);
        documents.push(pb::SearchDocument {
            record_id: record.id.to_string(),
            niche: record.niche,
            entity: record.entity,
            version: record.version,
            title,
            text,
            facets: facets
                .into_iter()
                .map(|(facet, value)| pb::FacetValue {
                    facet: facet.to_owned(),
                    value,
                })
                .collect(),
        });
    }
    tx.commit().await?;
    Ok(pb::BatchGetSearchDocumentsResponse { documents })
}
