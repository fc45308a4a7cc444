//! Identities: signing up, proving the address, and who one is.

mod store;

use chrono::TimeDelta;
use kernel::{Error, ErrorCode, Locale, Principal, RequestContext, Result, TenantId, UserId};
use proto::auth::v1 as pb;
use serde_json::json;
use uuid::Uuid;

pub use store::{Account, Identity, delete_expired_attempts, find_account, hold_identity};

use crate::App;
use crate::mails::{self, Mail};
use crate::memberships::{self, Membership};
use crate::passwords;
use crate::secrets;

/// How long the link in a verification mail works, counted from when the mail was sent.
pub const VERIFICATION_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Mails to one address in an hour, so that nobody can flood a mailbox through us; one that is really waiting needs one or two.
const MAILS_PER_HOUR_MAX: i64 = 5;

/// The role of platform staff that exists today.
pub const SUPER_ADMIN: &str = "super_admin";

/// A parsed sign-up.
pub struct SignUp {
    /// As typed.
    pub email: String,
    /// As typed.
    pub password: secrets::Secret,
    /// How the person wants to be called.
    pub name: String,
    /// The language of mails.
    pub locale: Locale,
}

/// How an identity came to be, as events tell it.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// The person signed up.
    Register,
    /// Platform staff named the person as owner of a new tenant.
    Onboarding,
    /// The operator's seed.
    Seed,
}

impl Source {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Onboarding => "onboarding",
            Self::Seed => "seed",
        }
    }
}

/// Who is calling.
pub struct Me {
    /// The person.
    pub identity: Identity,
    /// `user` or `platform`.
    pub kind: &'static str,
    /// The tenant of the token.
    pub tenant_id: Option<TenantId>,
    /// Every tenant that the person belongs to.
    pub memberships: Vec<Membership>,
    /// Effective permissions in the tenant of the token.
    pub permissions: Vec<String>,
}

/// The one spelling of an address under which an identity is stored and found.
pub fn normalise_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Signs a person up and queues a mail with the verification link.
///
/// The outcome does not tell whether the address was known: the password is hashed and a mail goes out either way (to a known
/// person, one that says that they have an account). Nothing about a known account changes. Fails with `Invalid` for a guessable password.
pub async fn register(app: &App, ctx: &RequestContext, input: SignUp) -> Result<()> {
    let email = normalise_email(&input.email);
    if let Some(violation) = passwords::refuse_common(&input.password, &email) {
        return Err(Error::invalid(vec![violation]));
    }
    let seat = app.passwords.admit(ctx.deadline()).await?;
    let password_hash = seat.hash(&input.password).await?;
    drop(seat);
    let now = app.clock.now();
    let mut tx = app
        .db
        .across_tenants(ctx, "sign-up precedes any tenant")
        .await?;
    let new = Identity::new(
        UserId(app.ids.next()),
        email,
        input.name.clone(),
        input.locale,
    );
    let created = store::insert_identity(&mut tx, &new, now).await?;
    let identity = store::hold_identity_by_email(&mut tx, &new.email).await?;
    if mails::count_since(&mut tx, identity.id, now - TimeDelta::hours(1)).await?
        < MAILS_PER_HOUR_MAX
    {
        // A known person's attempt is stored too, used up from the start: both cases cost the same statements.
        let is_known = identity.verified || identity.suspended;
        let attempt = store::Attempt {
            id: app.ids.next(),
            user_id: identity.id,
            password_hash,
            name: input.name,
            locale: input.locale,
        };
        let token_hash = secrets::fingerprint(&app.derivation.verification(attempt.id));
        let life = store::Life {
            created_at: now,
            expires_at: now + VERIFICATION_LIFETIME,
            used_at: is_known.then_some(now),
        };
        store::insert_attempt(&mut tx, &attempt, &token_hash, &life).await?;
        let mail = if is_known {
            Mail::already_registered(identity.id)
        } else {
            Mail::verify_email(identity.id, attempt.id)
        };
        mails::enqueue(&mut tx, app.ids.next(), &mail, now).await?;
    }
    if created {
        emit_created(&mut tx, identity.id, Source::Register)?;
    }
    tx.audit(db::AuditEntry::new(
        "sessions.register",
        "user",
        identity.id,
    ))?;
    tx.commit().await
}

