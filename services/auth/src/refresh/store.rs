//! SQL of refresh tokens. Only hashes are stored.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{RequestContext, Result, SessionId, TenantId, UserId};
use sqlx::FromRow;
use uuid::Uuid;

use super::Link;
use crate::App;

/// Where a token belongs; none of it ever changes.
pub struct Origin {
    /// Whose it is.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// The tenant that it is bound to.
    pub tenant_id: Option<TenantId>,
}

/// The first link of a chain.
pub struct First {
    /// The row.
    pub id: Uuid,
    /// The chain.
    pub family_id: Uuid,
    /// Of the token.
    pub hash: Vec<u8>,
    /// The session.
    pub session_id: SessionId,
    /// The tenant.
    pub tenant_id: Option<TenantId>,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct OriginRow {
    user_id: Uuid,
    session_id: Uuid,
    bound_tenant: Option<Uuid>,
}

/// Where the token with this hash belongs.
pub async fn find_origin(app: &App, ctx: &RequestContext, hash: &[u8]) -> Result<Option<Origin>> {
    let row: Option<OriginRow> = app
        .db
        .read(
            ctx,
            "select s.user_id, r.session_id, r.bound_tenant from auth.refresh_tokens r join auth.sessions s on s.id = r.session_id where r.hash = $1",
        )
        .bind(hash.to_vec())
        .optional()
        .await?;
    Ok(row.map(|row| Origin {
        user_id: UserId(row.user_id),
        session_id: SessionId(row.session_id),
        tenant_id: row.bound_tenant.map(TenantId),
    }))
}

/// The link with this hash and the one that follows it. The session must be held.
pub async fn get_with_successor(tx: &mut Tx, hash: &[u8]) -> Result<(Link, Option<Link>)> {
    let mut links = sqlx::query_as!(
        Link,
        r#"select r.id, r.family_id, r.generation, r.expires_at, r.used_at, r.revoked_at
           from auth.refresh_tokens p
           join auth.refresh_tokens r on r.family_id = p.family_id and r.generation in (p.generation, p.generation + 1)
           where p.hash = $1
           order by r.generation"#,
        hash
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)?
    .into_iter();
    // The sweep may have removed an expired link a moment ago.
    let link = links
        .next()
        .ok_or_else(crate::access_tokens::invalid_token)?;
    Ok((link, links.next()))
}

/// Uses up a link and puts its successor in place; `(now, expires)`.
pub async fn rotate(
    tx: &mut Tx,
    link: &Link,
    next_id: Uuid,
    next_hash: &[u8],
    times: (DateTime<Utc>, DateTime<Utc>),
) -> Result<()> {
    sqlx::query!(
        "update auth.refresh_tokens set used_at = $2 where id = $1 and used_at is null",
        link.id,
        times.0
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!(
        r#"insert into auth.refresh_tokens (id, hash, family_id, generation, session_id, bound_tenant, created_at, expires_at)
           select $2, $3, family_id, generation + 1, session_id, bound_tenant, $4, $5 from auth.refresh_tokens where id = $1"#,
        link.id,
        next_id,
        next_hash,
        times.0,
        times.1
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Stores the first link of a chain.
pub async fn insert_first(tx: &mut Tx, first: &First, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"insert into auth.refresh_tokens (id, hash, family_id, generation, session_id, bound_tenant, created_at, expires_at)
           values ($1, $2, $3, 0, $4, $5, $6, $7)"#,
        first.id,
        first.hash,
        first.family_id,
        first.session_id.0,
        first.tenant_id.map(|id| id.0),
        now,
        first.expires_at
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Ends the live leaf of a session in a tenant, if there is one.
pub async fn revoke_chain(
    tx: &mut Tx,
    session_id: SessionId,
    tenant_id: Option<TenantId>,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"update auth.refresh_tokens set revoked_at = $3
           where session_id = $1 and bound_tenant is not distinct from $2 and used_at is null and revoked_at is null"#,
        session_id.0,
        tenant_id.map(|id| id.0),
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Removes links that expired before `before`, at most `rows`.
pub async fn delete_expired(tx: &mut Tx, before: DateTime<Utc>, rows: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"delete from auth.refresh_tokens where id in (
               select id from auth.refresh_tokens where expires_at < $1 order by expires_at limit $2 for update skip locked)"#,
        before,
        rows
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
