//! Imports: a file into records, as a job with progress.
//!
//! `upload.rs` takes the file into the object store and queues the job; `run.rs` works on it in a worker, slice by slice, with `check.rs` turning
//! bytes into checked rows while the rows before are written; `progress.rs` tells how far it is; `objects.rs` deletes what is not needed any more.

mod check;
mod csv_rows;
mod failures;
mod objects;
mod progress;
pub mod run;
mod store;
mod upload;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use db::cursor::Scope;
use db::{AuditEntry, Tx};
use kernel::{Error, Locale, Page, PageRequest, RequestContext, Result};
use proto::niche::v1 as pb;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::App;
use crate::forms::EntityForm;
use crate::grpc::time_to_proto;
use crate::kits::ImportMapping;
use crate::niches;
use failures::Failure;
pub use objects::sweep_objects;
pub use progress::watch_import;
pub use upload::{FILE_BYTES_MAX, UPLOADS_AT_ONCE, create_import};

/// An import.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Import {
    pub id: Uuid,
    pub niche: String,
    pub entity: String,
    pub mapping: String,
    pub dry_run: bool,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    pub object_key: String,
    pub file_bytes: i64,
    pub processed_bytes: i64,
    pub last_row: i64,
    pub processed_rows: i64,
    pub created_rows: i64,
    pub updated_rows: i64,
    pub unchanged_rows: i64,
    pub failed_rows: i64,
    pub stored_errors: i32,
    pub failure_rule: Option<String>,
    pub failure_params: Option<Value>,
    pub cancel_requested: bool,
    pub locked_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Import {
    /// Whether nothing will change any more.
    pub fn is_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

/// How an import ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Cancelled,
    Failed(Failure),
}

impl End {
    const fn status(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
        }
    }
}

/// Something wrong with a row, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    pub row_number: i64,
    pub position: i32,
    pub source_column: String,
    pub field: String,
    pub rule: String,
    pub params: Value,
}

/// Reads an import. Another tenant's id and an id that never existed answer the same `NOT_FOUND`.
pub async fn get_import(app: &App, ctx: &RequestContext, id: &str) -> Result<Import> {
    ctx.require_tenant()?;
    store::find_import(&app.db, ctx, parse_id(id)?)
        .await?
        .ok_or_else(import_not_found)
}

/// Lists the tenant's imports, newest first.
pub async fn list_imports(
    app: &App,
    ctx: &RequestContext,
    status: &str,
    page: &PageRequest,
) -> Result<Page<Import>> {
    let scope = Scope::new(ctx.method(), &status);
    let after: Option<(DateTime<Utc>, Uuid)> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let mut tx = app.db.tenant(ctx).await?;
    let rows = store::list_imports(&mut tx, status, after, page.rows_to_read()).await?;
    tx.commit().await?;
    Page::cut(rows, page, |import| {
        app.sealer
            .seal(ctx, &scope, &(import.created_at, import.id))
    })
}

/// Lists what is wrong with the rows of an import, in the order of the file and in the caller's language. `NOT_FOUND` like [`get_import`].
///
/// Of a file with very many errors the first 10,000 are kept; the counts know all.
pub async fn list_import_errors(
    app: &App,
    ctx: &RequestContext,
    id: &str,
    page: &PageRequest,
) -> Result<Page<pb::ImportError>> {
    let id = parse_id(id)?;
    let scope = Scope::new(ctx.method(), &id);
    let after: Option<(i64, i32)> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let mut tx = app.db.tenant(ctx).await?;
    let import = store::get_import(&mut tx, id)
        .await?
        .ok_or_else(import_not_found)?;
    let rows = store::list_errors(&mut tx, id, after, page.rows_to_read()).await?;
    // A niche that was deactivated since leaves the errors with their general texts.
    let form = niches::effective(app, &mut tx, &import.niche)
        .await?
        .and_then(|e| e.entities.get(&import.entity).map(|e| e.form.clone()));
    tx.commit().await?;
    let page = Page::cut(rows, page, |error| {
        app.sealer
            .seal(ctx, &scope, &(error.row_number, error.position))
    })?;
    let rows = page
        .rows
        .iter()
        .map(|error| error_to_proto(error, form.as_deref(), ctx.locale()))
        .collect();
    Ok(Page {
        rows,
        next_cursor: page.next_cursor,
    })
}

