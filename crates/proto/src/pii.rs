//! Which fields hold personal data or secrets, and how they are taken out of what is logged.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;

use crate::generated::pii_table;

/// What kind of personal data a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An e-mail address.
    Email,
    /// A person's name.
    Name,
    /// A telephone number.
    Phone,
    /// A number that a tax office gives.
    TaxId,
    /// Text or data that a person wrote: anything can be in it.
    FreeText,
    /// Passwords, tokens and keys: never stored in clear, never logged, not even masked.
    Secret,
}

impl Class {
    /// The word that stands in for a redacted value, for example `[email]`.
    pub const fn mask(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Name => "[name]",
            Self::Phone => "[phone]",
            Self::TaxId => "[tax_id]",
            Self::FreeText => "[free_text]",
            Self::Secret => "[secret]",
        }
    }
}

/// One field that holds personal data.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The full name of the message.
    pub message: &'static str,
    /// The name of the field in the contract (snake case).
    pub field: &'static str,
    /// What it holds.
    pub class: Class,
}

/// Every such field of the contract, sorted by message and field.
pub static FIELDS: &[Field] = pii_table::FIELDS;

/// What a field holds, by the full name of the message and the name of the field in the contract.
pub fn class_of(message: &str, field: &str) -> Option<Class> {
    FIELDS
        .binary_search_by(|row| (row.message, row.field).cmp(&(message, field)))
        .ok()
        .map(|found| FIELDS[found].class)
}

/// Whether a field holds personal data or a secret.
pub fn is_pii(message: &str, field: &str) -> bool {
    class_of(message, field).is_some()
}

/// Replaces every value of personal data in the JSON form of a message by the name of its class.
///
/// Members may be in the JSON or in the contract's spelling. What the contract does not know is replaced as well: a stray member of a
/// request can hold anything. A message that is not in the contract is replaced as a whole.
pub fn redact_json(message: &str, value: &mut Value) {
    match crate::pool().get_message_by_name(message) {
        Some(descriptor) => redact_message(&descriptor, value),
        None => *value = Value::from("[unknown]"),
    }
}

fn redact_message(descriptor: &MessageDescriptor, value: &mut Value) {
    // The well-known types have JSON forms of their own (a time is a string); what they hold is judged by the field that holds them.
    if descriptor.full_name().starts_with("google.protobuf.") {
        return;
    }
    let Value::Object(members) = value else {
        if !value.is_null() {
            *value = Value::from("[unknown]");
        }
        return;
    };
    for (key, member) in members.iter_mut() {
        let field = descriptor
            .get_field_by_json_name(key)
            .or_else(|| descriptor.get_field_by_name(key));
        let Some(field) = field else {
            *member = Value::from("[unknown]");
            continue;
        };
        if member.is_null() {
            continue;
        }
        if let Some(class) = class_of(descriptor.full_name(), field.name()) {
            *member = Value::from(class.mask());
            continue;
        }
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                if let (Kind::Message(inner), Value::Object(entries)) =
                    (entry.map_entry_value_field().kind(), member)
                {
                    entries
                        .values_mut()
                        .for_each(|entry| redact_message(&inner, entry));
                }
            }
            Kind::Message(inner) => match member {
                Value::Array(items) if field.is_list() => items
                    .iter_mut()
                    .for_each(|item| redact_message(&inner, item)),
                one => redact_message(&inner, one),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(message: &str, mut input: Value, expected: &Value) {
        redact_json(message, &mut input);
        assert_eq!(&input, expected);
    }

    #[test]
    fn fields_are_sorted_and_found() {
        assert!(FIELDS.is_sorted_by(|a, b| (a.message, a.field) < (b.message, b.field)));
        assert_eq!(
            class_of("auth.v1.LoginRequest", "password"),
            Some(Class::Secret)
        );
        assert!(is_pii("auth.v1.Me", "email"));
        assert!(!is_pii("auth.v1.Me", "id"));
        assert!(!is_pii("auth.v1.Nobody", "email"));
    }

    #[test]
    fn redaction_reaches_nested_messages_in_both_spellings() {
        check(
            "auth.v1.LoginResponse",
            json!({"data": {"accessToken": "x", "refresh_token": "y", "expiresIn": 900, "tenantId": null}}),
            &json!({"data": {"accessToken": "[secret]", "refresh_token": "[secret]", "expiresIn": 900, "tenantId": null}}),
        );
        check(
            "search.v1.SearchResponse",
            json!({"data": [{"recordId": "1", "title": "Ana"}, {"highlight": "b"}], "meta": {"degraded": false}}),
            &json!({"data": [{"recordId": "1", "title": "[free_text]"}, {"highlight": "[free_text]"}], "meta": {"degraded": false}}),
        );
        check(
            "tenant.v1.CreateTenantRequest",
            json!({"slug": "a", "adminUser": {"email": "ana@example.com", "name": "Ana"}}),
            &json!({"slug": "a", "adminUser": {"email": "[email]", "name": "[name]"}}),
        );
    }

    #[test]
    fn what_the_contract_does_not_know_is_replaced() {
        check(
            "auth.v1.LoginRequest",
            json!({"pasword": "typo"}),
            &json!({"pasword": "[unknown]"}),
        );
        check("auth.v1.Nobody", json!({"a": 1}), &json!("[unknown]"));
        check(
            "auth.v1.LoginResponse",
            json!({"data": "secret"}),
            &json!({"data": "[unknown]"}),
        );
    }

    #[test]
    fn whole_structures_of_free_text_are_replaced_and_times_stay() {
        check(
            "niche.v1.Record",
            json!({"id": "1", "data": {"cpf": "1"}, "createdAt": "2026-01-01T00:00:00Z"}),
            &json!({"id": "1", "data": "[free_text]", "createdAt": "2026-01-01T00:00:00Z"}),
        );
    }
}
