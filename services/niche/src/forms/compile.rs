//! From the declaration of an entity to its compiled form.

use std::collections::{BTreeMap, HashMap};

use jsonschema::{Draft, PatternOptions};
use serde_json::{Map, Value, json};

use super::{EntityForm, Field, FieldKind, Format, ItemKind, RECORD_BYTES_MAX};
use crate::kits::{Entity, Taxonomy, Text};

pub(super) fn form(
    entity: &Entity,
    taxonomies: &BTreeMap<String, Taxonomy>,
) -> Result<EntityForm, String> {
    let properties = entity.schema["properties"]
        .as_object()
        .ok_or("the form has no properties")?;
    let required: Vec<&str> = entity.schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = Vec::with_capacity(properties.len());
    let mut expanded = Map::new();
    let mut bytes_max = 2;
    for (key, declared) in properties {
        let schema = expand(declared, taxonomies)?;
        bytes_max += key.len() + 4 + field_bytes_max(&schema);
        fields.push(field(
            key,
            declared,
            taxonomies,
            required.contains(&key.as_str()),
        )?);
        expanded.insert(key.clone(), schema);
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": required,
        "properties": expanded,
        "additionalProperties": false,
    });
    let by_key = fields
        .iter()
        .enumerate()
        .map(|(i, f)| (f.key.clone(), i))
        .collect::<HashMap<_, _>>();
    let validator = validator(&schema)?;
    Ok(EntityForm {
        entity: entity.clone(),
        schema,
        fields,
        by_key,
        validator,
        bounded: bytes_max <= RECORD_BYTES_MAX,
    })
}

/// Formats become the `format` keyword and taxonomies become `enum`, both of which the validator knows.
fn expand(declared: &Value, taxonomies: &BTreeMap<String, Taxonomy>) -> Result<Value, String> {
    let mut schema = declared.clone();
    let Some(map) = schema.as_object_mut() else {
        return Ok(schema);
    };
    if let Some(format) = map.get("x-format").cloned() {
        map.insert("format".into(), format);
    }
    if let Some(key) = declared["x-taxonomy"].as_str() {
        let terms = &taxonomies
            .get(key)
            .ok_or_else(|| format!("there is no taxonomy {key:?}"))?
            .terms;
        map.insert(
            "enum".into(),
            terms.iter().map(|term| json!(term.key)).collect(),
        );
    }
    if let Some(items) = declared.get("items") {
        map.insert("items".into(), expand(items, taxonomies)?);
    }
    Ok(schema)
}

fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    let mut options = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        // The engine without backtracking: a pattern of a kit or an overlay cannot make a record expensive.
        .with_pattern_options(PatternOptions::regex());
    for format in Format::ALL {
        options = options.with_format(format.as_str(), move |text: &str| format.accepts(text));
    }
    options.build(schema).map_err(|e| e.to_string())
}

fn field(
    key: &str,
    declared: &Value,
    taxonomies: &BTreeMap<String, Taxonomy>,
    required: bool,
) -> Result<Field, String> {
    let kind = match declared["type"].as_str() {
        Some("string") => FieldKind::Text,
        Some("integer") => FieldKind::Integer,
        Some("number") => FieldKind::Number,
        Some("boolean") => FieldKind::Boolean,
        Some("array") => FieldKind::List(match declared["items"]["type"].as_str() {
            Some("integer") => ItemKind::Integer,
            Some("number") => ItemKind::Number,
            Some("boolean") => ItemKind::Boolean,
            _ => ItemKind::Text,
        }),
        other => return Err(format!("the field {key:?} has the type {other:?}")),
    };
    // For a list the rules of the text stand on its items.
    let of_text = if matches!(kind, FieldKind::List(_)) {
        &declared["items"]
    } else {
        declared
    };
    let label = serde_json::from_value(declared["x-label"].clone()).unwrap_or_else(|_| Text {
        pt_br: key.to_owned(),
        en: key.to_owned(),
    });
    let terms = of_text["x-taxonomy"]
        .as_str()
        .and_then(|t| taxonomies.get(t));
    Ok(Field {
        key: key.to_owned(),
        kind,
        label,
        required,
        format: of_text["x-format"].as_str().and_then(Format::parse),
        terms: terms.map(|t| {
            t.terms
                .iter()
                .map(|term| (term.key.clone(), term.clone()))
                .collect()
        }),
    })
}

/// How long a field can be as JSON text. A character takes six bytes at most: `\u001f`.
fn field_bytes_max(schema: &Value) -> usize {
    match schema["type"].as_str() {
        Some("string") => {
            let characters = schema["maxLength"].as_u64().or_else(|| {
                let options = schema["enum"].as_array()?;
                options
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|s| s.len() as u64)
                    .max()
            });
            let of_format = schema["x-format"]
                .as_str()
                .and_then(Format::parse)
                .map(Format::characters_max);
            let bound = characters.or(of_format).unwrap_or(254);
            2 + 6 * usize::try_from(bound).unwrap_or(usize::MAX / 8)
        }
        Some("array") => {
            let items =
                usize::try_from(schema["maxItems"].as_u64().unwrap_or(1_000)).unwrap_or(1_000);
            2 + items.saturating_mul(1 + field_bytes_max(&schema["items"]))
        }
        _ => 26,
    }
}
