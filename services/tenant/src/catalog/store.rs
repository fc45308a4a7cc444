//! The SQL of the catalogue.

use chrono::{DateTime, Utc};
use db::Tx;
use kernel::Result;
use serde_json::json;

use super::Catalog;

const NAME: &str = "catalog";

/// Reads the digest of the stored catalogue; two seeds at once go one after the other.
pub async fn lock_digest(tx: &mut Tx) -> Result<Option<String>> {
    sqlx::query_scalar!(
        r#"select pg_advisory_xact_lock(hashtext('tenant.catalog'))::text as "locked""#
    )
    .fetch_one(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query_scalar!(
        "select digest from tenant.seed_history where name = $1",
        NAME
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)
}

/// Remembers what was seeded.
pub async fn upsert_digest(tx: &mut Tx, digest: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "insert into tenant.seed_history (name, digest, applied_at) values ($1, $2, $3)
         on conflict (name) do update set digest = excluded.digest, applied_at = excluded.applied_at",
        NAME,
        digest,
        now,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

/// Makes the tables say what the catalogue says; what it no longer names is retired.
pub async fn replace_catalog(tx: &mut Tx, catalog: &Catalog, now: DateTime<Utc>) -> Result<()> {
    for tool in &catalog.tools {
        sqlx::query!(
            "insert into tenant.tools (key, name, status, updated_at) values ($1, $2, 'active', $3)
             on conflict (key) do update set name = excluded.name, status = 'active', updated_at = excluded.updated_at",
            tool.key,
            json!(tool.name),
            now,
        )
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
        for action in &tool.actions {
            sqlx::query!(
                "insert into tenant.tool_actions (key, tool_key, name, description, status, updated_at)
                 values ($1, $2, $3, $4, 'active', $5)
                 on conflict (key) do update set tool_key = excluded.tool_key, name = excluded.name,
                     description = excluded.description, status = 'active', updated_at = excluded.updated_at",
                action.key,
                tool.key,
                json!(action.name),
                json!(action.description),
                now,
            )
            .execute(tx.conn())
            .await
            .map_err(db::classify)?;
        }
    }
    for package in &catalog.packages {
        sqlx::query!(
            "insert into tenant.packages (key, name, status, updated_at) values ($1, $2, 'active', $3)
             on conflict (key) do update set name = excluded.name, status = 'active', updated_at = excluded.updated_at",
            package.key,
            json!(package.name),
            now,
        )
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    }
    replace_compositions(tx, catalog).await?;
    retire_unnamed(tx, catalog, now).await
}

async fn replace_compositions(tx: &mut Tx, catalog: &Catalog) -> Result<()> {
    let pairs = || {
        catalog.packages.iter().flat_map(|package| {
            package
                .actions
                .iter()
                .map(move |action| (package.key.clone(), action.clone()))
        })
    };
    let (packages, actions): (Vec<String>, Vec<String>) = pairs().unzip();
    sqlx::query!(
        "delete from tenant.package_actions p
         where not exists (select 1 from unnest($1::text[], $2::text[]) as u(package_key, action_key)
                           where (u.package_key, u.action_key) = (p.package_key, p.action_key))",
        &packages,
        &actions,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!(
        "insert into tenant.package_actions (package_key, action_key)
         select * from unnest($1::text[], $2::text[]) on conflict do nothing",
        &packages,
        &actions,
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}

async fn retire_unnamed(tx: &mut Tx, catalog: &Catalog, now: DateTime<Utc>) -> Result<()> {
    let tools: Vec<String> = catalog.tools.iter().map(|tool| tool.key.clone()).collect();
    let actions: Vec<String> = catalog
        .tools
        .iter()
        .flat_map(|tool| &tool.actions)
        .map(|action| action.key.clone())
        .collect();
    let packages: Vec<String> = catalog
        .packages
        .iter()
        .map(|package| package.key.clone())
        .collect();
    sqlx::query!("update tenant.tools set status = 'retired', updated_at = $2 where status = 'active' and key <> all($1)", &tools, now)
        .execute(tx.conn())
        .await
        .map_err(db::classify)?;
    sqlx::query!(
        "update tenant.tool_actions set status = 'retired', updated_at = $2 where status = 'active' and key <> all($1)",
        &actions,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    sqlx::query!(
        "update tenant.packages set status = 'retired', updated_at = $2 where status = 'active' and key <> all($1)",
        &packages,
        now
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}
