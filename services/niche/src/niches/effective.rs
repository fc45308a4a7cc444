//! Kit plus overlay: what a tenant really has, with the provenance of each object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::forms::EntityForm;
use crate::kits::{Entity, Kit, Taxonomy};
use crate::merge;

/// Tenants with an overlay of their own take one entry each; a compiled kit is about 200 KiB.
const CACHE_ENTRIES: u64 = 500;
/// Tenants and niches of which is remembered what was seen last, about 200 bytes each.
const SEEN_ENTRIES: u64 = 20_000;
/// A configuration that nobody has used for an hour makes room.
const CACHE_IDLE: Duration = Duration::from_secs(3_600);

/// Owner of the overlay (nil without one), kit, version and overlay revision: together they never mean something else.
type Key = (Uuid, String, String, i32);

/// What decides which configuration a niche has, as it was when somebody last looked. Believed only by a statement that compares it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub kit: String,
    pub kit_version: String,
    pub overlay_revision: i32,
}

/// Compiled configurations. Cloning is cheap.
#[derive(Clone)]
pub struct Effectives {
    compiled: Cache<Key, Arc<Effective>>,
    /// By tenant and niche.
    seen: Cache<(Uuid, String), Arc<Seen>>,
}

impl Default for Effectives {
    fn default() -> Self {
        let compiled = Cache::builder().max_capacity(CACHE_ENTRIES);
        let seen = Cache::builder().max_capacity(SEEN_ENTRIES);
        Self {
            compiled: compiled.time_to_idle(CACHE_IDLE).build(),
            seen: seen.time_to_idle(CACHE_IDLE).build(),
        }
    }
}

impl Effectives {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Effective>> {
        self.compiled.get(key)
    }

    pub(super) fn insert(&self, key: Key, effective: Arc<Effective>) {
        self.compiled.insert(key, effective);
    }

    pub(super) fn seen(&self, tenant_id: Uuid, niche: &str) -> Option<Arc<Seen>> {
        self.seen.get(&(tenant_id, niche.to_owned()))
    }

    pub(super) fn note(&self, tenant_id: Uuid, niche: &str, seen: Seen) {
        self.seen
            .insert((tenant_id, niche.to_owned()), Arc::new(seen));
    }
}

/// The tenant's edit of one object: a JSON merge patch.
#[derive(Clone, Debug)]
pub struct Overlay {
    pub object_kind: String,
    pub object_key: String,
    pub patch: Value,
}

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kit, unchanged.
    Kit,
    /// The kit with the tenant's edits, or the tenant alone.
    Tenant,
}

impl Origin {
    /// `kit` or `tenant`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kit => "kit",
            Self::Tenant => "tenant",
        }
    }
}

/// What a tenant has in one niche.
#[derive(Debug)]
pub struct Effective {
    pub niche: String,
    pub kit: Arc<Kit>,
    pub entities: BTreeMap<String, EffectiveEntity>,
    pub taxonomies: BTreeMap<String, Taxonomy>,
}

#[derive(Clone, Debug)]
pub struct EffectiveEntity {
    pub form: Arc<EntityForm>,
    pub origin: Origin,
}

impl Effective {
    /// Merges a kit with overlays and compiles its forms.
    pub fn merge(niche: &str, kit: &Arc<Kit>, overlays: &[Overlay]) -> Result<Self, String> {
        let taxonomies: BTreeMap<String, Taxonomy> = merged(&kit.taxonomies, overlays, "taxonomy")?
            .into_iter()
            .map(|(key, (value, _))| (key, value))
            .collect();
        let mut entities = BTreeMap::new();
        for (key, (entity, origin)) in merged::<Entity>(&kit.entities, overlays, "entity")? {
            let form = EntityForm::compile(&entity, &taxonomies)
                .map_err(|e| format!("entity {key}: {e}"))?;
            entities.insert(
                key,
                EffectiveEntity {
                    form: Arc::new(form),
                    origin,
                },
            );
        }
        Ok(Self {
            niche: niche.to_owned(),
            kit: Arc::clone(kit),
            entities,
            taxonomies,
        })
    }
}

/// The objects of a kind with their overlays applied. A patch of null removes the object.
fn merged<T>(
    objects: &BTreeMap<String, T>,
    overlays: &[Overlay],
    kind: &str,
) -> Result<BTreeMap<String, (T, Origin)>, String>
where
    T: Clone + Serialize + DeserializeOwned,
{
    let mut all: BTreeMap<String, (T, Origin)> = objects
        .iter()
        .map(|(k, v)| (k.clone(), (v.clone(), Origin::Kit)))
        .collect();
    for overlay in overlays.iter().filter(|o| o.object_kind == kind) {
        let explain = |e: serde_json::Error| format!("{kind} {}: {e}", overlay.object_key);
        let mut value = match all.get(&overlay.object_key) {
            Some((object, _)) => serde_json::to_value(object).map_err(explain)?,
            None => Value::Null,
        };
        merge::apply(&mut value, &overlay.patch);
        if value.is_null() {
            all.remove(&overlay.object_key);
        } else {
            all.insert(
                overlay.object_key.clone(),
                (
                    serde_json::from_value(value).map_err(explain)?,
                    Origin::Tenant,
                ),
            );
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use kernel::Locale;
    use serde_json::json;

    use super::*;
    use crate::kits::Kits;

    #[test]
    fn the_tenants_edits_change_the_form_and_show_in_the_provenance() {
        let kit = Kits::embedded()
            .unwrap()
            .get("software-catalog", "")
            .unwrap();
        let overlay = Overlay {
            object_kind: "entity".into(),
            object_key: "packages".into(),
            patch: json!({"schema": {"properties": {
                "homepage": null,
                "licence": {"type": "string", "maxLength": 40, "x-label": {"pt-BR": "Licença", "en": "Licence"}},
            }}}),
        };
        let plain = Effective::merge("software-catalog", &kit, &[]).unwrap();
        let edited = Effective::merge("software-catalog", &kit, &[overlay]).unwrap();
        let record = json!({"name": "redis", "licence": "BSD-3-Clause"});
        assert_eq!(
            plain.entities["packages"].form.check(&record, Locale::En)[0].rule,
            "unknown_field"
        );
        assert_eq!(
            edited.entities["packages"].form.check(&record, Locale::En),
            []
        );
        assert_eq!(
            edited.entities["packages"]
                .form
                .check(&json!({"name": "a", "homepage": "https://a.b"}), Locale::En)
                .len(),
            1
        );
        assert_eq!(
            (
                plain.entities["packages"].origin,
                edited.entities["packages"].origin
            ),
            (Origin::Kit, Origin::Tenant)
        );
        assert_eq!(
            kit.entities["packages"].schema["properties"]["licence"],
            Value::Null,
            "the kit itself is never written"
        );
    }
}
