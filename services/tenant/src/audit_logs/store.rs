//! The SQL of the audit log.

use db::Tx;
use kernel::{Result, TenantId};

use super::{AuditFilter, AuditLog};
use crate::tenants::Position;

/// Inserts an entry once.
pub async fn insert_audit_log(tx: &mut Tx, tenant_id: TenantId, entry: &AuditLog) -> Result<()> {
    sqlx::query!(
        "insert into tenant.audit_logs (tenant_id, id, created_at, actor_type, actor_id, action, entity_type, entity_id,
                                        metadata, request_id, trace_id, ip, user_agent)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (tenant_id, id) do nothing",
        tenant_id.uuid(),
        entry.id,
        entry.created_at,
        entry.actor_type,
        entry.actor_id,
        entry.action,
        entry.entity_type,
        entry.entity_id,
        entry.metadata,
        entry.request_id,
        entry.trace_id,
        entry.ip,
        entry.user_agent,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lists entries, newest first.
pub async fn list_audit_logs(
    tx: &mut Tx,
    filter: &AuditFilter,
    after: Option<&Position>,
    rows: i64,
) -> Result<Vec<AuditLog>> {
    sqlx::query_as!(
        AuditLog,
        "select id, created_at, actor_type, actor_id, action, entity_type, entity_id, metadata, request_id, trace_id, ip, user_agent
         from tenant.audit_logs
         where tenant_id = $9
           and ($1::uuid is null or actor_id = $1)
           and ($2 = '' or action = $2)
           and ($3 = '' or entity_type = $3)
           and ($4::timestamptz is null or created_at >= $4)
           and ($5::timestamptz is null or created_at < $5)
           and ($6::timestamptz is null or (created_at, id) < ($6, $7::uuid))
         order by created_at desc, id desc
         limit $8",
        filter.actor_id,
        filter.action,
        filter.entity_type,
        filter.created_from,
        filter.created_to,
        after.map(|position| position.created_at),
        after.map(|position| position.id),
        rows,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}
