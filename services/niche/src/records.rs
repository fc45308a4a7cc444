//! Records: the tenant's own data, shaped by the forms of its niches.

mod batch;
mod create;
mod documents;
mod facets;
mod store;
mod stored;

use chrono::{DateTime, Utc};
use db::cursor::Scope;
use db::{AuditEntry, Once, Tx};
use kernel::{Error, Locale, Page, PageRequest, RequestContext, Result, SortOrder};
use proto::niche::v1 as pb;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::App;
use crate::forms::EntityForm;
use crate::{merge, niches};
pub use batch::{BatchOutcome, Target, preview_batch, write_batch};
pub use create::create_record;
pub use documents::batch_get_search_documents;
pub use facets::FacetFilter;
use stored::Stored;
pub use stored::{FIND, LIST};

/// A record.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Record {
    pub id: Uuid,
    pub niche: String,
    pub entity: String,
    pub data: Value,
    pub version: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a record lives: the three names of its path.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub niche: &'a str,
    pub entity: &'a str,
    pub id: Uuid,
}

/// What a list is filtered and ordered by.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    pub niche: String,
    pub entity: String,
    /// `facet:value` pairs as they came.
    pub facets: Vec<String>,
    pub order: SortOrder,
    pub created_from: Option<DateTime<Utc>>,
    pub created_to: Option<DateTime<Utc>>,
}

/// Reads a record. Another tenant's id, a wrong niche or entity and an id that never existed answer the same `NOT_FOUND`.
///
/// The hot path: one round trip, no transaction, no form.
pub async fn get_record(app: &App, ctx: &RequestContext, place: Place<'_>) -> Result<pb::Record> {
    ctx.require_tenant()?;
    let found = stored::find(app, ctx, place).await?;
    let found = found.ok_or_else(record_not_found)?;
    Ok(found.into_proto(place.niche, place.entity))
}

/// Changes a record by merge patch. A patch that changes nothing answers the record as it is, and leaves no event and no audit entry.
///
/// With `version`, a record that is at another version answers `CONFLICT`. Otherwise fails like [`create_record`]. Emits `record.updated`.
pub async fn update_record(
    app: &App,
    ctx: &RequestContext,
    input: &pb::UpdateRecordRequest,
) -> Result<pb::UpdateRecordResponse> {
    let place = Place {
        niche: &input.niche,
        entity: &input.entity,
        id: parse_id(&input.record_id)?,
    };
    let mut tx = match app.db.once::<pb::UpdateRecordResponse>(ctx, input).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    let before = store::lock_record(&mut tx, place)
        .await?
        .ok_or_else(record_not_found)?;
    if input
        .version
        .is_some_and(|version| version != before.version)
    {
        return Err(Error::conflict(
            "niche.record_changed",
            "somebody else changed the record; read it again and repeat the change",
        )
        .with_detail("currentVersion", before.version));
    }
    let patch = input
        .data
        .as_ref()
        .map(proto::Document::to_value)
        .unwrap_or_else(|| json!({}));
    let mut after = before.clone();
    merge::apply(&mut after.data, &patch);
    if after.data == before.data {
        let answer = pb::UpdateRecordResponse {
            data: Some(to_proto(&before)?),
        };
        tx.commit_with(&answer).await?;
        return Ok(answer);
    }
    let form = niches::form(app, &mut tx, &input.niche, &input.entity).await?;
    check(&form, &after.data, ctx.locale())?;
    after.version += 1;
    after.updated_at = app.clock.now();
    store::update_record(&mut tx, &after, &form).await?;
    tx.emit(
        after.id,
        &pb::RecordUpdated {
            record_id: after.id.to_string(),
            niche: after.niche.clone(),
            entity: after.entity.clone(),
            record_version: after.version,
        },
    )?;
    audit(
        &mut tx,
        "records.update",
        &after,
        json!({"fields": changed_fields(&before.data, &after.data)}),
    )?;
    let answer = pb::UpdateRecordResponse {
        data: Some(to_proto(&after)?),
    };
    tx.commit_with(&answer).await?;
    Ok(answer)
}

/// Deletes a record for good. `NOT_FOUND` like [`get_record`]. Emits `record.deleted`.
pub async fn delete_record(app: &App, ctx: &RequestContext, place: Place<'_>) -> Result<()> {
    let mut tx = app.db.tenant(ctx).await?;
    let record = store::lock_record(&mut tx, place)
        .await?
        .ok_or_else(record_not_found)?;
    store::delete_record(&mut tx, record.id).await?;
    tx.emit(
        record.id,
        &pb::RecordDeleted {
            record_id: record.id.to_string(),
            niche: record.niche.clone(),
            entity: record.entity.clone(),
        },
    )?;
    audit(&mut tx, "records.delete", &record, json!({}))?;
    tx.commit().await
}

