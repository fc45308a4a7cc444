//! SQL of sessions.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{ClientInfo, Result, SessionId, TenantId, UserId};
use uuid::Uuid;

use super::Session;

/// A session to insert.
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// Now.
    pub created_at: DateTime<Utc>,
    /// When it ends however often it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// The tenant that it starts in.
    pub tenant_id: Option<TenantId>,
    /// Keyed hash of the network.
    pub network_key: Vec<u8>,
}

/// Stores a session.
pub async fn insert_session(tx: &mut Tx, new: &NewSession, client: &ClientInfo) -> Result<()> {
    sqlx::query!(
        r#"insert into auth.sessions (id, user_id, created_at, expires_at, last_tenant, ip, network_key, user_agent)
           values ($1, $2, $3, $4, $5, $6, $7, $8)"#,
        new.id.0,
        new.user_id.0,
        new.created_at,
        new.expires_at,
        new.tenant_id.map(|id| id.0),
        client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
        new.network_key,
        client.user_agent
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// The session, held until the transaction ends: whatever mints or revokes its tokens comes here first.
pub async fn hold(tx: &mut Tx, session_id: SessionId) -> Result<Option<Session>> {
    sqlx::query_as!(
        Session,
        "select expires_at, revoked_at from auth.sessions where id = $1 for update",
        session_id.0
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Ends one session and every refresh token of it; nothing changes when it has ended already.
pub async fn revoke(
    tx: &mut Tx,
    session_id: SessionId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    hold(tx, session_id).await?;
    end(tx, &[session_id.0], reason, now).await
}

/// Ends every session of a person. Locks them in the order of their ids, so that two callers cannot wait for each other in a circle.
pub async fn revoke_all(
    tx: &mut Tx,
    user_id: UserId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let live = sqlx::query_scalar!("select id from auth.sessions where user_id = $1 and revoked_at is null order by id for update", user_id.0)
        .fetch_all(tx.conn())
        .await
        .map_err(db::classify)?;
    end(tx, &live, reason, now).await
}

async fn end(tx: &mut Tx, sessions: &[Uuid], reason: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.sessions set revoked_at = $2, revoked_reason = $3 where id = any($1) and revoked_at is null",
        sessions,
        now,
        reason
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!("update auth.refresh_tokens set revoked_at = $2 where session_id = any($1) and revoked_at is null", sessions, now)
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(())
}

/// The tenant that a person used last.
pub async fn find_last_tenant(tx: &mut Tx, user_id: UserId) -> Result<Option<Uuid>> {
    let row = sqlx::query_scalar!(
        "select last_tenant from auth.users where id = $1",
        user_id.0
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(row.flatten())
}

/// Remembers the tenant for the next sign-in.
pub async fn update_last_tenant(
    tx: &mut Tx,
    user_id: UserId,
    tenant_id: Option<TenantId>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update auth.users set last_tenant = $2, updated_at = $3 where id = $1 and $2::uuid is not null and last_tenant is distinct from $2",
        user_id.0,
        tenant_id.map(|id| id.0),
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Remembers the tenant that a session is in; true when it was another one.
pub async fn update_session_tenant(
    tx: &mut Tx,
    session_id: SessionId,
    tenant_id: TenantId,
) -> Result<bool> {
    let done = sqlx::query!(
        "update auth.sessions set last_tenant = $2 where id = $1 and last_tenant is distinct from $2",
        session_id.0,
        tenant_id.0
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected() == 1)
}

/// Removes sessions that ended before `before`, at most `rows`; their refresh tokens go with them.
pub async fn delete_ended(tx: &mut Tx, before: DateTime<Utc>, rows: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"delete from auth.sessions where id in (
               select id from auth.sessions where expires_at < $1 order by expires_at limit $2 for update skip locked)"#,
        before,
        rows
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
