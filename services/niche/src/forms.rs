//! A form, ready to check records: what a kit and the tenant's overlay declare, compiled once.
//!
//! Checking a sound record costs one pass of the compiled schema. Only an unsound one pays for messages, and then all of its problems are told
//! at once, in the caller's language, with the field's label and how to mend it.

mod compile;
mod explain;
mod formats;

use std::collections::{BTreeMap, HashMap};

use kernel::{Locale, Violation};
use serde_json::Value;

use crate::kits::{Entity, Taxonomy, Term, Text};
pub use formats::{Format, STATES};

/// The largest record as JSON text. An event, a search document and a page of 100 records stay bounded by it.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// The largest integer that every JSON client reads exactly: 2^53.
const INTEGER_MAX: u64 = 1 << 53;

/// One thing that is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field as the form names it, `tags[0]` for an item of a list; empty for the record as a whole.
    pub field: String,
    /// A stable id: `required`, `type`, `max_length`, `one_of`, `unknown_field`, `cpf` ...
    pub rule: &'static str,
    /// What is wrong and how to mend it, in the caller's language.
    pub message: String,
    /// The parameters of the message, for example `max` = `200`.
    pub params: BTreeMap<String, String>,
}

impl FieldProblem {
    /// The problem as a violation of a request whose record stands under `data`. The rule gets the prefix `form.`, because the message is
    /// in the caller's language already and must not be replaced by a general one.
    pub fn into_violation(self) -> Violation {
        let field = if self.field.is_empty() {
            "data".to_owned()
        } else {
            format!("data.{}", self.field)
        };
        Violation {
            field,
            rule: format!("form.{}", self.rule),
            message: self.message,
            params: self.params,
        }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Integer,
    Number,
    Boolean,
    /// A list of texts or integers.
    List(ItemKind),
}

/// What an item of a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    Text,
    Integer,
    Number,
    Boolean,
}

/// One field of a form.
#[derive(Debug)]
pub struct Field {
    pub key: String,
    pub kind: FieldKind,
    pub label: Text,
    pub required: bool,
    format: Option<Format>,
    /// Terms by key, when the values come from a taxonomy.
    terms: Option<HashMap<String, Term>>,
}

/// The compiled form of one entity.
#[derive(Debug)]
pub struct EntityForm {
    pub entity: Entity,
    /// The form with taxonomies spelled out as `enum`, so that any JSON Schema validator can check a record.
    pub schema: Value,
    fields: Vec<Field>,
    by_key: HashMap<String, usize>,
    validator: jsonschema::Validator,
    /// Whether the bounds of the fields keep every record below [`RECORD_BYTES_MAX`] by themselves.
    bounded: bool,
}

impl EntityForm {
    /// Compiles a form. The kit was linted, so a failure is a defect of this program or of an overlay.
    pub fn compile(
        entity: &Entity,
        taxonomies: &BTreeMap<String, Taxonomy>,
    ) -> Result<Self, String> {
        compile::form(entity, taxonomies)
    }

    /// Every problem of a record, in the order of the form; none when it is sound.
    pub fn check(&self, data: &Value, locale: Locale) -> Vec<FieldProblem> {
        if self.is_sound(data) {
            return Vec::new();
        }
        explain::problems(self, data, locale)
    }

    /// The message of a rule that a record broke earlier, from what was kept of it, in any language.
    pub fn explain(
        &self,
        field: &str,
        rule: &str,
        params: &BTreeMap<String, String>,
        locale: Locale,
    ) -> String {
        explain::message(self, (field, rule), params, locale)
    }

    /// Whether a record has no problem: the fast half of [`EntityForm::check`].
    pub fn is_sound(&self, data: &Value) -> bool {
        self.validator.is_valid(data)
            && unstorable(data).is_none()
            && (self.bounded || bytes_of(data) <= RECORD_BYTES_MAX)
    }

