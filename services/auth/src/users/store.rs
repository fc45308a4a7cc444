//! SQL of identities, credentials and verification links.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Error, Locale, Principal, Result, SessionId, UserId};
use uuid::Uuid;

/// A person as the rules need them.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The person.
    pub id: UserId,
    /// Normalised.
    pub email: String,
    /// How the person wants to be called.
    pub name: String,
    /// The language of mails.
    pub locale: Locale,
    /// Whether the address is proved.
    pub verified: bool,
    /// Whether the operator has shut the person out.
    pub suspended: bool,
    /// Set for platform staff.
    pub platform_role: Option<String>,
    /// The tenant used last.
    pub last_tenant: Option<Uuid>,
}

impl Identity {
    /// A new, unverified customer.
    pub fn new(id: UserId, email: String, name: String, locale: Locale) -> Self {
        Self {
            id,
            email,
            name,
            locale,
            verified: false,
            suspended: false,
            platform_role: None,
            last_tenant: None,
        }
    }
}

/// A person as signing in needs them.
#[derive(Clone, Debug)]
pub struct Account {
    /// The person.
    pub user_id: UserId,
    /// The password of the account; before the address is proved, that of the latest sign-up.
    pub password_hash: Option<String>,
    /// Whether this is platform staff.
    pub platform: bool,
}

impl Account {
    /// Who acts in a session of this account.
    pub fn principal(&self, session_id: SessionId) -> Principal {
        let (user_id, session_id) = (self.user_id, Some(session_id));
        if self.platform {
            Principal::Platform {
                user_id,
                session_id,
            }
        } else {
            Principal::User {
                user_id,
                session_id,
            }
        }
    }
}

/// A sign-up that waits for its link to be opened.
pub struct Attempt {
    /// Also what the token is derived from.
    pub id: Uuid,
    /// Whose address it is.
    pub user_id: UserId,
    /// The password that the account gets.
    pub password_hash: String,
    /// The name that the account gets.
    pub name: String,
    /// The language that the account gets.
    pub locale: Locale,
}

struct Row {
    id: Uuid,
    email: String,
    name: String,
    locale: String,
    status: String,
    email_verified_at: Option<DateTime<Utc>>,
    platform_role: Option<String>,
    last_tenant: Option<Uuid>,
}

impl From<Row> for Identity {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            email: row.email,
            name: row.name,
            locale: locale(&row.locale),
            verified: row.email_verified_at.is_some(),
            suspended: row.status != "active",
            platform_role: row.platform_role,
            last_tenant: row.last_tenant,
        }
    }
}

fn locale(tag: &str) -> Locale {
    if tag == Locale::PtBr.as_str() {
        Locale::PtBr
    } else {
        Locale::En
    }
}

/// Whether the identity is new; nothing happens when the address is taken.
pub async fn insert_identity(tx: &mut Tx, new: &Identity, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into auth.users (id, email, name, locale, created_at, updated_at) values ($1, $2, $3, $4, $5, $5) on conflict (email) do nothing",
        new.id.0,
        new.email,
        new.name,
        new.locale.as_str(),
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected() == 1)
}

/// The person, without a lock.
pub async fn find_identity(tx: &mut Tx, user_id: UserId) -> Result<Option<Identity>> {
    let row = sqlx::query_as!(
        Row,
        "select id, email, name, locale, status, email_verified_at, platform_role, last_tenant from auth.users where id = $1",
        user_id.0
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(Identity::from))
}

/// The person, held until the transaction ends: a suspension comes before or waits.
pub async fn hold_identity(tx: &mut Tx, user_id: UserId) -> Result<Option<Identity>> {
    let row = sqlx::query_as!(
        Row,
        "select id, email, name, locale, status, email_verified_at, platform_role, last_tenant from auth.users where id = $1 for no key update",
        user_id.0
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(Identity::from))
}

