//! The subset of JSON Schema 2020-12 that a form may use.
//!
//! A form is one flat object of scalars and lists of scalars. What is left out is left out for a reason: references and combinators make
//! messages that no user can act on, nested objects have no place in a facet, a CSV column or a label, and a text without a bound is an attack.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::report::{At, Lint};
use crate::forms::Format;

/// More fields than this do not fit on a form, and a record must stay below its size limit.
const FIELDS_MAX: usize = 100;
/// The longest text that a field may admit.
const TEXT_CHARACTERS_MAX: u64 = 20_000;
/// The longest list.
const LIST_ITEMS_MAX: u64 = 1_000;
/// `format` values of JSON Schema that are asserted.
pub(crate) const FORMATS: [&str; 5] = ["date", "date-time", "time", "email", "uuid"];
/// Classes of personal data, as in `tenantry.api.v1.Pii`.
const PII: [&str; 6] = ["EMAIL", "NAME", "PHONE", "TAX_ID", "FREE_TEXT", "SECRET"];

const FIELD_COMMON: &[&str] = &["type", "x-label", "x-help", "x-pii"];
const TEXT_ONLY: &[&str] = &[
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "enum",
    "x-format",
    "x-taxonomy",
];
const NUMBER_ONLY: &[&str] = &["minimum", "maximum", "enum"];
const LIST_ONLY: &[&str] = &["items", "minItems", "maxItems", "uniqueItems"];

/// What later checks need to know of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldFacts {
    /// `string`, `integer`, `number`, `boolean` or `array`.
    pub kind: &'static str,
    /// The longest text of the field, or of an item of the list.
    pub characters_max: u64,
}

/// Lints a form and returns its sound fields.
pub(super) fn form(
    lint: &mut Lint,
    at: &At,
    schema: &Value,
    taxonomies: &BTreeMap<String, Value>,
) -> BTreeMap<String, FieldFacts> {
    let mut facts = BTreeMap::new();
    let Some(root) = lint.object(
        at,
        schema,
        &["type", "required", "properties"],
        &["type", "properties"],
    ) else {
        return facts;
    };
    if root.get("type").is_some_and(|t| t != "object") {
        lint.report(
            &at.key("type"),
            "schema.root",
            "a form is an object",
            "write type: object",
        );
    }
    let Some(Value::Object(properties)) = root.get("properties") else {
        lint.report(
            &at.key("properties"),
            "schema.root",
            "properties is not a mapping",
            "list the fields under properties",
        );
        return facts;
    };
    if properties.is_empty() || properties.len() > FIELDS_MAX {
        let problem = format!("the form has {} fields", properties.len());
        lint.report(
            &at.key("properties"),
            "schema.fields",
            &problem,
            &format!("a form has 1 to {FIELDS_MAX} fields"),
        );
    }
    for (name, field) in properties {
        let here = at.key("properties").key(name);
        lint.name_text(&here, name);
        if let Some(found) = self::field(lint, &here, field, taxonomies) {
            facts.insert(name.clone(), found);
        }
    }
    for (i, name) in lint
        .array(&at.key("required"), root.get("required"))
        .iter()
        .enumerate()
    {
        if !name.as_str().is_some_and(|n| properties.contains_key(n)) {
            let here = at.key("required").index(i);
            lint.report(
                &here,
                "schema.required",
                &format!("{name} is not a field of the form"),
                "name a field that stands under properties",
            );
        }
    }
    facts
}

fn field(
    lint: &mut Lint,
    at: &At,
    field: &Value,
    taxonomies: &BTreeMap<String, Value>,
) -> Option<FieldFacts> {
    let Some(map) = field.as_object() else {
        lint.report(
            at,
            "shape.type",
            "a field is a mapping",
            "write type, x-label and the rules of the field",
        );
        return None;
    };
    match map.get("x-label") {
        None => lint.report(
            at,
            "schema.label",
            "the field has no x-label",
            "add x-label with pt-BR and en",
        ),
        label => lint.text(&at.key("x-label"), label),
    }
    lint.text(&at.key("x-help"), map.get("x-help"));
    if let Some(pii) = map.get("x-pii")
        && !pii.as_str().is_some_and(|p| PII.contains(&p))
    {
        lint.report(
            &at.key("x-pii"),
            "schema.pii",
            &format!("{pii} is not a class of personal data"),
            &format!("known are: {}", PII.join(", ")),
        );
    }
    let facts = typed(lint, at, map, taxonomies)?;
    if facts.kind == "array" {
        return list(lint, at, map, taxonomies);
    }
    Some(facts)
}