/// Stops an import: at once when no worker has it in hand, else after the batch in hand. Rows already written stay.
///
/// Cancelling twice answers the same; an import that ended otherwise is `STATE_CONFLICT`. Emits `import.finished` when it ends here.
pub async fn cancel_import(app: &App, ctx: &RequestContext, id: &str) -> Result<Import> {
    let mut tx = app.db.tenant(ctx).await?;
    let mut import = store::lock_import(&mut tx, parse_id(id)?)
        .await?
        .ok_or_else(import_not_found)?;
    if import.status == "cancelled" || (import.cancel_requested && !import.is_ended()) {
        tx.commit().await?;
        return Ok(import);
    }
    if import.is_ended() {
        let message = "the import has ended already; there is nothing left to stop";
        return Err(
            Error::precondition("import.ended", message).with_detail("status", &import.status)
        );
    }
    let now = app.clock.now();
    tx.audit(
        AuditEntry::new("imports.cancel", "import", import.id)
            .with(json!({"niche": import.niche, "entity": import.entity})),
    )?;
    if import.locked_until.is_some_and(|until| until > now) {
        store::request_cancel(&mut tx, import.id).await?;
        import.cancel_requested = true;
        tx.commit().await?;
        return Ok(import);
    }
    end_in(&mut tx, &import, &End::Cancelled, now).await?;
    let ended = store::get_import(&mut tx, import.id)
        .await?
        .ok_or_else(import_not_found)?;
    tx.commit().await?;
    objects::delete_object(app, ctx, &import.object_key).await;
    Ok(ended)
}

/// Ends an import whose row is held: state, event, and leave to delete the file.
async fn end_in(tx: &mut Tx, import: &Import, end: &End, now: DateTime<Utc>) -> Result<()> {
    store::end_import(tx, import, end, now).await?;
    store::release_object(tx, &import.object_key, now).await?;
    tx.emit(
        import.id,
        &pb::ImportFinished {
            import_id: import.id.to_string(),
            status: end.status().to_owned(),
        },
    )
}

/// The mapping that an import asks for; the entity's first, if there is any, when it asks for none.
fn find_mapping<'f>(form: &'f EntityForm, key: &str) -> Option<Option<&'f ImportMapping>> {
    let mappings = &form.entity.import_mappings;
    if key.is_empty() {
        Some(mappings.first())
    } else {
        mappings.iter().find(|m| m.key == key).map(Some)
    }
}

/// An import as clients see it.
pub fn to_proto(import: &Import, locale: Locale) -> pb::Import {
    let failure = import.failure_rule.as_deref().map(|rule| {
        let params = import
            .failure_params
            .as_ref()
            .map(params_of)
            .unwrap_or_default();
        failures::failure_text(rule, &params, locale)
    });
    pb::Import {
        id: import.id.to_string(),
        niche: import.niche.clone(),
        entity: import.entity.clone(),
        dry_run: import.dry_run,
        status: import.status.clone(),
        file_bytes: import.file_bytes,
        processed_bytes: import.processed_bytes,
        processed_rows: import.processed_rows,
        created_rows: import.created_rows,
        updated_rows: import.updated_rows,
        unchanged_rows: import.unchanged_rows,
        failed_rows: import.failed_rows,
        failure,
        created_at: Some(time_to_proto(import.created_at)),
        started_at: import.started_at.map(time_to_proto),
        finished_at: import.finished_at.map(time_to_proto),
    }
}

fn error_to_proto(error: &RowError, form: Option<&EntityForm>, locale: Locale) -> pb::ImportError {
    let params = params_of(&error.params);
    let message = failures::row_text(&error.rule, &params, locale)
        .or_else(|| form.map(|form| form.explain(&error.field, &error.rule, &params, locale)))
        .unwrap_or_else(|| error.rule.clone());
    let column = if error.source_column.is_empty() {
        &error.field
    } else {
        &error.source_column
    };
    pb::ImportError {
        row: error.row_number,
        field: column.clone(),
        rule: error.rule.clone(),
        message,
    }
}

fn params_of(value: &Value) -> BTreeMap<String, String> {
    let texts = value.as_object().into_iter().flatten();
    texts
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The id of a path. The contract has checked its form; what is no id names no import.
fn parse_id(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|_| import_not_found())
}

fn import_not_found() -> Error {
    Error::not_found("import.not_found", "there is no such import")
}
