//! What a request must satisfy: the `buf.validate` rules, checked by generated code.

use std::collections::BTreeMap;

use prost_protovalidate::Validate;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path in the names of the contract, for example `admin_user.email` or `filters[0].facet`.
    pub field: String,
    /// A stable id that keys the localised text: `required`, `string.min_len`, `string.email`, `number.gte_lte`, `repeated.max_items`.
    ///
    /// Numeric rules have the same id for every numeric type, and a rule that an empty value breaks has the id of the rule itself.
    pub rule: String,
    /// In English: what is wrong and how to mend it. Never contains the value.
    pub message: String,
    /// Parameters of the localised text: `min`, `max`, `len`, `allowed`, `pattern`, `value`, as far as the rules of the field name them.
    pub params: BTreeMap<String, String>,
}

/// Every rule that a message breaks, nested messages included; empty when it is valid.
///
/// Free of reflection while the message is valid; parameters are looked up only for violations.
pub fn validate<M: Validate + prost::Name>(message: &M) -> Vec<Violation> {
    let Err(error) = message.validate() else {
        return Vec::new();
    };
    let descriptor = crate::descriptor_of::<M>();
    error
        .violations()
        .iter()
        .map(|violation| read(&descriptor, violation))
        .collect()
}

fn read(message: &MessageDescriptor, violation: &prost_protovalidate::Violation) -> Violation {
    let field = violation.field_path();
    let rule = stable_id(violation.rule_id());
    let params = field_at(message, &field)
        .and_then(|found| params_of(&found, &violation.rule_path()))
        .unwrap_or_default();
    let message = english(&rule, &params).unwrap_or_else(|| {
        if violation.message().is_empty() {
            "is not valid".to_owned()
        } else {
            violation.message().to_owned()
        }
    });
    Violation {
        field,
        rule,
        message,
        params,
    }
}

/// The id without what only the implementation cares about: the numeric type, and whether the value was empty.
fn stable_id(id: &str) -> String {
    const NUMBERS: [&str; 12] = [
        "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
        "sfixed64", "float", "double",
    ];
    let id = id.strip_suffix("_empty").unwrap_or(id);
    match id.split_once('.') {
        Some((kind, rule)) if NUMBERS.contains(&kind) => format!("number.{rule}"),
        _ => id.to_owned(),
    }
}

/// The field that a path such as `filters[0].facet` ends in.
fn field_at(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let mut parent = Some(message.clone());
    let mut found = None;
    for name in names(path) {
        let field = parent?.get_field_by_name(name)?;
        parent = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                entry.map_entry_value_field().kind().as_message().cloned()
            }
            kind => kind.as_message().cloned(),
        };
        found = Some(field);
    }
    found
}

/// The names in a path; what stands in brackets (an index, a map key with any characters) is skipped.
fn names(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, letter) in path.char_indices() {
        match letter {
            '[' if depth == 0 => {
                found.push(&path[start..at]);
                depth = 1;
            }
            ']' if depth == 1 => {
                depth = 0;
                start = at + 1;
            }
            '.' if depth == 0 => {
                found.push(&path[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&path[start..]);
    found.retain(|name| !name.is_empty());
    found
}

/// The figures of the rules that stand beside the broken one, so that a text can say "between 15 and 256".
fn params_of(field: &FieldDescriptor, rule_path: &str) -> Option<BTreeMap<String, String>> {
    let extension = field
        .parent_pool()
        .get_extension_by_name("buf.validate.field")?;
    let mut rules: DynamicMessage = field
        .options()
        .get_extension(&extension)
        .as_message()?
        .clone();
    let steps: Vec<&str> = rule_path.split('.').collect();
    for step in steps.iter().take(steps.len().saturating_sub(1)) {
        let next = rules.get_field_by_name(step)?.as_message()?.clone();
        rules = next;
    }
    let mut params = BTreeMap::new();
    for (rule, value) in rules.fields() {
        if let (Some(name), Some(text)) = (param_name(rule.name()), text_of(value)) {
            params.insert(name.to_owned(), text);
        }
    }
    Some(params)
}

fn param_name(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "min_len" | "min_bytes" | "min_items" | "min_pairs" | "gt" | "gte" => "min",
        "max_len" | "max_bytes" | "max_items" | "max_pairs" | "lt" | "lte" => "max",
        "len" | "len_bytes" => "len",
        "in" => "allowed",
        "pattern" => "pattern",
        "const" | "prefix" | "suffix" | "contains" | "not_contains" => "value",
        _ => return None,
    })
}

fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        // An empty text among the allowed ones means "not given" and is nothing to advise.
        Value::List(items) => items
            .iter()
            .filter_map(text_of)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
        _ => return None,
    })
}

