//! The audit log: who did what, and when. Append-only.

pub mod store;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use db::cursor::Scope;
use kernel::{Error, Page, PageRequest, RequestContext, Result, TenantId};
use proto::tenantry::api::v1::AuditRecorded;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::App;
use crate::tenants::Position;

/// What a metadata object may weigh; an entry tells ids and counts, not contents.
const METADATA_BYTES_MAX: usize = 4096;

/// One entry.
#[derive(Clone, Debug)]
pub struct AuditLog {
    pub id: Uuid,
    pub created_at: DateTime<Utc>,
    pub actor_type: String,
    pub actor_id: Option<Uuid>,
    pub action: String,
    pub entity_type: String,
    pub entity_id: String,
    pub metadata: Value,
    pub request_id: String,
    pub trace_id: String,
    pub ip: String,
    pub user_agent: String,
}

/// What narrows the log.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditFilter {
    pub actor_id: Option<Uuid>,
    pub action: String,
    pub entity_type: String,
    pub created_from: Option<DateTime<Utc>>,
    pub created_to: Option<DateTime<Utc>>,
}

/// Lists the entries of the caller's tenant, newest first; platform staff outside any tenant sees the platform's own.
pub async fn list_audit_logs(
    app: &App,
    ctx: &RequestContext,
    filter: &AuditFilter,
    page: &PageRequest,
) -> Result<Page<AuditLog>> {
    let ctx = &match (ctx.tenant_id(), ctx.is_platform()) {
        (None, true) => ctx.within(TenantId::PLATFORM),
        _ => ctx.clone(),
    };
    let scope = Scope::new(ctx.method(), filter);
    let after: Option<Position> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let mut tx = app.db.tenant(ctx).await?;
    let rows = store::list_audit_logs(&mut tx, filter, after.as_ref(), page.rows_to_read()).await?;
    tx.commit().await?;
    Page::cut(rows, page, |last| {
        app.sealer.seal(
            ctx,
            &scope,
            &Position {
                created_at: last.created_at,
                id: last.id,
            },
        )
    })
}

/// Stores what a service recorded. The id of the event is the id of the entry, so a second delivery changes nothing.
pub async fn record(
    app: &App,
    ctx: &RequestContext,
    event_id: Uuid,
    at: DateTime<Utc>,
    entry: AuditRecorded,
) -> Result<()> {
    let entry = parse_entry(event_id, at, entry)?;
    let tenant_id = ctx.require_tenant()?;
    let mut tx = app.db.tenant(ctx).await?;
    store::insert_audit_log(&mut tx, tenant_id, &entry).await?;
    tx.commit().await
}

fn parse_entry(id: Uuid, created_at: DateTime<Utc>, entry: AuditRecorded) -> Result<AuditLog> {
    let metadata = entry
        .metadata
        .as_ref()
        .map(proto::Document::to_value)
        .unwrap_or_else(|| Value::Object(Default::default()));
    if metadata.to_string().len() > METADATA_BYTES_MAX {
        return Err(Error::precondition(
            "audit.metadata_too_large",
            "the metadata of an audit entry is larger than 4096 bytes",
        ));
    }
    let actor_id = match entry.actor_id.as_str() {
        "" => None,
        id => Some(Uuid::parse_str(id).map_err(|error| {
            Error::precondition(
                "audit.actor_invalid",
                "the actor of an audit entry is not an id",
            )
            .caused_by(error)
        })?),
    };
    // An address that does not parse is not an address: better none than text from outside in the log.
    let ip = entry
        .ip
        .parse::<IpAddr>()
        .map(|ip| ip.to_string())
        .unwrap_or_default();
    Ok(AuditLog {
        id,
        created_at,
        actor_type: entry.actor_type,
        actor_id,
        action: entry.action,
        entity_type: entry.entity_type,
        entity_id: entry.entity_id,
        metadata,
        request_id: entry.request_id,
        trace_id: entry.trace_id,
        ip,
        user_agent: entry.user_agent.chars().take(400).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> AuditRecorded {
        AuditRecorded {
            actor_type: "user".into(),
            action: "records.create".into(),
            ..Default::default()
        }
    }

    fn parse(entry: AuditRecorded) -> Result<AuditLog> {
        parse_entry(Uuid::nil(), DateTime::UNIX_EPOCH, entry)
    }

    #[test]
    fn an_address_that_is_none_is_left_out() {
        assert_eq!(
            parse(AuditRecorded {
                ip: "<script>".into(),
                ..entry()
            })
            .unwrap()
            .ip,
            ""
        );
        assert_eq!(
            parse(AuditRecorded {
                ip: "2001:DB8::1".into(),
                ..entry()
            })
            .unwrap()
            .ip,
            "2001:db8::1"
        );
    }

    #[test]
    fn an_actor_that_is_no_id_is_refused() {
        assert!(
            parse(AuditRecorded {
                actor_id: "ana".into(),
                ..entry()
            })
            .is_err()
        );
    }
}