/// Confirms the address for which `token` was mailed, and gives the account the password of that very sign-up.
///
/// A token works once, for 24 hours, and only until another link of the same person has been used. Emits `user.email_verified`.
pub async fn verify_email(app: &App, ctx: &RequestContext, token: &str) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app
        .db
        .across_tenants(ctx, "an address is confirmed before any tenant is known")
        .await?;
    let token_hash = secrets::fingerprint(token);
    let user_id = store::find_attempt_user(&mut tx, &token_hash)
        .await?
        .ok_or_else(verification_invalid)?;
    // The lock makes parallel uses queue up: the first one uses the token, the others find it used.
    let identity = store::hold_identity(&mut tx, user_id)
        .await?
        .ok_or_else(verification_invalid)?;
    let attempt = store::use_attempt(&mut tx, &token_hash, now)
        .await?
        .ok_or_else(verification_invalid)?;
    if identity.verified || identity.suspended {
        return Err(verification_invalid());
    }
    store::insert_credentials(&mut tx, user_id, &attempt.password_hash, now).await?;
    store::update_verified(&mut tx, &attempt, now).await?;
    store::close_attempts(&mut tx, user_id, now).await?;
    tx.emit(
        user_id,
        &pb::UserEmailVerified {
            user_id: user_id.to_string(),
        },
    )?;
    tx.audit(db::AuditEntry::new(
        "sessions.verify-email",
        "user",
        user_id,
    ))?;
    tx.commit().await
}

/// The person behind the context, with memberships and effective permissions.
pub async fn me(app: &App, ctx: &RequestContext) -> Result<Me> {
    let user_id = ctx.require_user()?;
    let mut tx = app
        .db
        .across_tenants(ctx, "a person's own identity and memberships")
        .await?;
    let identity = store::find_identity(&mut tx, user_id).await?;
    let identity = identity
        .ok_or_else(|| Error::not_found("auth.user_not_found", "there is no such person"))?;
    let memberships = memberships::list_of(&mut tx, user_id).await?;
    tx.commit().await?;
    Ok(Me {
        identity,
        kind: if matches!(ctx.principal(), Principal::Platform { .. }) {
            "platform"
        } else {
            "user"
        },
        tenant_id: ctx.tenant_id(),
        memberships,
        permissions: ctx.permissions().map(str::to_owned).collect(),
    })
}

/// The identity with this address; made, unverified and without a password, when there is none yet.
///
/// Its owner gets in by signing up with the address: the link proves that the mailbox is theirs.
pub async fn find_or_create(
    tx: &mut db::Tx,
    new: &Identity,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Identity> {
    if store::insert_identity(tx, new, now).await? {
        emit_created(tx, new.id, Source::Onboarding)?;
    }
    store::hold_identity_by_email(tx, &new.email).await
}

/// Creates the first platform admin, verified and with a password. Does nothing when the address is platform staff already.
///
/// Answers whether the admin was created. Fails with `Precondition` when the address belongs to somebody else.
pub async fn seed_platform_admin(
    app: &App,
    ctx: &RequestContext,
    email: &str,
    password: &str,
) -> Result<bool> {
    let seat = app.passwords.admit(ctx.deadline()).await?;
    let password_hash = seat.hash(password).await?;
    drop(seat);
    let now = app.clock.now();
    let mut tx = app
        .db
        .across_tenants(ctx, "platform staff belong to no tenant")
        .await?;
    let new = Identity::new(
        UserId(app.ids.next()),
        normalise_email(email),
        "Platform admin".to_owned(),
        Locale::En,
    );
    let created = store::insert_identity(&mut tx, &new, now).await?;
    let identity = store::hold_identity_by_email(&mut tx, &new.email).await?;
    if !created {
        let staff = identity.platform_role.is_some();
        let taken = || {
            Error::precondition(
                "auth.seed_address_taken",
                "the address of the platform admin belongs to a customer; choose another",
            )
        };
        return if staff { Ok(false) } else { Err(taken()) };
    }
    store::insert_credentials(&mut tx, identity.id, &password_hash, now).await?;
    store::update_platform_role(&mut tx, identity.id, SUPER_ADMIN, now).await?;
    emit_created(&mut tx, identity.id, Source::Seed)?;
    tx.audit(
        db::AuditEntry::new("users.seed-platform-admin", "user", identity.id)
            .with(json!({ "role": SUPER_ADMIN })),
    )?;
    tx.commit().await?;
    Ok(true)
}

fn emit_created(tx: &mut db::Tx, user_id: UserId, source: Source) -> Result<()> {
    tx.emit(
        user_id,
        &pb::UserCreated {
            user_id: user_id.to_string(),
            source: source.as_str().to_owned(),
        },
    )
}

/// The answer to a suspended person who has shown the right credential.
pub fn suspended() -> Error {
    Error::new(
        ErrorCode::UserSuspended,
        "auth.user_suspended",
        "this account is suspended",
    )
}

/// One answer for unknown, used, expired and superseded tokens.
fn verification_invalid() -> Error {
    Error::new(
        ErrorCode::InvalidToken,
        "auth.verification_invalid",
        "this link is not valid any more; sign up again to get a new one",
    )
}

/// The attempt that a mail belongs to is gone or used: nothing to send.
pub async fn renew_attempt(
    tx: &mut db::Tx,
    attempt_id: Uuid,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<bool> {
    store::renew_attempt(tx, attempt_id, now + VERIFICATION_LIFETIME).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        assert_eq!(
            normalise_email("  Ana.Souza@Example.COM "),
            "ana.souza@example.com"
        );
    }
}
