//! The table of kits: what this database has seen, so that a released version cannot change under its tenants.

use std::collections::BTreeMap;
use std::sync::Arc;

use db::Tx;
use kernel::{Error, RequestContext, Result};
use serde_json::Value;

use super::{Kit, LoadedKit};
use crate::App;

/// Notes the shipped kits. A version that was noted with other content is refused, all of them at once; with `may_replace` (a developer's
/// machine) it is replaced instead.
pub async fn sync(app: &App, ctx: &RequestContext, may_replace: bool) -> Result<()> {
    let mut tx = app
        .db
        .across_tenants(ctx, "kits belong to the product")
        .await?;
    let known = list_checksums(&mut tx).await?;
    let stored = |kit: &LoadedKit| known.get(&(kit.kit.key.clone(), kit.kit.version.to_string()));
    let changed: Vec<&LoadedKit> = app
        .kits
        .all()
        .filter(|kit| stored(kit).is_some_and(|checksum| *checksum != kit.checksum))
        .collect();
    if !changed.is_empty() && !may_replace {
        let names: Vec<String> = changed
            .iter()
            .map(|kit| format!("{} {}", kit.kit.key, kit.kit.version))
            .collect();
        let message = format!(
            "kits differ from what this database has seen under the same version: {}; a released version never changes, so give the change a new version",
            names.join(", ")
        );
        return Err(Error::precondition("niche.kit_changed", message));
    }
    for kit in changed
        .iter()
        .copied()
        .chain(app.kits.all().filter(|kit| stored(kit).is_none()))
    {
        upsert_kit(&mut tx, app, kit).await?;
        tracing::info!(kit = kit.kit.key, version = %kit.kit.version, replaced = stored(kit).is_some(), "kit noted");
    }
    tx.commit().await
}

/// Reads a version of a kit that this build does not ship any more.
pub async fn find_kit(tx: &mut Tx, key: &str, version: &str) -> Result<Option<Arc<Kit>>> {
    let manifest = sqlx::query_scalar!(
        r#"select manifest as "manifest: Value" from niche.kits where key = $1 and version = $2"#,
        key,
        version
    )
    .fetch_optional(tx.conn())
    .await
    .map_err(db::classify)?;
    let read = |manifest| {
        serde_json::from_value(manifest)
            .map(Arc::new)
            .map_err(|e| Error::internal(e).context("while reading a stored kit"))
    };
    manifest.map(read).transpose()
}

async fn list_checksums(tx: &mut Tx) -> Result<BTreeMap<(String, String), String>> {
    let rows = sqlx::query!("select key, version, checksum from niche.kits")
        .fetch_all(tx.conn())
        .await
        .map_err(db::classify)?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.key, row.version), row.checksum))
        .collect())
}

/// Of two processes that start at once the second finds the row of the first, with the same content.
async fn upsert_kit(tx: &mut Tx, app: &App, kit: &LoadedKit) -> Result<()> {
    sqlx::query!(
        "insert into niche.kits (key, version, manifest, checksum, synced_at) values ($1, $2, $3, $4, $5)
         on conflict (key, version) do update set manifest = excluded.manifest, checksum = excluded.checksum, synced_at = excluded.synced_at",
        kit.kit.key,
        kit.kit.version.to_string(),
        kit.manifest,
        kit.checksum,
        app.clock.now(),
    )
    .execute(tx.conn())
    .await
    .map_err(db::classify)?;
    Ok(())
}
