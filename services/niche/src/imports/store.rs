//! The SQL of imports, their errors and their objects.

use chrono::{DateTime, Utc};
use db::{Db, Tx};
use kernel::{RequestContext, Result};
use serde_json::Value;
use uuid::Uuid;

use super::run::{Lease, Progress};
use super::{End, Import, RowError};

/// Inserts an import that waits for a worker.
pub(super) async fn insert_import(
    tx: &mut Tx,
    import: &Import,
    created_by: Option<Uuid>,
) -> Result<()> {
    sqlx::query!(
        "insert into niche.imports (tenant_id, id, niche, entity, mapping, dry_run, status, object_key, file_bytes, created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tx.tenant_id().uuid(),
        import.id,
        import.niche,
        import.entity,
        import.mapping,
        import.dry_run,
        import.status,
        import.object_key,
        import.file_bytes,
        created_by,
        import.created_at,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Reads an import in one round trip.
pub(super) async fn find_import(db: &Db, ctx: &RequestContext, id: Uuid) -> Result<Option<Import>> {
    let sql = "select id, niche, entity, mapping, dry_run, status, object_key, file_bytes, processed_bytes, last_row, processed_rows, created_rows,
                      updated_rows, unchanged_rows, failed_rows, stored_errors, failure_rule, failure_params, cancel_requested, locked_until,
                      created_at, started_at, finished_at
               from niche.imports where id = $1 and tenant_id = $2";
    let read = db.read(ctx, sql).bind(id);
    read.bind(ctx.require_tenant()?.uuid()).optional().await
}

/// Reads an import within a transaction.
pub(super) async fn get_import(tx: &mut Tx, id: Uuid) -> Result<Option<Import>> {
    sqlx::query_as!(
        Import,
        "select id, niche, entity, mapping, dry_run, status, object_key, file_bytes, processed_bytes, last_row, processed_rows, created_rows,
                updated_rows, unchanged_rows, failed_rows, stored_errors, failure_rule, failure_params, cancel_requested, locked_until,
                created_at, started_at, finished_at
         from niche.imports where id = $1 and tenant_id = $2",
        id,
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Reads an import and holds its row until the end of the transaction.
pub(super) async fn lock_import(tx: &mut Tx, id: Uuid) -> Result<Option<Import>> {
    sqlx::query_as!(
        Import,
        "select id, niche, entity, mapping, dry_run, status, object_key, file_bytes, processed_bytes, last_row, processed_rows, created_rows,
                updated_rows, unchanged_rows, failed_rows, stored_errors, failure_rule, failure_params, cancel_requested, locked_until,
                created_at, started_at, finished_at
         from niche.imports where id = $1 and tenant_id = $2 for update",
        id,
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Lists imports, newest first; an empty status means any.
pub(super) async fn list_imports(
    tx: &mut Tx,
    status: &str,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Import>> {
    let (time, id) = after.unzip();
    sqlx::query_as!(
        Import,
        "select id, niche, entity, mapping, dry_run, status, object_key, file_bytes, processed_bytes, last_row, processed_rows, created_rows,
                updated_rows, unchanged_rows, failed_rows, stored_errors, failure_rule, failure_params, cancel_requested, locked_until,
                created_at, started_at, finished_at
         from niche.imports
         where tenant_id = $5 and ($1 = '' or status = $1) and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
         order by created_at desc, id desc limit $4",
        status,
        time,
        id,
        limit,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Gives an import whose row is held to the worker of an event.
pub(super) async fn lease_import(
    tx: &mut Tx,
    id: Uuid,
    lease: Lease,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update niche.imports set status = 'running', started_at = coalesce(started_at, $2), lease_event = $3, locked_until = $4 where id = $1 and tenant_id = $5",
        id,
        now,
        lease.event,
        lease.until,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// The event whose worker has an import in hand.
pub(super) async fn find_lease_event(tx: &mut Tx, id: Uuid) -> Result<Option<Uuid>> {
    let event = sqlx::query_scalar!(
        "select lease_event from niche.imports where id = $1 and tenant_id = $2",
        id,
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await;
    Ok(event.map_err(db::classify)?.flatten())
}

/// Frees an import for the next worker, if this one still has it.
pub(super) async fn free_import(tx: &mut Tx, id: Uuid, event: Uuid) -> Result<bool> {
    let done = sqlx::query!(
        "update niche.imports set lease_event = null, locked_until = null where id = $1 and lease_event = $2 and status = 'running' and tenant_id = $3",
        id,
        event,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected() == 1)
}

/// Adds a batch to the progress and lengthens the lease; answers whether somebody wants the import to stop, and nothing when the worker has lost
/// it in the meantime.
pub(super) async fn save_progress(
    tx: &mut Tx,
    id: Uuid,
    (lease, progress): (Lease, &Progress),
) -> Result<Option<bool>> {
    sqlx::query_scalar!(
        "update niche.imports
         set processed_bytes = $4, last_row = $5, processed_rows = processed_rows + $6, created_rows = created_rows + $7,
             updated_rows = updated_rows + $8, unchanged_rows = unchanged_rows + $9, failed_rows = failed_rows + $10,
             stored_errors = stored_errors + $11, locked_until = $3
         where id = $1 and lease_event = $2 and status = 'running' and processed_bytes < $4 and tenant_id = $12
         returning cancel_requested",
        id,
        lease.event,
        lease.until,
        progress.end,
        progress.last_row,
        progress.rows,
        progress.created,
        progress.updated,
        progress.unchanged,
        progress.failed,
        progress.stored_errors,
        tx.tenant_id().uuid(),
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Asks the worker to stop.
pub(super) async fn request_cancel(tx: &mut Tx, id: Uuid) -> Result<()> {
    sqlx::query!(
        "update niche.imports set cancel_requested = true where id = $1 and tenant_id = $2",
        id,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Ends an import whose row is held.
pub(super) async fn end_import(
    tx: &mut Tx,
    import: &Import,
    end: &End,
    now: DateTime<Utc>,
) -> Result<()> {
    let (rule, params) = match end {
        End::Failed(failure) => (Some(failure.rule), Some(serde_json::json!(failure.params))),
        End::Succeeded | End::Cancelled => (None, None),
    };
    sqlx::query!(
        "update niche.imports
         set status = $2, finished_at = $3, failure_rule = $4, failure_params = $5, lease_event = null, locked_until = null,
             processed_bytes = case when $2 = 'succeeded' then file_bytes else processed_bytes end
         where id = $1 and tenant_id = $6",
        import.id,
        end.status(),
        now,
        rule,
        params,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Inserts errors of rows.
pub(super) async fn insert_errors(tx: &mut Tx, import_id: Uuid, errors: &[RowError]) -> Result<()> {
    let rows: Vec<i64> = errors.iter().map(|e| e.row_number).collect();
    let positions: Vec<i32> = errors.iter().map(|e| e.position).collect();
    let columns: Vec<String> = errors.iter().map(|e| e.source_column.clone()).collect();
    let fields: Vec<String> = errors.iter().map(|e| e.field.clone()).collect();
    let rules: Vec<String> = errors.iter().map(|e| e.rule.clone()).collect();
    let params: Vec<String> = errors.iter().map(|e| e.params.to_string()).collect();
    sqlx::query!(
        "insert into niche.import_errors (tenant_id, import_id, row_number, position, source_column, field, rule, params)
         select $1, $2, e.row_number, e.position, e.source_column, e.field, e.rule, e.params::jsonb
         from unnest($3::bigint[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[])
           as e(row_number, position, source_column, field, rule, params)
         on conflict do nothing",
        tx.tenant_id().uuid(),
        import_id,
        &rows,
        &positions,
        &columns,
        &fields,
        &rules,
        &params,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lists errors in the order of the file.
pub(super) async fn list_errors(
    tx: &mut Tx,
    import_id: Uuid,
    after: Option<(i64, i32)>,
    limit: i64,
) -> Result<Vec<RowError>> {
    let (row, position) = after.unwrap_or((-1, -1));
    sqlx::query_as!(
        RowError,
        r#"select row_number, position, source_column, field, rule, params as "params: Value" from niche.import_errors
           where tenant_id = $5 and import_id = $1 and (row_number, position) > ($2, $3) order by row_number, position limit $4"#,
        import_id,
        row,
        position,
        limit,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Notes an object before its first byte is written.
pub(super) async fn insert_object(
    tx: &mut Tx,
    key: &str,
    delete_after: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into niche.import_objects (tenant_id, object_key, delete_after) values ($1, $2, $3)",
        tx.tenant_id().uuid(),
        key,
        delete_after
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Keeps an object for its import; `false` when the sweep was faster.
pub(super) async fn keep_object(tx: &mut Tx, key: &str) -> Result<bool> {
    let done = sqlx::query!(
        "update niche.import_objects set delete_after = null where object_key = $1 and tenant_id = $2",
        key,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await;
    Ok(done.map_err(db::classify)?.rows_affected() == 1)
}

/// Gives an object free to be deleted.
pub(super) async fn release_object(tx: &mut Tx, key: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update niche.import_objects set delete_after = $2 where object_key = $1 and tenant_id = $3",
        key,
        now,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Forgets an object that was deleted.
pub(super) async fn delete_object(tx: &mut Tx, key: &str) -> Result<()> {
    sqlx::query!(
        "delete from niche.import_objects where object_key = $1 and delete_after is not null and tenant_id = $2",
        key,
        tx.tenant_id().uuid(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Objects of all tenants that may be deleted, the longest due first.
pub(super) async fn list_due_objects(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: i32,
) -> Result<Vec<(Uuid, String)>> {
    let rows = sqlx::query!(r#"select tenant_id as "tenant_id!", object_key as "object_key!" from niche.objects_to_delete($1, $2)"#, now, limit)
        .fetch_all(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(rows
        .into_iter()
        .map(|row| (row.tenant_id, row.object_key))
        .collect())
}
