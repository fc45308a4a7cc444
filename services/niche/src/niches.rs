//! The niches of a tenant: which kits it has activated, and what they come to together with its own edits.

mod effective;
mod store;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use db::cursor::Scope;
use db::{AuditEntry, Once, Tx};
use kernel::{Error, Page, PageRequest, RequestContext, Result};
use proto::niche::v1 as pb;
use serde_json::json;
use uuid::Uuid;

use crate::App;
use crate::forms::EntityForm;
use crate::kits::{Kit, store as kit_store};
pub use effective::{Effective, EffectiveEntity, Effectives, Origin, Seen};

/// An activated kit.
#[derive(Clone, Debug)]
pub struct Niche {
    pub key: String,
    pub kit: String,
    pub kit_version: String,
    /// `active` or `inactive`.
    pub status: String,
    pub overlay_revision: i32,
    pub activated_at: DateTime<Utc>,
}

/// Activates a kit for the tenant.
///
/// Activating an active kit changes nothing and answers the niche as it is, also when a newer version has come out since. Naming another version
/// than the active one is `STATE_CONFLICT`: that is an upgrade. An unknown kit or version is `NOT_FOUND`. Emits `niche.activated`.
pub async fn activate_niche(
    app: &App,
    ctx: &RequestContext,
    input: &pb::ActivateNicheRequest,
) -> Result<pb::ActivateNicheResponse> {
    let kit = app.kits.get(&input.kit, &input.version)?;
    let mut tx = match app.db.once::<pb::ActivateNicheResponse>(ctx, input).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Fresh(tx) => tx,
    };
    let wanted = Niche {
        key: kit.key.clone(),
        kit: kit.key.clone(),
        kit_version: kit.version.to_string(),
        status: "active".to_owned(),
        overlay_revision: 0,
        activated_at: app.clock.now(),
    };
    if !store::insert_niche(&mut tx, &wanted, ctx.principal().id()).await? {
        let active = store::find_niche(&mut tx, &wanted.key)
            .await?
            .ok_or_else(niche_not_found)?;
        if !input.version.is_empty() && active.kit_version != wanted.kit_version {
            let message =
                "the kit is active in another version; activating does not change the version";
            return Err(Error::precondition("niche.version_differs", message)
                .with_detail("activeVersion", &active.kit_version));
        }
        let answer = pb::ActivateNicheResponse {
            data: Some(to_proto(app, &active)),
        };
        tx.commit_with(&answer).await?;
        return Ok(answer);
    }
    tx.emit(
        &wanted.key,
        &pb::NicheActivated {
            niche: wanted.key.clone(),
            kit: wanted.kit.clone(),
            kit_version: wanted.kit_version.clone(),
        },
    )?;
    tx.audit(
        AuditEntry::new("niches.activate", "niche", &wanted.key)
            .with(json!({"kit": wanted.kit, "kitVersion": wanted.kit_version})),
    )?;
    let answer = pb::ActivateNicheResponse {
        data: Some(to_proto(app, &wanted)),
    };
    tx.commit_with(&answer).await?;
    Ok(answer)
}

/// Lists the tenant's niches by key.
pub async fn list_niches(
    app: &App,
    ctx: &RequestContext,
    page: &PageRequest,
) -> Result<Page<Niche>> {
    let scope = Scope::new(ctx.method(), &());
    let after: Option<String> = app.sealer.open(ctx, &scope, &page.cursor)?;
    let mut tx = app.db.tenant(ctx).await?;
    let rows = store::list_niches(&mut tx, &after.unwrap_or_default(), page.rows_to_read()).await?;
    tx.commit().await?;
    Page::cut(rows, page, |niche| app.sealer.seal(ctx, &scope, &niche.key))
}

/// Reads the effective configuration of an active niche.
pub async fn get_niche_config(
    app: &App,
    ctx: &RequestContext,
    key: &str,
) -> Result<Arc<Effective>> {
    let mut tx = app.db.tenant(ctx).await?;
    let effective = effective(app, &mut tx, key)
        .await?
        .ok_or_else(niche_not_found)?;
    tx.commit().await?;
    Ok(effective)
}

/// The compiled form of an entity of an active niche. `NOT_FOUND` for a niche that the tenant has not activated and for an unknown entity.
pub async fn form(app: &App, tx: &mut Tx, niche: &str, entity: &str) -> Result<Arc<EntityForm>> {
    let effective = effective(app, tx, niche)
        .await?
        .ok_or_else(entity_not_found)?;
    let entity = effective
        .entities
        .get(entity)
        .ok_or_else(entity_not_found)?;
    Ok(Arc::clone(&entity.form))
}