/// The person with an address that is known to be taken, held until the transaction ends.
pub async fn hold_identity_by_email(tx: &mut Tx, email: &str) -> Result<Identity> {
    let row = sqlx::query_as!(
        Row,
        "select id, email, name, locale, status, email_verified_at, platform_role, last_tenant from auth.users where email = $1 for no key update",
        email
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    // Identities are never deleted by this service, so the row that took the address is there.
    row.map(Identity::from)
        .ok_or_else(|| Error::internal("an address is taken by nobody"))
}

/// What signing in with an address needs.
pub async fn find_account(tx: &mut Tx, email: &str, now: DateTime<Utc>) -> Result<Option<Account>> {
    let row = sqlx::query!(
        r#"select u.id, coalesce(c.password_hash, v.password_hash) as password_hash, u.platform_role is not null as "platform!"
           from auth.users u
           left join auth.credentials c on c.user_id = u.id
           left join lateral (
               select e.password_hash from auth.email_verifications e
               where e.user_id = u.id and e.used_at is null and e.expires_at > $2
               order by e.created_at desc limit 1
           ) v on true
           where u.email = $1"#,
        email,
        now
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(|row| Account {
        user_id: UserId(row.id),
        password_hash: row.password_hash,
        platform: row.platform,
    }))
}

/// Stores a password for a person who has none.
pub async fn insert_credentials(
    tx: &mut Tx,
    user_id: UserId,
    password_hash: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "insert into auth.credentials (user_id, password_hash, updated_at) values ($1, $2, $3)",
        user_id.0,
        password_hash,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Makes a person platform staff, whose address the operator vouches for.
pub async fn update_platform_role(
    tx: &mut Tx,
    user_id: UserId,
    role: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update auth.users set platform_role = $2, email_verified_at = $3, updated_at = $3 where id = $1",
        user_id.0,
        role,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// From when to when a link works.
pub struct Life {
    /// Now.
    pub created_at: DateTime<Utc>,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
    /// Set when it must never work.
    pub used_at: Option<DateTime<Utc>>,
}

/// Stores a sign-up.
pub async fn insert_attempt(
    tx: &mut Tx,
    attempt: &Attempt,
    token_hash: &[u8],
    life: &Life,
) -> Result<()> {
    sqlx::query!(
        r#"insert into auth.email_verifications
               (id, user_id, token_hash, password_hash, name, locale, created_at, expires_at, used_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
        attempt.id,
        attempt.user_id.0,
        token_hash,
        attempt.password_hash,
        attempt.name,
        attempt.locale.as_str(),
        life.created_at,
        life.expires_at,
        life.used_at
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Whose link a token belongs to, used or not.
pub async fn find_attempt_user(tx: &mut Tx, token_hash: &[u8]) -> Result<Option<UserId>> {
    let row = sqlx::query_scalar!(
        "select user_id from auth.email_verifications where token_hash = $1",
        token_hash
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(UserId))
}

/// Uses up a token that is unused and has not expired.
pub async fn use_attempt(
    tx: &mut Tx,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Attempt>> {
    let row = sqlx::query!(
        r#"update auth.email_verifications set used_at = $2
           where token_hash = $1 and used_at is null and expires_at > $2
           returning id, user_id, password_hash, name, locale"#,
        token_hash,
        now
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.map(|row| Attempt {
        id: row.id,
        user_id: UserId(row.user_id),
        password_hash: row.password_hash,
        name: row.name,
        locale: locale(&row.locale),
    }))
}

/// Ends every other link of the person.
pub async fn close_attempts(tx: &mut Tx, user_id: UserId, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.email_verifications set used_at = $2 where user_id = $1 and used_at is null",
        user_id.0,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Lets a link live until `expires_at`; false when it is used or gone.
pub async fn renew_attempt(
    tx: &mut Tx,
    attempt_id: Uuid,
    expires_at: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.email_verifications set expires_at = $2 where id = $1 and used_at is null",
        attempt_id,
        expires_at
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected() == 1)
}

/// Marks the address as proved and takes over what the sign-up said.
pub async fn update_verified(tx: &mut Tx, attempt: &Attempt, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.users set email_verified_at = $2, name = $3, locale = $4, updated_at = $2 where id = $1",
        attempt.user_id.0,
        now,
        attempt.name,
        attempt.locale.as_str()
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Removes links that expired before `before`, at most `rows`; mails that wait to tell them go with them.
pub async fn delete_expired_attempts(tx: &mut Tx, before: DateTime<Utc>, rows: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"delete from auth.email_verifications where id in (
               select id from auth.email_verifications where expires_at < $1 order by expires_at limit $2 for update skip locked)"#,
        before,
        rows
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