/// The English text of a rule; `None` for rules that the contract does not use.
fn english(rule: &str, params: &BTreeMap<String, String>) -> Option<String> {
    let param = |name: &str| params.get(name).map_or("?", String::as_str);
    let (min, max) = (param("min"), param("max"));
    Some(match rule {
        "required" => "is required".to_owned(),
        "string.min_len" | "repeated.min_items" | "map.min_pairs" if min == "1" => {
            "must not be empty".to_owned()
        }
        "string.min_len" => format!("must have at least {min} characters"),
        "string.max_len" => format!("must have at most {max} characters"),
        "string.len" => format!("must have exactly {} characters", param("len")),
        "string.in" | "number.in" => format!("must be one of: {}", param("allowed")),
        "string.pattern" => format!("must match the pattern {}", param("pattern")),
        "string.email" => "must be an e-mail address".to_owned(),
        "string.uuid" => "must be a UUID".to_owned(),
        "string.uri" => "must be an absolute URI".to_owned(),
        "string.hostname" => "must be a host name".to_owned(),
        "string.ip" => "must be an IP address".to_owned(),
        "bytes.max_len" => format!("must have at most {max} bytes"),
        "bytes.min_len" => format!("must have at least {min} bytes"),
        "number.gte" => format!("must be {min} or more"),
        "number.gt" => format!("must be more than {min}"),
        "number.lte" => format!("must be {max} or less"),
        "number.lt" => format!("must be less than {max}"),
        "number.gte_lte" => format!("must be between {min} and {max}"),
        "repeated.min_items" => format!("must have at least {min} items"),
        "repeated.max_items" => format!("must have at most {max} items"),
        "repeated.unique" => "must not contain an item twice".to_owned(),
        "map.max_pairs" => format!("must have at most {max} members"),
        "map.min_pairs" => format!("must have at least {min} members"),
        "enum.defined_only" => "must be a known value".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::v1::{GetMeRequest, ProvisionTenantRequest, RegisterRequest};
    use crate::niche::v1::BatchGetSearchDocumentsRequest;
    use crate::search::v1::{FacetFilter, SearchRequest};
    use crate::tenant::v1::{AdminUser, CreateTenantRequest, ListTenantsRequest};

    fn register() -> RegisterRequest {
        RegisterRequest {
            email: "ana@example.com".into(),
            password: "correct horse battery staple".into(),
            name: "Ana".into(),
            locale: String::new(),
        }
    }

    #[track_caller]
    fn check<M: Validate + prost::Name>(message: &M, expected: &[(&str, &str, &str)]) {
        let found = validate(message);
        let found: Vec<_> = found
            .iter()
            .map(|v| (v.field.as_str(), v.rule.as_str(), v.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_valid_message_and_one_without_rules_have_no_violations() {
        check(&register(), &[]);
        check(&GetMeRequest {}, &[]);
    }

    #[test]
    fn all_broken_rules_are_told_at_once() {
        let broken = RegisterRequest {
            email: "ana".into(),
            password: "short".into(),
            locale: "fr".into(),
            ..register()
        };
        check(
            &broken,
            &[
                ("email", "string.email", "must be an e-mail address"),
                (
                    "password",
                    "string.min_len",
                    "must have at least 15 characters",
                ),
                ("locale", "string.in", "must be one of: pt-BR, en"),
            ],
        );
        let password = &validate(&broken)[1];
        assert_eq!(
            (
                password.params["min"].as_str(),
                password.params["max"].as_str()
            ),
            ("15", "256")
        );
    }

    #[test]
    fn an_empty_value_breaks_the_same_rule_as_a_wrong_one() {
        check(
            &RegisterRequest {
                email: String::new(),
                ..register()
            },
            &[("email", "string.email", "must be an e-mail address")],
        );
        check(
            &ProvisionTenantRequest::default(),
            &[("access", "required", "is required")],
        );
    }

    #[test]
    fn paths_name_nested_fields_and_items() {
        let tenant = CreateTenantRequest {
            slug: "pousada-azul".into(),
            name: "Pousada Azul".into(),
            package_key: String::new(),
            admin_user: Some(AdminUser {
                email: "x".into(),
                name: "Ana".into(),
            }),
        };
        check(
            &tenant,
            &[(
                "admin_user.email",
                "string.email",
                "must be an e-mail address",
            )],
        );

        let search = SearchRequest {
            query: "x".into(),
            filters: vec![FacetFilter {
                facet: "f".into(),
                values: vec!["v".into(), String::new()],
            }],
            ..SearchRequest::default()
        };
        check(
            &search,
            &[(
                "filters[0].values[1]",
                "string.min_len",
                "must not be empty",
            )],
        );

        let ids = BatchGetSearchDocumentsRequest {
            record_ids: vec!["nonsense".into()],
        };
        check(&ids, &[("record_ids[0]", "string.uuid", "must be a UUID")]);
    }

    #[test]
    fn numeric_rules_share_their_id_and_carry_both_bounds() {
        let list = ListTenantsRequest {
            limit: 101,
            ..ListTenantsRequest::default()
        };
        check(
            &list,
            &[("limit", "number.gte_lte", "must be between 0 and 100")],
        );
    }

    #[test]
    fn a_message_never_repeats_the_value() {
        let broken = RegisterRequest {
            password: "hunter2".into(),
            email: "hunter2".into(),
            ..register()
        };
        assert!(
            validate(&broken)
                .iter()
                .all(|violation| !format!("{violation:?}").contains("hunter2"))
        );
    }

    #[test]
    fn names_skip_brackets() {
        assert_eq!(names("a.b[0].c"), ["a", "b", "c"]);
        assert_eq!(names(r#"a["x.y"].b"#), ["a", "b"]);
        assert_eq!(names("a[1]"), ["a"]);
    }
}
