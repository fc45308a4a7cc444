//! What a request may carry: everything has a limit, and personal data is declared.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind};

use super::Problem;
use crate::contract::surface::{Surface, is_foreign};

/// Every text, list, map and byte string of a request has a limit of its own.
///
/// A text is bounded by a length, a list of values, a pattern, or a format whose texts are short.
pub fn request_fields_are_bounded(surface: &Surface) -> Vec<Problem> {
    let mut found = Vec::new();
    for message in surface.request_messages() {
        for field in message.fields() {
            let rules = surface.rules(&field);
            if let Some(text) = missing_bound(&field, rules.as_ref()) {
                found.push(Problem::of_field(
                    &field,
                    "request-fields-are-bounded",
                    text,
                ));
            }
        }
    }
    found
}

fn missing_bound(field: &FieldDescriptor, rules: Option<&DynamicMessage>) -> Option<String> {
    if field.is_map() {
        let map = rules.and_then(|rules| inner(rules, "map"));
        if !map
            .as_ref()
            .is_some_and(|map| map.has_field_by_name("max_pairs"))
        {
            return Some("a map needs `map.max_pairs`".to_owned());
        }
        let entry = field.kind().as_message().cloned()?;
        let side = |name: &str, kind: Kind| {
            let rules = map.as_ref().and_then(|map| inner(map, name));
            missing_scalar_bound(&kind, rules.as_ref()).map(|text| format!("map {name}: {text}"))
        };
        return side("keys", entry.map_entry_key_field().kind())
            .or_else(|| side("values", entry.map_entry_value_field().kind()));
    }
    if field.is_list() {
        let repeated = rules.and_then(|rules| inner(rules, "repeated"));
        if !repeated
            .as_ref()
            .is_some_and(|repeated| repeated.has_field_by_name("max_items"))
        {
            return Some("a list needs `repeated.max_items`".to_owned());
        }
        let items = repeated.and_then(|repeated| inner(&repeated, "items"));
        return missing_scalar_bound(&field.kind(), items.as_ref())
            .map(|text| format!("each item: {text}"));
    }
    missing_scalar_bound(&field.kind(), rules)
}

fn missing_scalar_bound(kind: &Kind, rules: Option<&DynamicMessage>) -> Option<String> {
    const TEXT_BOUNDS: [&str; 15] = [
        "const",
        "len",
        "max_len",
        "len_bytes",
        "max_bytes",
        "in",
        "pattern",
        "uuid",
        "tuuid",
        "email",
        "hostname",
        "ip",
        "ipv4",
        "ipv6",
        "address",
    ];
    let bounded = |name: &str, bounds: &[&str]| {
        let found = rules.and_then(|rules| inner(rules, name));
        found.is_some_and(|found| bounds.iter().any(|bound| is_set(&found, bound)))
    };
    match kind {
        Kind::String if !bounded("string", &TEXT_BOUNDS) => {
            Some("a text needs a limit: `max_len`, `in`, `pattern`, `uuid` or `email`".to_owned())
        }
        Kind::Bytes if !bounded("bytes", &["const", "len", "max_len", "in"]) => {
            Some("bytes need `max_len`".to_owned())
        }
        _ => None,
    }
}

fn inner(rules: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    rules
        .has_field_by_name(name)
        .then(|| rules.get_field_by_name(name)?.as_message().cloned())
        .flatten()
}

/// Set and not switched off: `uuid: false` bounds nothing.
fn is_set(rules: &DynamicMessage, name: &str) -> bool {
    rules.has_field_by_name(name)
        && rules
            .get_field_by_name(name)
            .is_some_and(|value| value.as_bool() != Some(false))
}

/// A field whose name says that it holds personal data or a secret carries the `pii` option: redaction follows from it.
pub fn personal_data_is_declared(surface: &Surface) -> Vec<Problem> {
    let mut found = Vec::new();
    for message in surface
        .messages
        .iter()
        .filter(|message| !is_foreign(message))
    {
        for field in message.fields() {
            if matches!(field.kind(), Kind::String | Kind::Bytes)
                && sounds_personal(field.name())
                && surface.pii(&field).is_none()
            {
                let text = "the name says that this is personal or secret; declare `(tenantry.api.v1.pii)`";
                found.push(Problem::of_field(&field, "personal-data-is-declared", text));
            }
        }
    }
    found
}

fn sounds_personal(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "email",
        "password",
        "token",
        "secret",
        "phone",
        "tax_id",
        "cpf",
        "cnpj",
        "credential",
        "api_key",
    ];
    WORDS.iter().any(|word| {
        name == *word
            || name
                .strip_suffix(word)
                .is_some_and(|rest| rest.ends_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check_with, service};
    use super::*;

    #[track_caller]
    fn check(request: &str, expected: &[&str]) {
        check_with(&service("", request), request_fields_are_bounded, expected);
    }

    #[test]
    fn texts_need_a_limit() {
        check(
            "string a = 1;",
            &["proto/sample/v1/sample.proto:15: sample.v1.GetThingRequest.a: a text needs a limit"],
        );
        check(
            "string a = 1 [(buf.validate.field).string.min_len = 1];",
            &["a text needs a limit"],
        );
        check(
            "string a = 1 [(buf.validate.field).string.uuid = false];",
            &["a text needs a limit"],
        );
        for rule in [
            "max_len = 9",
            "pattern = \"^a$\"",
            "uuid = true",
            "email = true",
            "in = \"a\"",
        ] {
            check(
                &format!("string a = 1 [(buf.validate.field).string.{rule}];"),
                &[],
            );
        }
        check("optional string a = 1;", &["a text needs a limit"]);
        check("int32 a = 1; bool b = 2;", &[]);
    }

    #[test]
    fn lists_maps_and_bytes_need_a_limit() {
        check(
            "repeated int32 a = 1;",
            &["a list needs `repeated.max_items`"],
        );
        check(
            "repeated string a = 1 [(buf.validate.field).repeated.max_items = 2];",
            &["each item: a text needs a limit"],
        );
        check(
            "repeated string a = 1 [(buf.validate.field).repeated = {max_items: 2 items: {string: {max_len: 3}}}];",
            &[],
        );
        check(
            "map<string, string> a = 1;",
            &["a map needs `map.max_pairs`"],
        );
        check(
            "map<string, int32> a = 1 [(buf.validate.field).map.max_pairs = 2];",
            &["map keys: a text needs a limit"],
        );
        check(
            "map<int32, string> a = 1 [(buf.validate.field).map = {max_pairs: 2 values: {string: {max_len: 3}}}];",
            &[],
        );
        check("bytes a = 1;", &["bytes need `max_len`"]);
        check("bytes a = 1 [(buf.validate.field).bytes.max_len = 3];", &[]);
    }

    #[test]
    fn nested_messages_are_checked_and_foreign_ones_are_not() {
        check(
            "message Inner { string x = 1; } Inner a = 1;",
            &["GetThingRequest.Inner.x: a text needs a limit"],
        );
        check("google.api.HttpBody a = 1;", &[]);
    }

    #[test]
    fn personal_names_are_declared() {
        let found = |request: &str, expected: &[&str]| {
            check_with(&service("", request), personal_data_is_declared, expected)
        };
        found("string owner_email = 1;", &["owner_email: the name says"]);
        found(
            "string owner_email = 1 [(tenantry.api.v1.pii) = EMAIL];",
            &[],
        );
        found("string access_token = 1;", &["access_token"]);
        found("string token_type = 1; string mail = 2;", &[]);
    }
}