/// Checks `type` and the keywords that it admits.
fn typed(
    lint: &mut Lint,
    at: &At,
    map: &Map<String, Value>,
    taxonomies: &BTreeMap<String, Value>,
) -> Option<FieldFacts> {
    let (kind, own): (&'static str, &[&str]) = match map.get("type").and_then(Value::as_str) {
        Some("string") => ("string", TEXT_ONLY),
        Some("integer") => ("integer", NUMBER_ONLY),
        Some("number") => ("number", NUMBER_ONLY),
        Some("boolean") => ("boolean", &[]),
        Some("array") => ("array", LIST_ONLY),
        _ => {
            lint.report(
                &at.key("type"),
                "schema.type",
                "the field has no type that a form knows",
                "use string, integer, number, boolean or array",
            );
            return None;
        }
    };
    for key in map
        .keys()
        .filter(|k| !FIELD_COMMON.contains(&k.as_str()) && !own.contains(&k.as_str()))
    {
        let known: Vec<_> = own.iter().chain(FIELD_COMMON).copied().collect();
        lint.report(
            &at.key(key),
            "schema.keyword",
            &format!("{key:?} is not a keyword of a {kind} field"),
            &format!("known are: {}", known.join(", ")),
        );
    }
    let characters_max = match kind {
        "string" => text(lint, at, map, taxonomies),
        "integer" | "number" => {
            numbers(lint, at, map);
            40
        }
        _ => 5,
    };
    Some(FieldFacts {
        kind,
        characters_max,
    })
}

/// Checks a text and returns its bound.
fn text(
    lint: &mut Lint,
    at: &At,
    map: &Map<String, Value>,
    taxonomies: &BTreeMap<String, Value>,
) -> u64 {
    let mut bound = named_bound(lint, at, map, taxonomies);
    bound = options(lint, at, map).or(bound);
    if let Some(pattern) = lint.string(&at.key("pattern"), map.get("pattern"))
        && let Err(e) = Regex::new(pattern)
    {
        let problem = format!(
            "the pattern does not compile: {}",
            e.to_string().lines().last().unwrap_or_default()
        );
        lint.report(
            &at.key("pattern"),
            "schema.pattern",
            &problem,
            "use a regular expression without look-around and back-references",
        );
    }
    let (_, high) = bounds(lint, at, map, ("minLength", "maxLength"));
    if high.is_some_and(|h| h > TEXT_CHARACTERS_MAX) {
        lint.report(
            &at.key("maxLength"),
            "schema.bounds",
            "the text may be longer than a record can hold",
            &format!("stay at or below {TEXT_CHARACTERS_MAX}"),
        );
    }
    if high.is_none() && bound.is_none() {
        lint.report(
            at,
            "schema.unbounded",
            "the text has no bound",
            "add maxLength, or a format, taxonomy or enum",
        );
    }
    high.or(bound).unwrap_or(TEXT_CHARACTERS_MAX)
}

/// Checks format and taxonomy of a text and returns the bound that they set.
fn named_bound(
    lint: &mut Lint,
    at: &At,
    map: &Map<String, Value>,
    taxonomies: &BTreeMap<String, Value>,
) -> Option<u64> {
    let mut bound = None;
    if let Some(format) = lint.string(&at.key("x-format"), map.get("x-format")) {
        match Format::parse(format) {
            Some(known) => bound = Some(known.characters_max()),
            None => {
                let known = Format::ALL.map(Format::as_str).join(", ");
                lint.report(
                    &at.key("x-format"),
                    "schema.format",
                    &format!("{format:?} is not a format"),
                    &format!("known are: {known}"),
                );
                bound = Some(0);
            }
        }
    }
    if let Some(format) = lint.string(&at.key("format"), map.get("format")) {
        if !FORMATS.contains(&format) {
            lint.report(
                &at.key("format"),
                "schema.format",
                &format!("{format:?} is not a format"),
                &format!("known are: {}", FORMATS.join(", ")),
            );
        }
        bound = Some(if format == "email" { 254 } else { 40 });
    }
    if let Some(key) = lint.string(&at.key("x-taxonomy"), map.get("x-taxonomy")) {
        if !taxonomies.contains_key(key) {
            let known: Vec<_> = taxonomies.keys().map(String::as_str).collect();
            lint.report(
                &at.key("x-taxonomy"),
                "taxonomy.unknown",
                &format!("the kit has no taxonomy {key:?}"),
                &format!("known are: {}", known.join(", ")),
            );
        }
        bound = Some(60);
    }
    if map.contains_key("format") && map.contains_key("x-format") {
        lint.report(
            &at.key("x-format"),
            "schema.format",
            "the field has both format and x-format",
            "keep one of them",
        );
    }
    bound
}

