//! What auth keeps of each tenant: its projection, its built-in groups and its first owner.

mod store;

use chrono::{DateTime, Utc};
use kernel::{Error, Locale, RequestContext, Result, TenantId, UserId, Violation};
use proto::auth::v1 as pb;
use serde_json::json;

use crate::App;
use crate::access::{self, Change};
use crate::mails::{self, Mail};
use crate::roles;
use crate::users::{self, Identity};

/// What the tenant service says of a tenant.
#[derive(Clone, Debug)]
pub struct TenantAccess {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Only grows.
    pub version: i64,
    /// Its subdomain.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// `active` or `suspended`.
    pub status: String,
    /// What its packages entitle it to.
    pub entitled_actions: Vec<String>,
}

/// Who becomes the owner of a new tenant.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A person who is known.
    Known(UserId),
    /// A person by address, who may not be known yet.
    Named {
        /// As given.
        email: String,
        /// As given.
        name: String,
    },
    /// Nobody yet; a command names one.
    Nobody,
}

/// Gives a tenant its projection, its built-in groups and its first owner. Idempotent by tenant: once there is an owner, that one is answered.
///
/// Emits `membership.created` and, for a person who was not known, `user.created`. A named owner gets a mail.
/// Fails with `NotFound` for an unknown person and with `Precondition` for platform staff, who belong to no tenant.
pub async fn provision(
    app: &App,
    ctx: &RequestContext,
    access: &TenantAccess,
    owner: Owner,
) -> Result<Option<UserId>> {
    if access.tenant_id.is_platform() {
        return Err(Error::invalid(vec![Violation::new(
            "access.tenant_id",
            "tenant.reserved",
            "this id belongs to the platform itself",
        )]));
    }
    let now = app.clock.now();
    let mut tx = app.db.tenant_of(ctx, access.tenant_id).await?;
    // The row lock makes two deliveries of the same command queue up.
    store::upsert_tenant(&mut tx, access, now).await?;
    store::insert_groups(&mut tx, app, now).await?;
    if let Some(present) = store::find_owner(&mut tx).await? {
        tx.commit().await?;
        return Ok(Some(present));
    }
    let Some((user_id, invited)) = find_person(app, &mut tx, owner, now).await? else {
        tx.commit().await?;
        return Ok(None);
    };
    store::insert_membership(&mut tx, user_id, roles::OWNER, now).await?;
    if invited {
        mails::enqueue(
            &mut tx,
            app.ids.next(),
            &Mail::tenant_owner(user_id, access.name.clone()),
            now,
        )
        .await?;
    }
    tx.emit(
        user_id,
        &pb::MembershipCreated {
            user_id: user_id.to_string(),
            roles: vec![roles::OWNER.to_owned()],
        },
    )?;
    tx.audit(
        db::AuditEntry::new("memberships.create", "user", user_id)
            .with(json!({ "roles": [roles::OWNER] })),
    )?;
    access::record(
        &mut tx,
        Change {
            actor_id: Some(user_id.0),
            ..Change::of_tenant(access.tenant_id.0)
        },
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(Some(user_id))
}

/// Takes over a tenant's status and entitled actions; an older version than the stored one changes nothing.
///
/// Once this has returned, nothing is minted for a suspended tenant, and everybody who caches contexts of it is being told.
pub async fn apply_access(app: &App, ctx: &RequestContext, access: &TenantAccess) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.tenant_of(ctx, access.tenant_id).await?;
    if store::upsert_tenant(&mut tx, access, now).await? {
        tx.audit(
            db::AuditEntry::new("tenants.apply-access", "tenant", access.tenant_id)
                .with(json!({ "version": access.version, "status": access.status })),
        )?;
        access::record(&mut tx, Change::of_tenant(access.tenant_id.0), now).await?;
    }
    tx.commit().await
}

/// The owner-to-be, and whether a mail must tell them.
async fn find_person(
    app: &App,
    tx: &mut db::Tx,
    owner: Owner,
    now: DateTime<Utc>,
) -> Result<Option<(UserId, bool)>> {
    let (identity, invited) = match owner {
        Owner::Nobody => return Ok(None),
        Owner::Known(user_id) => {
            let identity = users::hold_identity(tx, user_id).await?;
            (
                identity.ok_or_else(|| {
                    Error::not_found("auth.user_not_found", "there is no such person")
                })?,
                false,
            )
        }
        Owner::Named { email, name } => {
            let new = Identity::new(
                UserId(app.ids.next()),
                users::normalise_email(&email),
                name,
                Locale::PtBr,
            );
            (users::find_or_create(tx, &new, now).await?, true)
        }
    };
    if identity.platform_role.is_some() {
        return Err(Error::precondition(
            "auth.platform_staff_cannot_join",
            "platform staff belong to no tenant; name another person as owner",
        ));
    }
    Ok(Some((identity.id, invited)))
}
