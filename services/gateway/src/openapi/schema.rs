//! Messages as JSON Schemas.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{rules, texts};

/// Schemas under `#/components/schemas`, each message once. What a client sends and what it gets differ in which members are required.
#[derive(Default)]
pub struct Schemas(BTreeMap<String, Value>);

/// Whether a schema describes what is sent or what is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    /// What stands around `data` in an answer.
    Envelope,
    /// What stands in `data`. `fields` may leave any of it out, so no member is required there, and a generator of clients finds in
    /// `x-always-present` what is there without `fields`.
    Data,
}

impl Schemas {
    /// All of them.
    pub fn finish(self) -> Map<String, Value> {
        self.0.into_iter().collect()
    }

    /// A reference to the schema of a message, which is made if it is new.
    pub fn reference(&mut self, message: &MessageDescriptor, side: Side) -> Value {
        let name = format!(
            "{}.{}",
            message.package_name().split('.').next().unwrap_or_default(),
            message.name()
        );
        if !self.0.contains_key(&name) {
            self.0.insert(name.clone(), Value::Null);
            let schema = self.object(message, &[], side);
            self.0.insert(name.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// The schema of a message without the fields named in `without`.
    pub fn object(&mut self, message: &MessageDescriptor, without: &[String], side: Side) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message
            .fields()
            .filter(|field| !without.iter().any(|name| name == field.name()))
        {
            let always_answered = field.is_list() || field.is_map() || !field.supports_presence();
            let (is_required, inner) = match side {
                Side::Request => (rules::of(&field).required, Side::Request),
                Side::Envelope if field.name() == "data" => (true, Side::Data),
                Side::Envelope | Side::Data => (always_answered, side),
            };
            if is_required {
                required.push(field.json_name().to_owned());
            }
            let mut property = self.field(&field, inner);
            if side == Side::Request && !is_required {
                allow_null(&mut property);
            }
            properties.insert(field.json_name().to_owned(), property);
        }
        let mut schema = json!({"type": "object"});
        let comment = texts::of(&message.parent_file(), message.path()).whole();
        if !comment.is_empty() {
            schema["description"] = comment.into();
        }
        if !required.is_empty() {
            let keyword = match side {
                Side::Request | Side::Envelope => "required",
                Side::Data => "x-always-present",
            };
            schema[keyword] = required.into();
        }
        if !properties.is_empty() {
            schema["properties"] = properties.into();
        }
        if side == Side::Request {
            schema["additionalProperties"] = false.into();
        }
        schema
    }

    /// The schema of a field: type, rules, comment, example.
    pub fn field(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        let mut schema = if field.is_map() {
            let value = field
                .kind()
                .as_message()
                .map(|entry| self.kind(&entry.map_entry_value_field(), side));
            json!({"type": "object", "additionalProperties": value})
        } else if field.is_list() {
            json!({"type": "array", "items": self.kind(field, side)})
        } else {
            self.kind(field, side)
        };
        merge(&mut schema, rules::of(field).keywords);
        let comment = texts::of(&field.parent_file(), field.path());
        let text = comment.whole();
        if !text.is_empty() {
            schema["description"] = text.into();
        }
        if let Some(example) = comment.example {
            schema["examples"] = match (&example, field.is_list()) {
                (Value::Array(_), _) | (_, false) => json!([example]),
                (_, true) => json!([[example]]),
            };
        }
        schema
    }

    fn kind(&mut self, field: &FieldDescriptor, side: Side) -> Value {
        match field.kind() {
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => {
                json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
            }
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "integer", "format": "int64"})
            }
            Kind::Enum(declared) => {
                json!({"type": "string", "enum": declared.values().map(|value| value.name().to_owned()).collect::<Vec<_>>()})
            }
            Kind::Message(message) => self.message(&message, side),
        }
    }

    fn message(&mut self, message: &MessageDescriptor, side: Side) -> Value {
        match message.full_name() {
            "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
            "google.protobuf.Duration" => {
                json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$"})
            }
            "google.protobuf.FieldMask" => json!({"type": "string"}),
            "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
            "google.protobuf.Value" => json!({}),
            "google.protobuf.ListValue" => json!({"type": "array", "items": {}}),
            _ => self.reference(message, side),
        }
    }
}

/// In a request `null` is absence, so it may stand for whatever may be absent.
fn allow_null(schema: &mut Value) {
    let Some(known) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(words)) = known.get_mut("enum") {
        words.push(Value::Null);
    }
    if let Some(kind) = known.get("type").cloned() {
        known.insert("type".to_owned(), json!([kind, "null"]));
    } else if let Some(reference) = known.remove("$ref") {
        known.insert(
            "anyOf".to_owned(),
            json!([{"$ref": reference}, {"type": "null"}]),
        );
    }
}

/// Merges the keywords of rules; those of `items` go to the items.
fn merge(schema: &mut Value, mut keywords: Map<String, Value>) {
    if let Some(Value::Object(items)) = keywords.remove("items")
        && let Some(Value::Object(known)) = schema.get_mut("items")
    {
        known.extend(items);
    }
    if let Value::Object(known) = schema {
        known.extend(keywords);
    }
}
