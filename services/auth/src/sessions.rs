//! Sessions: signing in, signing out, and moving to another tenant.

pub mod store;

use chrono::{DateTime, Utc};
use kernel::{Error, ErrorCode, Principal, RequestContext, Result, SessionId, TenantId, UserId};
use serde_json::json;
use uuid::Uuid;

use crate::App;
use crate::access::{self, Change};
use crate::access_tokens::Subject;
use crate::attempts;
use crate::memberships;
use crate::refresh;
use crate::secrets::Secret;
use crate::users::{self, Identity};

/// A parsed sign-in.
pub struct SignIn {
    /// As typed.
    pub email: String,
    /// As typed.
    pub password: Secret,
    /// The tenant to sign in to.
    pub tenant_id: Option<TenantId>,
}

/// What a client holds of a session.
pub struct TokenPair {
    /// A JWT for one tenant.
    pub access_token: String,
    /// Opaque, used once.
    pub refresh_token: Secret,
    /// Seconds that the access token lives.
    pub expires_in: i32,
    /// The tenant of both.
    pub tenant_id: Option<TenantId>,
}

/// Opens a session for who knows the password.
///
/// Unknown addresses and wrong passwords get the same answer after the same work. Only the right password learns more:
/// `EMAIL_NOT_VERIFIED`, `USER_SUSPENDED`, `TENANT_SUSPENDED`, or `NotFound` for a tenant that the person does not belong to.
/// `Limited` after many failures; see [`attempts`].
pub async fn login(app: &App, ctx: &RequestContext, input: SignIn) -> Result<TokenPair> {
    let email = users::normalise_email(&input.email);
    let seat = app.passwords.admit(ctx.deadline()).await?;
    let reserved = attempts::reserve(app, ctx, &email).await?;
    let account = find_account(app, ctx, &email).await?;
    let hash = account
        .as_ref()
        .and_then(|account| account.password_hash.clone());
    let right = seat.verify(&input.password, hash).await?;
    drop(seat);
    let user_id = account.as_ref().map(|account| account.user_id);
    let Some(account) = account.filter(|_| right) else {
        return Err(note_failure(app, ctx, user_id).await?);
    };
    let (user_id, session_id) = (account.user_id, SessionId(app.ids.next()));
    let ctx = &acting_as(ctx, account.principal(session_id));
    let tenant_id = match input.tenant_id {
        Some(tenant_id) => Some(tenant_id),
        None => usual_tenant(app, ctx, user_id).await?,
    };
    let mut tx = begin_in(app, ctx, tenant_id).await?;
    let identity = hold_for_entry(&mut tx, user_id, tenant_id).await?;
    may_sign_in(app, &identity)?;
    let now = app.clock.now();
    let session = store::NewSession {
        id: session_id,
        user_id,
        created_at: now,
        expires_at: now + app.rules.session_lifetime,
        tenant_id,
        network_key: attempts::network_key(app, ctx),
    };
    store::insert_session(&mut tx, &session, ctx.client()).await?;
    let refresh_token = refresh::start_chain(app, &mut tx, session_id, tenant_id).await?;
    store::update_last_tenant(&mut tx, user_id, tenant_id, now).await?;
    attempts::clear(&mut tx, reserved).await?;
    tx.audit(db::AuditEntry::new("sessions.login", "session", session_id))?;
    tx.commit().await?;
    token_pair(
        app,
        Subject {
            user_id,
            session_id,
            tenant_id,
        },
        refresh_token,
    )
}

/// Ends the session of the caller, or all of the caller's sessions. Once this has returned, none of their tokens is good for anything.
pub async fn logout(app: &App, ctx: &RequestContext, everywhere: bool) -> Result<()> {
    let (user_id, session_id) = caller(ctx)?;
    let now = app.clock.now();
    let mut tx = begin_in(app, ctx, ctx.tenant_id()).await?;
    let change = if everywhere {
        store::revoke_all(&mut tx, user_id, "logout_everywhere", now).await?;
        Change {
            actor_id: Some(user_id.0),
            ..Change::default()
        }
    } else {
        store::revoke(&mut tx, session_id, "logout", now).await?;
        Change {
            session_id: Some(session_id.0),
            ..Change::default()
        }
    };
    tx.audit(
        db::AuditEntry::new("sessions.logout", "session", session_id)
            .with(json!({ "everywhere": everywhere })),
    )?;
    access::record(&mut tx, change, now).await?;
    tx.commit().await
}

/// Mints a pair for another tenant of the same person, in the same session. The pair for the old tenant stays good.
///
/// `NotFound` for a tenant that the person does not belong to, whether or not it exists.
pub async fn switch_tenant(
    app: &App,
    ctx: &RequestContext,
    tenant_id: TenantId,
) -> Result<TokenPair> {
    let (user_id, session_id) = caller(ctx)?;
    let now = app.clock.now();
    let mut tx = begin_in(app, ctx, Some(tenant_id)).await?;
    let identity = hold_for_entry(&mut tx, user_id, Some(tenant_id)).await?;
    let session = store::hold(&mut tx, session_id).await?;
    if identity.suspended || !session.is_some_and(|session| session.is_live(now)) {
        return Err(crate::access_tokens::invalid_token());
    }
    store::update_session_tenant(&mut tx, session_id, tenant_id).await?;
    store::update_last_tenant(&mut tx, user_id, Some(tenant_id), now).await?;
    let refresh_token = refresh::start_chain(app, &mut tx, session_id, Some(tenant_id)).await?;
    tx.audit(
        db::AuditEntry::new("sessions.switch-tenant", "session", session_id)
            .with(json!({ "from": ctx.tenant_id().map(|id| id.0) })),
    )?;
    tx.commit().await?;
    token_pair(
        app,
        Subject {
            user_id,
            session_id,
            tenant_id: Some(tenant_id),
        },
        refresh_token,
    )
}

