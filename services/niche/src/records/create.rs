//! Creating a record.

use db::{AuditEntry, Once, WriteSql};
use kernel::{Error, RequestContext, Result};
use proto::niche::v1 as pb;
use serde_json::{Value, json};

use super::{Record, audit_entry, check, drop_nulls, store, to_proto};
use crate::App;
use crate::forms::EntityForm;
use crate::niches::{self, Seen};

/// The whole command as one statement, for a niche whose configuration is in memory: it is written if the niche still has that configuration.
static AT_ONCE: WriteSql = WriteSql {
    only_if: "select from niche.niches where tenant_id = $1 and key = $3 and status = 'active' and kit = $11 and kit_version = $12 and overlay_revision = $13",
    effect: "record as (
        insert into niche.records (tenant_id, id, niche, entity, natural_key, data, version, created_at, updated_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $8 from go
      ), facets as (
        insert into niche.record_facets (tenant_id, niche, entity, facet, value, record_id)
        select $1, $3, $4, f.facet, f.value, $2 from go, unnest($9::text[], $10::text[]) as f(facet, value)
      )",
    own_key: "records_pkey",
};

/// Creates a record.
///
/// `VALIDATION_ERROR` tells every broken rule of the form at once; a natural key that is taken is `DUPLICATE_RESOURCE`. Replaying the same
/// idempotency key answers the first record. Emits `record.created`.
pub async fn create_record(
    app: &App,
    ctx: &RequestContext,
    input: &pb::CreateRecordRequest,
) -> Result<pb::CreateRecordResponse> {
    let mut data = input
        .data
        .as_ref()
        .map(proto::Document::to_value)
        .unwrap_or_else(|| json!({}));
    drop_nulls(&mut data);
    let record = fresh(app, input, data);
    if let Some((seen, form)) = niches::remembered(app, ctx, &input.niche, &input.entity)
        && form.check(&record.data, ctx.locale()).is_empty()
        && let Some(answer) = at_once(app, ctx, (input, &record), (&seen, &form)).await?
    {
        return Ok(answer);
    }
    step_by_step(app, ctx, input, &record).await
}

/// The hot path: one round trip. Nothing when the command needs more than that: the niche has changed, or the idempotency key is known.
async fn at_once(
    app: &App,
    ctx: &RequestContext,
    (input, record): (&pb::CreateRecordRequest, &Record),
    (seen, form): (&Seen, &EntityForm),
) -> Result<Option<pb::CreateRecordResponse>> {
    let (facets, values) = store::facet_columns(form, &record.data);
    let answer = answer(record)?;
    let write = app
        .db
        .write(ctx, &AT_ONCE)?
        .bind(ctx.require_tenant()?.uuid())
        .bind(record.id)
        .bind(record.niche.clone())
        .bind(record.entity.clone())
        .bind(form.natural_key(&record.data))
        .bind(record.data.clone())
        .bind(record.version)
        .bind(record.created_at)
        .bind(facets)
        .bind(values)
        .bind(seen.kit.clone())
        .bind(seen.kit_version.clone())
        .bind(seen.overlay_revision)
        .emit(record.id, &created(record))?
        .audit(entry(record))?
        .answer(input, &answer)?;
    let written = write.run(store::taken_or_failed).await?;
    Ok(written.then_some(answer))
}

async fn step_by_step(
    app: &App,
    ctx: &RequestContext,
    input: &pb::CreateRecordRequest,
    record: &Record,
) -> Result<pb::CreateRecordResponse> {
    let mut tx = match app.db.once::<pb::CreateRecordResponse>(ctx, input).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    let form = niches::form(app, &mut tx, &input.niche, &input.entity).await?;
    check(&form, &record.data, ctx.locale())?;
    store::insert_record(&mut tx, record, &form).await?;
    tx.emit(record.id, &created(record))?;
    tx.audit(entry(record))?;
    let answer = answer(record)?;
    tx.commit_with(&answer).await?;
    Ok(answer)
}

fn fresh(app: &App, input: &pb::CreateRecordRequest, data: Value) -> Record {
    let now = app.clock.now();
    Record {
        id: app.ids.next(),
        niche: input.niche.clone(),
        entity: input.entity.clone(),
        data,
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

fn created(record: &Record) -> pb::RecordCreated {
    pb::RecordCreated {
        record_id: record.id.to_string(),
        niche: record.niche.clone(),
        entity: record.entity.clone(),
        record_version: record.version,
    }
}

fn entry(record: &Record) -> AuditEntry {
    audit_entry("records.create", record, json!({}))
}

fn answer(record: &Record) -> Result<pb::CreateRecordResponse, Error> {
    Ok(pb::CreateRecordResponse {
        data: Some(to_proto(record)?),
    })
}
