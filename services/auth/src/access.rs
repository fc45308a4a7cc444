//! Credentials into context tokens, and the news that make a cached one stale.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, ErrorCode, Principal, RequestContext, Result, SessionId, TenantId};
use rpc::token::{Actor, CONTEXT_AUDIENCE, CONTEXT_ISSUER, ContextClaims};
use uuid::Uuid;

use crate::App;
use crate::access_tokens::{Verified, invalid_token};
use crate::memberships;
use crate::roles;
use crate::sessions;

pub use store::{Change, News, changes_after, delete_old_changes, latest_change, record};

/// How long a context token lives: what a gateway that hears no news may at worst still believe.
const CONTEXT_LIFETIME: TimeDelta =
    TimeDelta::seconds(rpc::token::LIFETIME.as_secs().cast_signed());

/// What a credential amounts to right now.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Who acts: a person or platform staff.
    pub principal: Principal,
    /// The tenant acted in.
    pub tenant_id: Option<TenantId>,
    /// Effective permissions.
    pub permissions: Vec<String>,
    /// When the context token must end.
    pub expires_at: DateTime<Utc>,
    /// When the credential itself ends.
    pub credential_expires_at: DateTime<Utc>,
}

/// Finds out who holds `credential` and what they may do, by one read of the present state.
///
/// `INVALID_TOKEN` and `TOKEN_EXPIRED` speak of the credential, of its session and of its person alike. A person may not choose a tenant by
/// header: one that differs from the token's is `TENANT_MISMATCH`. Platform staff name the one tenant that they act in by it, which is
/// audited in that tenant when they enter. `TENANT_NOT_FOUND` when the tenant is gone or the membership is; `TENANT_SUSPENDED`.
pub async fn resolve_context(
    app: &App,
    ctx: &RequestContext,
    credential: &str,
    tenant_header: Option<&str>,
) -> Result<Resolved> {
    let now = app.clock.now();
    let verified = app.access_tokens.verify(credential, now)?;
    let subject = verified.subject;
    let named = tenant_header
        .map(|text| {
            text.trim()
                .parse::<TenantId>()
                .map_err(|_| tenant_mismatch())
        })
        .transpose()?;
    if subject.tenant_id.is_some() && named.is_some() && named != subject.tenant_id {
        return Err(tenant_mismatch());
    }
    let tenant_id = subject.tenant_id.or(named);
    let state = store::find_state(app, ctx, &subject, tenant_id)
        .await?
        .ok_or_else(invalid_token)?;
    if state.user_status != "active" || !state.session().is_live(now) {
        return Err(invalid_token());
    }
    match &state.platform_role {
        Some(role) => platform_context(app, ctx, &verified, (role, tenant_id, &state)).await,
        // A token without a tenant cannot be given one by a header.
        None if named.is_some() && subject.tenant_id.is_none() => Err(tenant_mismatch()),
        None => user_context(&verified, &state, now),
    }
}

fn user_context(verified: &Verified, state: &store::State, now: DateTime<Utc>) -> Result<Resolved> {
    let subject = verified.subject;
    let permissions = match subject.tenant_id {
        None => Vec::new(),
        Some(_) => {
            if state.tenant_status.is_none() || state.membership_status.as_deref() != Some("active")
            {
                return Err(tenant_not_found());
            }
            if state.tenant_status.as_deref() != Some("active") {
                return Err(memberships::tenant_suspended());
            }
            roles::built_in()
                .effective(&state.roles, &state.granted, &state.entitled)
                .into_iter()
                .collect()
        }
    };
    let principal = Principal::User {
        user_id: subject.user_id,
        session_id: Some(subject.session_id),
    };
    Ok(resolved(verified, principal, permissions, now))
}

