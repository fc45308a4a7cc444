//! `buf.validate` rules as JSON Schema keywords.

use prost_reflect::{DynamicMessage, FieldDescriptor, Value as Declared};
use serde_json::{Map, Value, json};

/// What the rules of a field say.
#[derive(Default)]
pub struct Rules {
    /// Keywords to merge into the schema of the field.
    pub keywords: Map<String, Value>,
    /// Whether the field must be set.
    pub required: bool,
}

/// Reads the rules of a field.
pub fn of(field: &FieldDescriptor) -> Rules {
    let mut rules = Rules::default();
    let Some(extension) = field
        .parent_pool()
        .get_extension_by_name("buf.validate.field")
    else {
        return rules;
    };
    let options = field.options();
    if !options.has_extension(&extension) {
        return rules;
    }
    if let Declared::Message(message) = options.get_extension(&extension).as_ref() {
        rules.required = matches!(
            message.get_field_by_name("required").as_deref(),
            Some(Declared::Bool(true))
        );
        rules.keywords = keywords(message);
        // A text that must have a character, or match a pattern that the empty text does not, cannot be left out.
        let needs_text = rules
            .keywords
            .get("minLength")
            .and_then(Value::as_u64)
            .unwrap_or(0)
            > 0
            || rules.keywords.contains_key("pattern")
            || rules.keywords.contains_key("format");
        let lists = rules
            .keywords
            .get("minItems")
            .and_then(Value::as_u64)
            .unwrap_or(0)
            > 0;
        rules.required |= !field.supports_presence() && (needs_text || lists);
    }
    rules
}

fn keywords(rules: &DynamicMessage) -> Map<String, Value> {
    let mut out = Map::new();
    for (kind, value) in rules.fields() {
        let Declared::Message(inner) = value else {
            continue;
        };
        match kind.name() {
            "string" => string(inner, &mut out),
            "repeated" => repeated(inner, &mut out),
            "int32" | "int64" | "uint32" | "uint64" | "float" | "double" => number(inner, &mut out),
            _ => {}
        }
    }
    out
}

fn string(rules: &DynamicMessage, out: &mut Map<String, Value>) {
    for (rule, value) in rules.fields() {
        let (keyword, value) = match (rule.name(), value) {
            ("min_len", Declared::U64(n)) => ("minLength", json!(n)),
            ("max_len", Declared::U64(n)) => ("maxLength", json!(n)),
            ("pattern", Declared::String(pattern)) => ("pattern", json!(pattern)),
            ("email", Declared::Bool(true)) => ("format", json!("email")),
            ("uuid", Declared::Bool(true)) => ("format", json!("uuid")),
            ("uri", Declared::Bool(true)) => ("format", json!("uri")),
            ("in", Declared::List(values)) => (
                "enum",
                values
                    .iter()
                    .filter_map(|value| value.as_str().map(Value::from))
                    .collect(),
            ),
            _ => continue,
        };
        out.insert(keyword.to_owned(), value);
    }
}

fn number(rules: &DynamicMessage, out: &mut Map<String, Value>) {
    for (rule, value) in rules.fields() {
        let keyword = match rule.name() {
            "gte" => "minimum",
            "lte" => "maximum",
            "gt" => "exclusiveMinimum",
            "lt" => "exclusiveMaximum",
            _ => continue,
        };
        let value = match value {
            Declared::I32(n) => json!(n),
            Declared::I64(n) => json!(n),
            Declared::U32(n) => json!(n),
            Declared::U64(n) => json!(n),
            Declared::F32(n) => json!(n),
            Declared::F64(n) => json!(n),
            _ => continue,
        };
        out.insert(keyword.to_owned(), value);
    }
}

fn repeated(rules: &DynamicMessage, out: &mut Map<String, Value>) {
    for (rule, value) in rules.fields() {
        match (rule.name(), value) {
            ("min_items", Declared::U64(n)) => out.insert("minItems".to_owned(), json!(n)),
            ("max_items", Declared::U64(n)) => out.insert("maxItems".to_owned(), json!(n)),
            ("unique", Declared::Bool(true)) => out.insert("uniqueItems".to_owned(), json!(true)),
            ("items", Declared::Message(items)) => {
                out.insert("items".to_owned(), keywords(items).into())
            }
            _ => None,
        };
    }
}