/// Mints the access token that goes with a refresh token.
pub fn token_pair(app: &App, subject: Subject, refresh_token: Secret) -> Result<TokenPair> {
    let access_token = app
        .access_tokens
        .mint(subject, app.ids.next(), app.clock.now())?;
    let expires_in = i32::try_from(app.access_tokens.lifetime.num_seconds()).unwrap_or(i32::MAX);
    Ok(TokenPair {
        access_token,
        refresh_token,
        expires_in,
        tenant_id: subject.tenant_id,
    })
}

/// A transaction in the tenant that its audit entries belong to.
pub async fn begin_in(
    app: &App,
    ctx: &RequestContext,
    tenant_id: Option<TenantId>,
) -> Result<db::Tx> {
    match tenant_id {
        Some(tenant_id) => app.db.tenant_of(ctx, tenant_id).await,
        None => {
            app.db
                .across_tenants(ctx, "a session without a tenant")
                .await
        }
    }
}

/// The same request, now that it is known who sent it.
pub fn acting_as(ctx: &RequestContext, principal: Principal) -> RequestContext {
    RequestContext::builder(principal)
        .tenant(ctx.tenant_id())
        .request_id(ctx.request_id())
        .traceparent(ctx.traceparent().map(str::to_owned))
        .method(ctx.method())
        .client(ctx.client().clone())
        .locale(ctx.locale())
        .deadline(ctx.deadline())
        .build()
}

async fn find_account(
    app: &App,
    ctx: &RequestContext,
    email: &str,
) -> Result<Option<users::Account>> {
    let mut tx = app
        .db
        .across_tenants(ctx, "an account is found before a tenant is known")
        .await?;
    let account = users::find_account(&mut tx, email, app.clock.now()).await?;
    tx.commit().await?;
    Ok(account)
}

async fn usual_tenant(
    app: &App,
    ctx: &RequestContext,
    user_id: UserId,
) -> Result<Option<TenantId>> {
    let mut tx = app
        .db
        .across_tenants(ctx, "a person's own memberships")
        .await?;
    let last = store::find_last_tenant(&mut tx, user_id).await?;
    let memberships = memberships::list_of(&mut tx, user_id).await?;
    tx.commit().await?;
    Ok(memberships::choose(&memberships, last))
}

/// Holds all that could forbid the entry, always in the order tenant, membership, person, session.
async fn hold_for_entry(
    tx: &mut db::Tx,
    user_id: UserId,
    tenant_id: Option<TenantId>,
) -> Result<Identity> {
    let access = match tenant_id {
        Some(tenant_id) => Some(memberships::hold_access(tx, user_id, tenant_id).await?),
        None => None,
    };
    let identity = users::hold_identity(tx, user_id)
        .await?
        .ok_or_else(crate::access_tokens::invalid_token)?;
    if let Some(access) = access {
        // Who may not sign in at all must not learn about tenants.
        if identity.verified && !identity.suspended {
            memberships::require_access(access.as_ref())?;
        }
    }
    Ok(identity)
}

fn may_sign_in(app: &App, identity: &Identity) -> Result<()> {
    if identity.suspended {
        return Err(users::suspended());
    }
    if !identity.verified {
        return Err(Error::new(
            ErrorCode::EmailNotVerified,
            "auth.email_not_verified",
            "open the link in the mail that we sent you, then sign in",
        ));
    }
    if identity.platform_role.is_some() && !app.rules.platform_login_without_mfa {
        return Err(Error::new(
            ErrorCode::ForbiddenAction,
            "auth.platform_login_requires_mfa",
            "platform staff sign in with a second factor only; see AUTH_PLATFORM_LOGIN_WITHOUT_MFA",
        ));
    }
    Ok(())
}

/// Audits a failed sign-in. Known and unknown addresses leave the same trace at the same cost.
async fn note_failure(app: &App, ctx: &RequestContext, user_id: Option<UserId>) -> Result<Error> {
    let mut tx = app
        .db
        .across_tenants(ctx, "a failed sign-in belongs to no tenant")
        .await?;
    let entity = user_id.map_or(Uuid::nil(), |id| id.0);
    tx.audit(db::AuditEntry::new("sessions.login-failed", "user", entity))?;
    tx.commit().await?;
    Ok(Error::new(
        ErrorCode::InvalidCredentials,
        "auth.credentials_invalid",
        "e-mail or password is wrong",
    ))
}

fn caller(ctx: &RequestContext) -> Result<(UserId, SessionId)> {
    match ctx.principal() {
        Principal::User {
            user_id,
            session_id: Some(session_id),
        }
        | Principal::Platform {
            user_id,
            session_id: Some(session_id),
        } => Ok((*user_id, *session_id)),
        _ => Err(Error::new(
            ErrorCode::Unauthorized,
            "access.sign_in_required",
            "sign in first",
        )),
    }
}

/// A session as stored.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Session {
    /// Whether its tokens may be good.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at > now
    }
}