/// Lists records by time of creation, filtered by facets: any value of one facet, all facets together. An unknown facet is `VALIDATION_ERROR`
/// and names the known ones.
pub async fn list_records(
    app: &App,
    ctx: &RequestContext,
    filter: &RecordFilter,
    page: &PageRequest,
) -> Result<Page<pb::Record>> {
    ctx.require_tenant()?;
    let mut facets = filter.facets.clone();
    facets.sort_unstable();
    let bound_to = (
        &filter.niche,
        &filter.entity,
        &facets,
        filter.order,
        filter.created_from,
        filter.created_to,
    );
    let scope = Scope::new(ctx.method(), &bound_to);
    let after: Option<(DateTime<Utc>, Uuid)> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let rows = match list_at_once(app, ctx, filter, (after, page)).await? {
        Some(rows) => rows,
        None => {
            let mut tx = app.db.tenant(ctx).await?;
            let form = niches::form(app, &mut tx, &filter.niche, &filter.entity).await?;
            let wanted = facets::parse(&form, &filter.facets)?;
            let limit = page.rows_to_read();
            let rows = store::list_records(&mut tx, (filter, &wanted), after, limit).await?;
            tx.commit().await?;
            rows
        }
    };
    let page = Page::cut(rows, page, |record| {
        app.sealer
            .seal(ctx, &scope, &(record.created_at, record.id))
    })?;
    Ok(Page {
        rows: page
            .rows
            .into_iter()
            .map(|record| record.into_proto(&filter.niche, &filter.entity))
            .collect(),
        next_cursor: page.next_cursor,
    })
}

/// The hot path of lists: no filter, and a niche whose configuration is in memory. Nothing when the list needs more than that.
async fn list_at_once(
    app: &App,
    ctx: &RequestContext,
    filter: &RecordFilter,
    (after, page): (Option<(DateTime<Utc>, Uuid)>, &PageRequest),
) -> Result<Option<Vec<Stored>>> {
    let is_plain =
        filter.facets.is_empty() && filter.created_from.is_none() && filter.created_to.is_none();
    if !is_plain {
        return Ok(None);
    }
    let listed = stored::list(app, ctx, filter, (after, page.rows_to_read())).await?;
    let entity_is_known = niches::has_entity(app, ctx, listed.niche, &filter.entity)?;
    Ok(entity_is_known.then_some(listed.rows))
}

/// A record as clients see it.
pub fn to_proto(record: &Record) -> Result<pb::Record> {
    let data = proto::Document::from_value(&record.data)
        .map_err(|e| Error::internal(e).context("while encoding a record"))?;
    Ok(pb::Record {
        id: record.id.to_string(),
        niche: record.niche.clone(),
        entity: record.entity.clone(),
        data: Some(data),
        version: record.version,
        created_at: Some(crate::grpc::time_to_proto(record.created_at)),
        updated_at: Some(crate::grpc::time_to_proto(record.updated_at)),
    })
}

/// The id of a path. The contract has checked its form; what is no id names no record.
pub fn parse_id(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|_| record_not_found())
}

fn check(form: &EntityForm, data: &Value, locale: Locale) -> Result<()> {
    let problems = form.check(data, locale);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(
        problems
            .into_iter()
            .map(crate::forms::FieldProblem::into_violation)
            .collect(),
    ))
}

/// A member that is null means the same as an absent one, as it does in a merge patch.
fn drop_nulls(data: &mut Value) {
    if let Value::Object(map) = data {
        map.retain(|_, value| !value.is_null());
    }
}

fn audit(tx: &mut Tx, action: &'static str, record: &Record, facts: Value) -> Result<()> {
    tx.audit(audit_entry(action, record, facts))
}

fn audit_entry(action: &'static str, record: &Record, mut facts: Value) -> AuditEntry {
    facts["niche"] = json!(record.niche);
    facts["entity"] = json!(record.entity);
    facts["version"] = json!(record.version);
    AuditEntry::new(action, "record", record.id).with(facts)
}

/// The names of the fields that differ: names belong to the form, values to a person, so only names go into the audit log.
fn changed_fields(before: &Value, after: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (before, after) = (
        before.as_object().unwrap_or(&empty),
        after.as_object().unwrap_or(&empty),
    );
    let mut names: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|key| before.get(*key) != after.get(*key))
        .cloned()
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn record_not_found() -> Error {
    Error::not_found("niche.record_not_found", "there is no such record")
}

fn duplicate_record() -> Error {
    Error::exists(
        "niche.record_exists",
        "a record with this key exists already in this niche; change that one instead",
    )
}
