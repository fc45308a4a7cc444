//! SQL of the state that a credential stands for, and of access changes.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{RequestContext, Result, TenantId};
use sqlx::FromRow;
use uuid::Uuid;

use crate::App;
use crate::access_tokens::Subject;
use crate::sessions::Session;

/// What the database says about a credential's person, session and tenant.
#[derive(Debug, FromRow)]
pub struct State {
    pub user_status: String,
    pub platform_role: Option<String>,
    pub session_expires_at: DateTime<Utc>,
    pub session_revoked_at: Option<DateTime<Utc>>,
    pub last_tenant: Option<Uuid>,
    pub tenant_status: Option<String>,
    pub membership_status: Option<String>,
    pub roles: Vec<String>,
    pub granted: Vec<String>,
    pub entitled: Vec<String>,
}

impl State {
    /// The session's part.
    pub fn session(&self) -> Session {
        Session {
            expires_at: self.session_expires_at,
            revoked_at: self.session_revoked_at,
        }
    }
}

/// What makes cached contexts stale: those that match every id that is set. None set means all contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Only contexts in this tenant.
    pub tenant_id: Option<Uuid>,
    /// Only contexts of this person.
    pub actor_id: Option<Uuid>,
    /// Only contexts of this session.
    pub session_id: Option<Uuid>,
}

/// Changes, and the sequence that a reader has seen with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Ask for what comes after this.
    pub sequence: i64,
    /// In commit order, each with its sequence.
    pub changes: Vec<(i64, Change)>,
}

/// Changes told at once; a reader that is further behind asks again.
const CHANGES_MAX: i64 = 1_000;

/// The present state, by one statement in one round trip: this runs for every credential about once a minute.
pub async fn find_state(
    app: &App,
    ctx: &RequestContext,
    subject: &Subject,
    tenant_id: Option<TenantId>,
) -> Result<Option<State>> {
    app.db
        .read(
            ctx,
            "select u.status as user_status, u.platform_role, s.expires_at as session_expires_at, s.revoked_at as session_revoked_at,
                 s.last_tenant, a.tenant_status, a.membership_status,
                 coalesce(a.roles, '{}') as roles, coalesce(a.granted, '{}') as granted, coalesce(a.entitled, '{}') as entitled
             from auth.users u
             join auth.sessions s on s.id = $2 and s.user_id = u.id
             left join lateral auth.access_of(u.id, $3) a on true
             where u.id = $1",
        )
        .bind(subject.user_id.0)
        .bind(subject.session_id.0)
        .bind(tenant_id.map(|id| id.0))
        .optional()
        .await
}

/// Notes a change and tells it to whoever listens, at commit. Call it last: it makes writers of changes queue up until they commit.
pub async fn record(tx: &mut Tx, change: Change, now: DateTime<Utc>) -> Result<()> {
    sqlx::query_scalar!(
        "select auth.record_access_change($1, $2, $3, $4)",
        change.tenant_id,
        change.actor_id,
        change.session_id,
        now
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// The sequence of the latest change. There always is one: the migration wrote the first.
pub async fn latest_change(tx: &mut Tx) -> Result<i64> {
    sqlx::query_scalar!(r#"select coalesce(max(seq), 0) as "seq!" from auth.access_changes"#)
        .fetch_one(tx.conn())
        .await
        .map_err(db::classify)
}

/// Changes after `after`, which is not 0. When some were swept since, or the numbers started anew, one change that matches all.
pub async fn changes_after(tx: &mut Tx, after: i64) -> Result<News> {
    // `after` itself is read too: while it is there, nothing behind it has been swept.
    let rows = sqlx::query!(
        "select seq, about_tenant, about_actor, about_session from auth.access_changes where seq >= $1 order by seq limit $2",
        after,
        CHANGES_MAX
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)?;
    if rows.first().is_none_or(|row| row.seq != after) {
        let sequence = latest_change(tx).await?;
        return Ok(News {
            sequence,
            changes: vec![(sequence, Change::default())],
        });
    }
    let sequence = rows.last().map_or(after, |row| row.seq);
    let changes = rows
        .into_iter()
        .skip(1)
        .map(|row| {
            (
                row.seq,
                Change {
                    tenant_id: row.about_tenant,
                    actor_id: row.about_actor,
                    session_id: row.about_session,
                },
            )
        })
        .collect();
    Ok(News { sequence, changes })
}

/// Removes changes from before `before`, except the newest one: it tells a reader how far it has come.
pub async fn delete_old_changes(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    let done = sqlx::query!(
        "delete from auth.access_changes where created_at < $1 and seq < (select max(seq) from auth.access_changes)",
        before
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
