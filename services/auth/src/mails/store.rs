//! SQL of the mail queue.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::{Locale, Result, UserId};
use uuid::Uuid;

use super::Mail;

/// A mail that is due, with what it needs of the person.
pub struct Due {
    pub id: Uuid,
    pub kind: String,
    pub verification_id: Option<Uuid>,
    pub tenant_name: Option<String>,
    pub attempts: i32,
    pub email: String,
    pub locale: String,
}

impl Due {
    /// The language of the person.
    pub fn locale(&self) -> Locale {
        if self.locale == Locale::PtBr.as_str() {
            Locale::PtBr
        } else {
            Locale::En
        }
    }
}

/// Queues a mail, in the transaction that wants it.
pub async fn enqueue(tx: &mut Tx, id: Uuid, mail: &Mail, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"insert into auth.mails (id, kind, user_id, verification_id, tenant_name, created_at, next_attempt_at)
           values ($1, $2, $3, $4, $5, $6, $6)"#,
        id,
        mail.kind.as_str(),
        mail.user_id.0,
        mail.verification_id,
        mail.tenant_name,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Mails to one person since `since`.
pub async fn count_since(tx: &mut Tx, user_id: UserId, since: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from auth.mails where user_id = $1 and created_at > $2"#,
        user_id.0,
        since
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)
}

/// Takes mails that are due, oldest first, and counts the attempt.
pub async fn claim(tx: &mut Tx, now: DateTime<Utc>, rows: i64) -> Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"update auth.mails m set attempts = m.attempts + 1
           from auth.users u
           where u.id = m.user_id and m.id in (
               select id from auth.mails where sent_at is null and next_attempt_at <= $1 order by next_attempt_at limit $2 for update skip locked)
           returning m.id, m.kind, m.verification_id, m.tenant_name, m.attempts, u.email, u.locale"#,
        now,
        rows
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Leaves a mail alone until `at`.
pub async fn update_next_attempt(tx: &mut Tx, id: Uuid, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update auth.mails set next_attempt_at = $2 where id = $1",
        id,
        at
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Notes that a mail has left.
pub async fn update_sent(tx: &mut Tx, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("update auth.mails set sent_at = $2 where id = $1", id, now)
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(())
}

/// Removes mails made before `before`, sent or not, at most `rows`.
pub async fn delete_sent(tx: &mut Tx, before: DateTime<Utc>, rows: i64) -> Result<u64> {
    let done = sqlx::query!(
        "delete from auth.mails where id in (select id from auth.mails where created_at < $1 order by created_at limit $2 for update skip locked)",
        before,
        rows
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