/// Whether an active niche (kit, version, overlay revision) has an entity, as far as memory tells: `false` when it has to be looked up.
/// Fails like [`form`].
pub fn has_entity(
    app: &App,
    ctx: &RequestContext,
    niche: Option<(String, String, i32)>,
    entity: &str,
) -> Result<bool> {
    let (kit, version, revision) = niche.ok_or_else(entity_not_found)?;
    let owner = owner(revision, ctx.require_tenant()?.uuid());
    match app.effective.get(&(owner, kit, version, revision)) {
        None => Ok(false),
        Some(effective) if effective.entities.contains_key(entity) => Ok(true),
        Some(_) => Err(entity_not_found()),
    }
}

/// The form of an entity, and what it belongs to, as far as memory tells. Whoever uses it makes sure that the niche still is what was seen.
pub fn remembered(
    app: &App,
    ctx: &RequestContext,
    niche: &str,
    entity: &str,
) -> Option<(Arc<Seen>, Arc<EntityForm>)> {
    let tenant_id = ctx.tenant_id()?.uuid();
    let seen = app.effective.seen(tenant_id, niche)?;
    let cache_key = (
        owner(seen.overlay_revision, tenant_id),
        seen.kit.clone(),
        seen.kit_version.clone(),
        seen.overlay_revision,
    );
    let effective = app.effective.get(&cache_key)?;
    let form = Arc::clone(&effective.entities.get(entity)?.form);
    Some((seen, form))
}

/// Without an overlay all tenants share one compiled configuration.
fn owner(overlay_revision: i32, tenant_id: Uuid) -> Uuid {
    match overlay_revision {
        0 => Uuid::nil(),
        _ => tenant_id,
    }
}

/// The effective configuration of an active niche of the transaction's tenant; compiled once per kit version and overlay.
pub async fn effective(app: &App, tx: &mut Tx, key: &str) -> Result<Option<Arc<Effective>>> {
    let Some(niche) = store::find_niche(tx, key)
        .await?
        .filter(|n| n.status == "active")
    else {
        return Ok(None);
    };
    let tenant_id = tx.tenant_id().uuid();
    let seen = Seen {
        kit: niche.kit.clone(),
        kit_version: niche.kit_version.clone(),
        overlay_revision: niche.overlay_revision,
    };
    app.effective.note(tenant_id, key, seen);
    let cache_key = (
        owner(niche.overlay_revision, tenant_id),
        niche.kit.clone(),
        niche.kit_version.clone(),
        niche.overlay_revision,
    );
    if let Some(found) = app.effective.get(&cache_key) {
        return Ok(Some(found));
    }
    let kit = shipped_or_stored(app, tx, &niche).await?;
    let overlays = if niche.overlay_revision == 0 {
        Vec::new()
    } else {
        store::list_overlays(tx, key).await?
    };
    let merged = Arc::new(
        Effective::merge(&niche.key, &kit, &overlays)
            .map_err(|e| Error::internal(e).context("while merging kit and overlay"))?,
    );
    app.effective.insert(cache_key, Arc::clone(&merged));
    Ok(Some(merged))
}

/// A tenant may be on a version that this build does not ship any more.
async fn shipped_or_stored(app: &App, tx: &mut Tx, niche: &Niche) -> Result<Arc<Kit>> {
    match app.kits.get(&niche.kit, &niche.kit_version) {
        Ok(kit) => Ok(kit),
        Err(_) => kit_store::find_kit(tx, &niche.kit, &niche.kit_version)
            .await?
            .ok_or_else(|| {
                Error::internal(format!(
                    "kit {} {} is active and nowhere to be found",
                    niche.kit, niche.kit_version
                ))
            }),
    }
}

/// A niche as clients see it.
pub fn to_proto(app: &App, niche: &Niche) -> pb::Niche {
    let name = app
        .kits
        .get(&niche.kit, &niche.kit_version)
        .or_else(|_| app.kits.get(&niche.kit, ""))
        .ok();
    pb::Niche {
        key: niche.key.clone(),
        kit: niche.kit.clone(),
        kit_version: niche.kit_version.clone(),
        name: name.map(|kit| crate::grpc::text_to_proto(&kit.name)),
        status: niche.status.clone(),
        activated_at: Some(crate::grpc::time_to_proto(niche.activated_at)),
    }
}

fn niche_not_found() -> Error {
    Error::not_found(
        "niche.niche_not_found",
        "you have no such active niche; GET /v1/niches lists yours",
    )
}

fn entity_not_found() -> Error {
    Error::not_found(
        "niche.entity_not_found",
        "none of your active niches has such an entity; GET /v1/niches lists yours",
    )
}
