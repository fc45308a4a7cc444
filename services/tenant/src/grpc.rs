//! The gRPC face: decode, call, encode.

use chrono::{DateTime, Utc};
use events::dead_letters::DeadLetter;
use kernel::{Error, PageRequest, Result, TenantId, Violation};
use proto::tenant::v1 as pb;
use proto::tenant::v1::audit_service_server::AuditService;
use proto::tenant::v1::operations_service_server::OperationsService;
use proto::tenant::v1::tenant_service_server::TenantService;
use proto::tenantry::api::v1::PageMeta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::audit_logs::{self, AuditFilter, AuditLog};
use crate::tenants::{self, Tenant, TenantFilter};
use crate::{App, operations};

/// All services of this package over one `App`.
#[derive(Clone)]
pub struct Api {
    pub app: App,
}

#[tonic::async_trait]
impl TenantService for Api {
    async fn create_tenant(
        &self,
        request: Request<pb::CreateTenantRequest>,
    ) -> Result<Response<pb::CreateTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input| async move {
            tenants::create_tenant(&app, &ctx, &input).await
        })
        .await
    }

    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Result<Response<pb::ListTenantsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::ListTenantsRequest| async move {
            let page = PageRequest::new(input.limit, input.cursor);
            let filter = TenantFilter {
                status: input.status,
                text: input.q,
                created_from: time(input.created_at_from)?,
                created_to: time(input.created_at_to)?,
                ascending: TenantFilter::order(&input.sort),
            };
            let page = tenants::list_tenants(&app, &ctx, &filter, &page).await?;
            let meta = Some(PageMeta {
                has_more: page.has_more(),
                next_cursor: page.next_cursor,
            });
            Ok(pb::ListTenantsResponse {
                data: page.rows.iter().map(tenant_to_proto).collect(),
                meta,
            })
        })
        .await
    }

    async fn get_tenant(
        &self,
        request: Request<pb::GetTenantRequest>,
    ) -> Result<Response<pb::GetTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::GetTenantRequest| async move {
            let tenant = tenants::get_tenant(&app, &ctx, tenant_id(&input.tenant_id)?).await?;
            Ok(pb::GetTenantResponse {
                data: Some(tenant_to_proto(&tenant)),
            })
        })
        .await
    }

    async fn suspend_tenant(
        &self,
        request: Request<pb::SuspendTenantRequest>,
    ) -> Result<Response<pb::SuspendTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::SuspendTenantRequest| async move {
            let tenant = tenants::suspend_tenant(
                &app,
                &ctx,
                tenant_id(&input.tenant_id)?,
                input.reason.trim(),
            )
            .await?;
            Ok(pb::SuspendTenantResponse {
                data: Some(tenant_to_proto(&tenant)),
            })
        })
        .await
    }

    async fn reactivate_tenant(
        &self,
        request: Request<pb::ReactivateTenantRequest>,
    ) -> Result<Response<pb::ReactivateTenantResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ReactivateTenantRequest| async move {
                let tenant =
                    tenants::reactivate_tenant(&app, &ctx, tenant_id(&input.tenant_id)?).await?;
                Ok(pb::ReactivateTenantResponse {
                    data: Some(tenant_to_proto(&tenant)),
                })
            },
        )
        .await
    }
}

#[tonic::async_trait]
impl AuditService for Api {
    async fn list_audit_logs(
        &self,
        request: Request<pb::ListAuditLogsRequest>,
    ) -> Result<Response<pb::ListAuditLogsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::ListAuditLogsRequest| async move {
            let page = PageRequest::new(input.limit, input.cursor);
            let filter = AuditFilter {
                actor_id: actor_id(&input.actor)?,
                action: input.action,
                entity_type: input.entity_type,
                created_from: time(input.created_at_from)?,
                created_to: time(input.created_at_to)?,
            };
            let page = audit_logs::list_audit_logs(&app, &ctx, &filter, &page).await?;
            let meta = Some(PageMeta {
                has_more: page.has_more(),
                next_cursor: page.next_cursor,
            });
            let data = page
                .rows
                .into_iter()
                .map(audit_log_to_proto)
                .collect::<Result<_>>()?;
            Ok(pb::ListAuditLogsResponse { data, meta })
        })
        .await
    }
}

