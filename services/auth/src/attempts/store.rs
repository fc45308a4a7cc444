//! SQL of the sign-in counters.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::Result;

use super::Counter;

/// Whether the person with this address has signed in from this network since `since`.
pub async fn knows_network(
    tx: &mut Tx,
    email: &str,
    network_key: &[u8],
    since: DateTime<Utc>,
) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select 1 from auth.sessions s join auth.users u on u.id = s.user_id
               where u.email = $1 and s.network_key = $2 and s.created_at > $3
           ) as "known!""#,
        email,
        network_key,
        since
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)
}

/// Makes counters that do not exist yet; in the order of the keys, like [`hold`], so that two sign-ins never wait for each other in a circle.
pub async fn insert_missing(tx: &mut Tx, keys: &[Vec<u8>], now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"insert into auth.login_attempts (key, attempts, window_ends_at)
           select k, 0, $2 from unnest($1::bytea[]) as k order by k
           on conflict (key) do nothing"#,
        keys,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// The counters, held until the transaction ends.
pub async fn hold(tx: &mut Tx, keys: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, Counter)>> {
    let rows = sqlx::query!(
        "select key, attempts, window_ends_at, blocked_until from auth.login_attempts where key = any($1) order by key for update",
        keys
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)?;
    let counter = |attempts, window_ends_at, blocked_until| Counter {
        attempts,
        window_ends_at,
        blocked_until,
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                row.key,
                counter(row.attempts, row.window_ends_at, row.blocked_until),
            )
        })
        .collect())
}

/// Stores counters that are held.
pub async fn update(tx: &mut Tx, counters: &[(Vec<u8>, Counter)]) -> Result<()> {
    let keys: Vec<Vec<u8>> = counters.iter().map(|(key, _)| key.clone()).collect();
    let attempts: Vec<i32> = counters
        .iter()
        .map(|(_, counter)| counter.attempts)
        .collect();
    let windows: Vec<DateTime<Utc>> = counters
        .iter()
        .map(|(_, counter)| counter.window_ends_at)
        .collect();
    let blocked: Vec<Option<DateTime<Utc>>> = counters
        .iter()
        .map(|(_, counter)| counter.blocked_until)
        .collect();
    sqlx::query!(
        r#"update auth.login_attempts a set attempts = n.attempts, window_ends_at = n.window_ends_at, blocked_until = n.blocked_until
           from unnest($1::bytea[], $2::int[], $3::timestamptz[], $4::timestamptz[]) as n (key, attempts, window_ends_at, blocked_until)
           where a.key = n.key"#,
        &keys,
        &attempts,
        &windows,
        &blocked as &[Option<DateTime<Utc>>]
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Forgets counters.
pub async fn delete(tx: &mut Tx, keys: &[Vec<u8>]) -> Result<()> {
    sqlx::query!("delete from auth.login_attempts where key = any($1)", keys)
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(())
}

/// Removes counters whose window ended before `before`, at most `rows`.
pub async fn delete_ended(tx: &mut Tx, before: DateTime<Utc>, rows: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"delete from auth.login_attempts where key in (
               select key from auth.login_attempts where window_ends_at < $1 order by window_ends_at limit $2 for update skip locked)"#,
        before,
        rows
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(done.rows_affected())
}