    /// The fields in the order of the form.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A field by its key.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.by_key.get(key).map(|i| &self.fields[*i])
    }

    /// The text that identifies a record within its niche, in one spelling; none when the entity has no natural key or the record lacks it.
    pub fn natural_key(&self, data: &Value) -> Option<String> {
        let field = self.field(self.entity.natural_key.as_deref()?)?;
        match data.get(&field.key)? {
            Value::String(text) => Some(
                field
                    .format
                    .map_or_else(|| text.clone(), |f| f.normalise(text)),
            ),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The facet values of a record: pairs of facet key and value, each once.
    pub fn facet_values(&self, data: &Value) -> Vec<(&str, String)> {
        let mut values: Vec<(&str, String)> = Vec::new();
        for facet in &self.entity.facets {
            for value in scalars(data.get(&facet.field)) {
                let pair = (facet.key.as_str(), value);
                if !pair.1.is_empty() && !values.contains(&pair) {
                    values.push(pair);
                }
            }
        }
        values
    }

    /// What search indexes: the title, and the text with heavier fields first. Terms of taxonomies stand in it by their labels in both languages.
    pub fn document(&self, data: &Value) -> (String, String) {
        let title = self.words(&self.entity.search.title, data).join(" ");
        let mut parts: Vec<_> = self.entity.search.text.iter().collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.weight));
        let lines: Vec<String> = parts
            .iter()
            .map(|part| self.words(&part.field, data).join(", "))
            .filter(|l| !l.is_empty())
            .collect();
        (title, lines.join("\n"))
    }

    fn words(&self, key: &str, data: &Value) -> Vec<String> {
        let terms = self.field(key).and_then(|f| f.terms.as_ref());
        scalars(data.get(key))
            .into_iter()
            .flat_map(|value| match terms.and_then(|t| t.get(&value)) {
                Some(term) if term.label.en == term.label.pt_br => vec![term.label.en.clone()],
                Some(term) => vec![term.label.en.clone(), term.label.pt_br.clone()],
                None => vec![value],
            })
            .collect()
    }
}

/// The scalars of a field as text: one, or those of a list.
fn scalars(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Number(number)) => vec![number.to_string()],
        Some(Value::Bool(flag)) => vec![flag.to_string()],
        Some(Value::Array(items)) => items.iter().flat_map(|item| scalars(Some(item))).collect(),
        None | Some(Value::Null | Value::Object(_)) => Vec::new(),
    }
}

/// The rule that a value breaks because the platform cannot keep it: text with the character NUL, which `jsonb` has no place for, and integers
/// beyond 2^53, which JSON clients would round. Names of fields are those of the form and need no look.
fn unstorable(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(text) => text.as_bytes().contains(&0).then_some("characters"),
        Value::Number(number) => number
            .as_i64()
            .map_or(number.is_u64(), |n| n.unsigned_abs() > INTEGER_MAX)
            .then_some("integer_range"),
        Value::Array(items) => items.iter().find_map(unstorable),
        Value::Object(map) => map.values().find_map(unstorable),
        Value::Null | Value::Bool(_) => None,
    }
}

/// The length of a value as JSON text.
fn bytes_of(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kits::Kits;

    fn form(kit: &str, entity: &str) -> EntityForm {
        let kit = Kits::embedded().unwrap().get(kit, "").unwrap();
        EntityForm::compile(&kit.entities[entity], &kit.taxonomies).unwrap()
    }

    fn check(data: Value, expected: &[&str]) {
        let found: Vec<String> = form("software-catalog", "packages")
            .check(&data, Locale::En)
            .into_iter()
            .map(|p| format!("{} {}", p.field, p.rule))
            .collect();
        assert_eq!(found, expected, "{data}");
    }

    #[test]
    fn what_the_platform_cannot_keep_is_refused_before_the_database_sees_it() {
        check(
            json!({"name": "a", "summary": "x\u{0}y", "tags": ["\u{0}"]}),
            &["summary characters", "tags characters"],
        );
        check(
            json!({"name": "a", "installed_size": 9_007_199_254_740_991_u64}),
            &[],
        );
        check(
            json!({"name": "a", "installed_size": 9_007_199_254_740_993_u64}),
            &["installed_size integer_range", "installed_size maximum"],
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_has_one_problem() {
        check(
            json!({"name": 7, "priority": 1}),
            &["name type", "priority type"],
        );
        check(json!({"name": "a", "tags": ["b", 1]}), &["tags[1] type"]);
        check(json!([]), &[" type"]);
    }

    #[test]
    fn a_name_that_a_caller_made_up_cannot_forge_a_message() {
        let data = json!({"name": "a", "{known}{label}": 1});
        let problems = form("software-catalog", "packages").check(&data, Locale::En);
        assert!(
            problems[0]
                .message
                .starts_with("{known}{label} is not a field of this form")
        );
    }

    #[test]
    fn the_natural_key_has_one_spelling() {
        let people = form("people", "people");
        let key = |cpf: &str| people.natural_key(&json!({ "cpf": cpf }));
        assert_eq!(key("529.982.247-25"), key("52998224725"));
        assert_eq!(people.natural_key(&json!({"full_name": "Ana"})), None);
    }
}
