//! The SQL of niches and overlays.

use db::Tx;
use kernel::{Error, Result};
use serde_json::Value;
use uuid::Uuid;

use super::Niche;
use super::effective::Overlay;

/// Inserts a niche; `false` when the tenant has it already.
pub async fn insert_niche(tx: &mut Tx, niche: &Niche, activated_by: Option<Uuid>) -> Result<bool> {
    let done = sqlx::query!(
        "insert into niche.niches (tenant_id, key, kit, kit_version, status, activated_at, activated_by)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (tenant_id, key) do nothing",
        tx.tenant_id().uuid(),
        niche.key,
        niche.kit,
        niche.kit_version,
        niche.status,
        niche.activated_at,
        activated_by,
    )
    .execute(tx.conn())
    .await
    .map_err(|error| match db::foreign_key_violation(&error) {
        Some("niches_kit_fkey") => Error::unavailable("the shipped kits have not been noted in the database yet", error),
        _ => db::classify(error),
    })?;
    Ok(done.rows_affected() == 1)
}

/// Reads a niche.
pub async fn find_niche(tx: &mut Tx, key: &str) -> Result<Option<Niche>> {
    sqlx::query_as!(Niche, "select key, kit, kit_version, status, overlay_revision, activated_at from niche.niches where key = $1 and tenant_id = $2", key, tx.tenant_id().uuid())
        .fetch_optional(tx.conn())
        .await
        .map_err(db::classify)
}

/// Lists niches after a key.
pub async fn list_niches(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Niche>> {
    sqlx::query_as!(
        Niche,
        "select key, kit, kit_version, status, overlay_revision, activated_at from niche.niches where key > $1 and tenant_id = $3 order by key limit $2",
        after,
        limit,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}

/// Lists the overlays of a niche.
pub async fn list_overlays(tx: &mut Tx, niche: &str) -> Result<Vec<Overlay>> {
    sqlx::query_as!(
        Overlay,
        r#"select object_kind, object_key, patch as "patch: Value" from niche.niche_overlays where niche = $1 and tenant_id = $2 order by object_kind, object_key"#,
        niche,
        tx.tenant_id().uuid(),
    )
    .fetch_all(tx.conn())
    .await
    .map_err(db::classify)
}