/// Checks `enum` of a text and returns the longest option.
fn options(lint: &mut Lint, at: &At, map: &Map<String, Value>) -> Option<u64> {
    let here = at.key("enum");
    let items = lint.array(&here, map.get("enum"));
    map.get("enum")?;
    if items.is_empty() {
        lint.report(
            &here,
            "schema.enum",
            "the list of values is empty",
            "list the values or remove enum",
        );
    }
    for (i, item) in items.iter().enumerate() {
        lint.string(&here.index(i), Some(item));
    }
    items
        .iter()
        .filter_map(Value::as_str)
        .map(|s| s.chars().count() as u64)
        .max()
}

fn numbers(lint: &mut Lint, at: &At, map: &Map<String, Value>) {
    let number = |key: &str| map.get(key).map(|v| v.as_f64());
    for key in ["minimum", "maximum"] {
        if number(key) == Some(None) {
            lint.report(
                &at.key(key),
                "schema.bounds",
                &format!("{key} is not a number"),
                "write a number",
            );
        }
    }
    if let (Some(Some(low)), Some(Some(high))) = (number("minimum"), number("maximum"))
        && low > high
    {
        lint.report(at, "schema.bounds", "minimum is above maximum", "swap them");
    }
}

/// Checks a pair of counting bounds.
fn bounds(
    lint: &mut Lint,
    at: &At,
    map: &Map<String, Value>,
    (low_key, high_key): (&str, &str),
) -> (Option<u64>, Option<u64>) {
    let mut read = |key: &str| {
        let value = map.get(key)?;
        let number = value.as_u64();
        if number.is_none() {
            lint.report(
                &at.key(key),
                "schema.bounds",
                &format!("{key} is not a whole number"),
                "write 0 or more",
            );
        }
        number
    };
    let (low, high) = (read(low_key), read(high_key));
    if let (Some(l), Some(h)) = (low, high)
        && l > h
    {
        lint.report(
            at,
            "schema.bounds",
            &format!("{low_key} is above {high_key}"),
            "swap them",
        );
    }
    (low, high)
}

fn list(
    lint: &mut Lint,
    at: &At,
    map: &Map<String, Value>,
    taxonomies: &BTreeMap<String, Value>,
) -> Option<FieldFacts> {
    let (_, high) = bounds(lint, at, map, ("minItems", "maxItems"));
    match high {
        None => lint.report(
            at,
            "schema.unbounded",
            "the list has no bound",
            "add maxItems",
        ),
        Some(h) if h > LIST_ITEMS_MAX => {
            lint.report(
                &at.key("maxItems"),
                "schema.bounds",
                "the list may be longer than a record can hold",
                &format!("stay at or below {LIST_ITEMS_MAX}"),
            );
        }
        Some(_) => {}
    }
    if map.get("uniqueItems").is_some_and(|v| !v.is_boolean()) {
        lint.report(
            &at.key("uniqueItems"),
            "shape.type",
            "uniqueItems is true or false",
            "write true",
        );
    }
    let here = at.key("items");
    let Some(Value::Object(items)) = map.get("items") else {
        lint.report(
            &here,
            "schema.type",
            "the list does not say what its items are",
            "add items with a type",
        );
        return None;
    };
    let facts = typed(lint, &here, items, taxonomies)?;
    if facts.kind == "array" {
        lint.report(
            &here.key("type"),
            "schema.type",
            "a list of lists has no place on a form",
            "use a list of texts, numbers or booleans",
        );
        return None;
    }
    Some(FieldFacts {
        kind: "array",
        ..facts
    })
}
