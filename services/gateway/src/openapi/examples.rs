//! Examples of bodies, put together from the examples of their fields.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::texts;

/// An example body from the `Example: …` comments; `None` when a field that must be set has none.
pub fn of(message: &MessageDescriptor, without: &[String]) -> Option<Value> {
    let mut body = Map::new();
    for field in message
        .fields()
        .filter(|field| !without.iter().any(|name| name == field.name()))
    {
        let example = texts::of(&field.parent_file(), field.path()).example;
        let nested = match field.kind() {
            Kind::Message(inner)
                if !field.is_list()
                    && !field.is_map()
                    && !inner.full_name().starts_with("google.") =>
            {
                of(&inner, &[])
            }
            _ => None,
        };
        match example.or(nested) {
            Some(example) if field.is_list() && !example.is_array() => {
                body.insert(field.json_name().to_owned(), Value::Array(vec![example]));
            }
            // An optional part is left out of an example: it is often an alternative to what is there.
            Some(example)
                if !field.supports_presence()
                    || field
                        .kind()
                        .as_message()
                        .is_some_and(|m| m.full_name().starts_with("google.")) =>
            {
                body.insert(field.json_name().to_owned(), example);
            }
            Some(_) => {}
            None if super::rules::of(&field).required => return None,
            None => {}
        }
    }
    (!body.is_empty()).then_some(Value::Object(body))
}