#[tonic::async_trait]
impl OperationsService for Api {
    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |_, input: pb::ListDeadLettersRequest| async move {
            let limit = PageRequest::new(input.limit, "").limit;
            let letters = operations::list_dead_letters(&app, &input.queue, limit).await?;
            Ok(pb::ListDeadLettersResponse {
                data: letters.into_iter().map(dead_letter_to_proto).collect(),
            })
        })
        .await
    }

    async fn replay_dead_letters(
        &self,
        request: Request<pb::ReplayDeadLettersRequest>,
    ) -> Result<Response<pb::ReplayDeadLettersResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ReplayDeadLettersRequest| async move {
                let ids = input
                    .ids
                    .iter()
                    .map(|id| Uuid::parse_str(id).map_err(Error::internal))
                    .collect::<Result<Vec<_>>>()?;
                let replayed =
                    operations::replay_dead_letters(&app, &ctx, &input.queue, ids).await?;
                Ok(pb::ReplayDeadLettersResponse {
                    data: Some(pb::Replay { replayed }),
                })
            },
        )
        .await
    }
}

/// The tenant as clients see it.
pub fn tenant_to_proto(tenant: &Tenant) -> pb::Tenant {
    pb::Tenant {
        id: tenant.tenant_id.to_string(),
        slug: tenant.slug.clone(),
        name: tenant.name.clone(),
        status: tenant.status.clone(),
        suspended_reason: tenant.suspended_reason.clone(),
        package_keys: tenant.package_keys.clone(),
        created_at: Some(timestamp(tenant.created_at)),
        updated_at: Some(timestamp(tenant.updated_at)),
    }
}

fn audit_log_to_proto(entry: AuditLog) -> Result<pb::AuditLog> {
    Ok(pb::AuditLog {
        id: entry.id.to_string(),
        actor_type: entry.actor_type,
        actor_id: entry.actor_id.map(|id| id.to_string()),
        action: entry.action,
        entity_type: entry.entity_type,
        entity_id: entry.entity_id,
        metadata: Some(proto::Document::from_value(&entry.metadata).map_err(Error::internal)?),
        request_id: entry.request_id,
        trace_id: entry.trace_id,
        ip: entry.ip,
        user_agent: entry.user_agent,
        created_at: Some(timestamp(entry.created_at)),
    })
}

fn dead_letter_to_proto(letter: DeadLetter) -> pb::DeadLetter {
    let envelope = letter.envelope.as_ref();
    pb::DeadLetter {
        id: letter.event_id.map(|id| id.to_string()).unwrap_or_default(),
        r#type: envelope
            .map(|envelope| envelope.event_type.clone())
            .unwrap_or_default(),
        tenant_id: envelope
            .map(|envelope| envelope.tenantid.to_string())
            .unwrap_or_default(),
        subject: envelope
            .map(|envelope| envelope.subject.clone())
            .unwrap_or_default(),
        reason: letter.reason,
        attempts: i32::try_from(letter.attempts).unwrap_or(i32::MAX),
        failed_at: letter.failed_at.map(timestamp),
    }
}

/// The contract has checked the form already, so a failure here is ours.
fn tenant_id(text: &str) -> Result<TenantId> {
    text.parse().map_err(Error::internal)
}

fn actor_id(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() {
        return Ok(None);
    }
    let violation = || {
        Violation::new(
            "actor",
            "string.uuid",
            "must be the id of a person or service account, a UUID",
        )
    };
    Uuid::parse_str(text)
        .map(Some)
        .map_err(|_| Error::invalid(vec![violation()]))
}

fn time(at: Option<prost_types::Timestamp>) -> Result<Option<DateTime<Utc>>> {
    let Some(at) = at else { return Ok(None) };
    let nanos = u32::try_from(at.nanos).unwrap_or(u32::MAX);
    let violation = || {
        Violation::new(
            "created_at_from",
            "timestamp.range",
            "must be an RFC 3339 time between the years 0001 and 9999",
        )
    };
    DateTime::from_timestamp(at.seconds, nanos)
        .map(Some)
        .ok_or_else(|| Error::invalid(vec![violation()]))
}

fn timestamp(at: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.timestamp(),
        nanos: i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0),
    }
}
