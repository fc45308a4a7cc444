//! Kits and configurations as messages.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kernel::{Error, Result};
use proto::niche::v1 as pb;

use crate::forms::EntityForm;
use crate::kits::{Kit, Taxonomy, Text};
use crate::niches::{Effective, Origin};

/// A text in both languages.
pub fn text_to_proto(text: &Text) -> pb::LocalizedText {
    pb::LocalizedText {
        pt_br: text.pt_br.clone(),
        en: text.en.clone(),
    }
}

/// A time with the microseconds that the database keeps.
pub fn time_to_proto(time: DateTime<Utc>) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos,
    }
}

/// A kit in one line of a list.
pub fn kit_summary(kit: &Kit) -> pb::KitSummary {
    pb::KitSummary {
        key: kit.key.clone(),
        version: kit.version.to_string(),
        name: Some(text_to_proto(&kit.name)),
        description: Some(text_to_proto(&kit.description)),
        icon: kit.icon.clone(),
    }
}

/// A kit as it ships.
pub fn kit(kit: &Kit) -> Result<pb::Kit> {
    let compile = |key: &String| {
        let form = EntityForm::compile(&kit.entities[key], &kit.taxonomies)
            .map_err(|e| Error::internal(e).context("while compiling a form"))?;
        entity(kit, key, (&form, Origin::Kit))
    };
    Ok(pb::Kit {
        key: kit.key.clone(),
        version: kit.version.to_string(),
        name: Some(text_to_proto(&kit.name)),
        description: Some(text_to_proto(&kit.description)),
        icon: kit.icon.clone(),
        entities: kit.entities.keys().map(compile).collect::<Result<_>>()?,
    })
}

/// What a tenant has in a niche.
pub fn niche_config(effective: &Effective) -> Result<pb::NicheConfig> {
    let kit = &effective.kit;
    let entities = effective
        .entities
        .iter()
        .map(|(key, e)| entity(kit, key, (&e.form, e.origin)))
        .collect::<Result<_>>()?;
    Ok(pb::NicheConfig {
        niche: effective.niche.clone(),
        kit: kit.key.clone(),
        kit_version: kit.version.to_string(),
        entities,
        taxonomies: taxonomies(&effective.taxonomies),
    })
}

fn entity(kit: &Kit, key: &str, (form, origin): (&EntityForm, Origin)) -> Result<pb::Entity> {
    let schema = proto::Document::from_value(&form.schema)
        .map_err(|e| Error::internal(e).context("while encoding a form"))?;
    let facets = form.entity.facets.iter().map(|facet| pb::Facet {
        key: facet.key.clone(),
        field: facet.field.clone(),
        name: Some(text_to_proto(&facet.name)),
    });
    let mappings = form
        .entity
        .import_mappings
        .iter()
        .map(|mapping| pb::ImportMapping {
            key: mapping.key.clone(),
            format: mapping.format.clone(),
            columns: mapping
                .columns
                .iter()
                .map(|c| pb::ColumnMapping {
                    column: c.column.clone(),
                    field: c.field.clone(),
                })
                .collect(),
        });
    Ok(pb::Entity {
        key: key.to_owned(),
        name: Some(text_to_proto(&form.entity.name)),
        schema: Some(schema),
        facets: facets.collect(),
        import_mappings: mappings.collect(),
        natural_key: form.entity.natural_key.clone().unwrap_or_default(),
        provenance: Some(pb::Provenance {
            kit: kit.key.clone(),
            version: kit.version.to_string(),
            object_key: key.to_owned(),
            origin: origin.as_str().to_owned(),
        }),
    })
}

fn taxonomies(all: &BTreeMap<String, Taxonomy>) -> Vec<pb::Taxonomy> {
    all.iter()
        .map(|(key, taxonomy)| pb::Taxonomy {
            key: key.clone(),
            name: Some(text_to_proto(&taxonomy.name)),
            terms: taxonomy
                .terms
                .iter()
                .map(|term| pb::Term {
                    key: term.key.clone(),
                    label: Some(text_to_proto(&term.label)),
                })
                .collect(),
        })
        .collect()
}