/// Platform staff also work in tenants that are suspended: somebody must be able to look why.
async fn platform_context(
    app: &App,
    ctx: &RequestContext,
    verified: &Verified,
    (role, tenant_id, state): (&str, Option<TenantId>, &store::State),
) -> Result<Resolved> {
    let subject = verified.subject;
    let principal = Principal::Platform {
        user_id: subject.user_id,
        session_id: Some(subject.session_id),
    };
    if let Some(tenant_id) = tenant_id {
        if state.tenant_status.is_none() {
            return Err(tenant_not_found());
        }
        if state.last_tenant != Some(tenant_id.0) {
            note_entry(
                app,
                &sessions::acting_as(ctx, principal.clone()),
                subject.session_id,
                tenant_id,
            )
            .await?;
        }
    }
    let permissions = roles::built_in().platform(role).into_iter().collect();
    Ok(Resolved {
        tenant_id,
        ..resolved(verified, principal, permissions, app.clock.now())
    })
}

/// Tells a tenant that platform staff has entered it: once each time they come from another one.
async fn note_entry(
    app: &App,
    ctx: &RequestContext,
    session_id: SessionId,
    tenant_id: TenantId,
) -> Result<()> {
    let mut tx = app.db.tenant_of(ctx, tenant_id).await?;
    if sessions::store::update_session_tenant(&mut tx, session_id, tenant_id).await? {
        tx.audit(db::AuditEntry::new(
            "platform.enter-tenant",
            "tenant",
            tenant_id,
        ))?;
    }
    tx.commit().await
}

fn resolved(
    verified: &Verified,
    principal: Principal,
    permissions: Vec<String>,
    now: DateTime<Utc>,
) -> Resolved {
    Resolved {
        principal,
        tenant_id: verified.subject.tenant_id,
        permissions,
        expires_at: (now + CONTEXT_LIFETIME).min(verified.expires_at),
        credential_expires_at: verified.expires_at,
    }
}

fn tenant_mismatch() -> Error {
    Error::new(
        ErrorCode::TenantMismatch,
        "auth.tenant_mismatch",
        "the credential belongs to another tenant than X-Tenant-Id names",
    )
}

fn tenant_not_found() -> Error {
    Error::new(
        ErrorCode::TenantNotFound,
        "auth.tenant_not_found",
        "the tenant of the credential does not exist, or you do not belong to it any more",
    )
}

/// The news after `after`, and how far they reach. A gap that can no longer be told is answered by one change that matches everything.
///
/// `after` = 0 starts now.
pub async fn news_after(app: &App, ctx: &RequestContext, after: i64) -> Result<News> {
    let mut tx = app
        .db
        .across_tenants(ctx, "changes of access, ids only")
        .await?;
    let news = if after == 0 {
        News {
            sequence: latest_change(&mut tx).await?,
            changes: Vec::new(),
        }
    } else {
        changes_after(&mut tx, after).await?
    };
    tx.commit().await?;
    Ok(news)
}

/// The context token (EdDSA) that tells other services what a credential amounts to.
pub fn mint_context(app: &App, resolved: &Resolved) -> Result<String> {
    let (act, user_id, session_id) = match resolved.principal {
        Principal::User {
            user_id,
            session_id,
        } => (Actor::User, user_id, session_id),
        Principal::Platform {
            user_id,
            session_id,
        } => (Actor::Platform, user_id, session_id),
        Principal::Anonymous | Principal::Service { .. } | Principal::Internal { .. } => {
            return Err(Error::internal("only people have access tokens"));
        }
    };
    let claims = ContextClaims {
        iss: CONTEXT_ISSUER.to_owned(),
        aud: CONTEXT_AUDIENCE.to_owned(),
        tid: resolved.tenant_id,
        act,
        sub: user_id.0,
        sid: session_id,
        perms: resolved.permissions.clone(),
        iat: app.clock.now().timestamp(),
        nbf: None,
        exp: resolved.expires_at.timestamp(),
        jti: app.ids.next(),
    };
    Ok(rpc::token::mint_context(&app.identity, &claims))
}

impl Change {
    /// Everything of one tenant.
    pub fn of_tenant(tenant_id: Uuid) -> Self {
        Self {
            tenant_id: Some(tenant_id),
            ..Self::default()
        }
    }
}
