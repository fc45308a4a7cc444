//! Taxonomies and entities.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::report::{At, Lint};
use super::schema::{self, FieldFacts};

/// A facet value stands in an index whose entries are bounded.
const FACET_CHARACTERS_MAX: u64 = 300;
/// The natural key stands in a unique index beside tenant, niche and entity.
const NATURAL_KEY_CHARACTERS_MAX: u64 = 300;
/// `Row` counts of an index page bound how many facets a record may carry.
const FACETS_MAX: usize = 20;

type Fields = BTreeMap<String, FieldFacts>;

pub(super) fn taxonomy(lint: &mut Lint, key: &str, value: &Value) {
    let at = lint.at(&format!("taxonomies/{key}.yaml"));
    lint.key_text(&at, key);
    let Some(map) = lint.object(&at, value, &["name", "terms"], &["name", "terms"]) else {
        return;
    };
    lint.text(&at.key("name"), map.get("name"));
    let here = at.key("terms");
    let terms = lint.array(&here, map.get("terms"));
    if map.contains_key("terms") && terms.is_empty() {
        lint.report(
            &here,
            "taxonomy.empty",
            "the taxonomy has no terms",
            "add a term",
        );
    }
    let mut seen = BTreeSet::new();
    for (i, term) in terms.iter().enumerate() {
        let here = here.index(i);
        let Some(map) = lint.object(&here, term, &["key", "label"], &["key", "label"]) else {
            continue;
        };
        lint.text(&here.key("label"), map.get("label"));
        let Some(key) = lint.string(&here.key("key"), map.get("key")) else {
            continue;
        };
        if key.len() > 60
            || !key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            lint.report(
                &here.key("key"),
                "key.format",
                &format!("{key:?} is not a key"),
                "use 1 to 60 of letters, digits, - and _",
            );
        }
        if !seen.insert(key) {
            lint.report(
                &here.key("key"),
                "taxonomy.duplicate",
                &format!("the term {key:?} stands twice"),
                "remove one",
            );
        }
    }
}

const ENTITY_KEYS: &[&str] = &[
    "name",
    "natural_key",
    "schema",
    "facets",
    "search",
    "import_mappings",
];

pub(super) fn entity(
    lint: &mut Lint,
    key: &str,
    value: &Value,
    taxonomies: &BTreeMap<String, Value>,
) {
    let at = lint.at(&format!("entities/{key}.yaml"));
    lint.key_text(&at, key);
    let Some(map) = lint.object(&at, value, ENTITY_KEYS, &["name", "schema", "search"]) else {
        return;
    };
    lint.text(&at.key("name"), map.get("name"));
    let Some(form) = map.get("schema") else {
        return;
    };
    let fields = schema::form(lint, &at.key("schema"), form, taxonomies);
    // Names that exist but are unsound were reported already; the references to them are not reported again.
    let names: BTreeSet<String> = form["properties"]
        .as_object()
        .map(|p| p.keys().cloned().collect())
        .unwrap_or_default();
    let scope = Scope {
        fields: &fields,
        names: &names,
    };
    natural_key(lint, &at.key("natural_key"), map.get("natural_key"), &scope);
    facets(lint, &at.key("facets"), map.get("facets"), &scope);
    search(lint, &at.key("search"), map.get("search"), &scope);
    let required: Vec<&str> = form["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let required: Vec<&str> = required
        .into_iter()
        .chain(map.get("natural_key").and_then(Value::as_str))
        .collect();
    mappings(
        lint,
        &at.key("import_mappings"),
        map.get("import_mappings"),
        (&scope, &required),
    );
}

struct Scope<'a> {
    fields: &'a Fields,
    names: &'a BTreeSet<String>,
}

impl Scope<'_> {
    /// The facts of a field that something refers to.
    fn field(
        &self,
        lint: &mut Lint,
        at: &At,
        value: Option<&Value>,
        rule: &'static str,
    ) -> Option<FieldFacts> {
        let name = lint.string(at, value)?;
        if !self.names.contains(name) {
            let known: Vec<_> = self.names.iter().map(String::as_str).collect();
            lint.report(
                at,
                rule,
                &format!("the form has no field {name:?}"),
                &format!("known are: {}", known.join(", ")),
            );
        }
        self.fields.get(name).copied()
    }
}

fn natural_key(lint: &mut Lint, at: &At, value: Option<&Value>, scope: &Scope<'_>) {
    let Some(facts) = scope.field(lint, at, value, "natural-key.unknown-field") else {
        return;
    };
    if !matches!(facts.kind, "string" | "integer") {
        lint.report(
            at,
            "natural-key.type",
            &format!("a natural key cannot be a {}", facts.kind),
            "use a text or an integer",
        );
    } else if facts.characters_max > NATURAL_KEY_CHARACTERS_MAX {
        lint.report(
            at,
            "natural-key.bounds",
            "the natural key is too long to be unique in an index",
            &format!("give it a maxLength of at most {NATURAL_KEY_CHARACTERS_MAX}"),
        );
    }
}

fn facets(lint: &mut Lint, at: &At, value: Option<&Value>, scope: &Scope<'_>) {
    let items = lint.array(at, value);
    if items.len() > FACETS_MAX {
        lint.report(
            at,
            "facet.count",
            &format!("the entity has {} facets", items.len()),
            &format!("declare at most {FACETS_MAX}"),
        );
    }
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let here = at.index(i);
        let Some(map) = lint.object(
            &here,
            item,
            &["key", "field", "name"],
            &["key", "field", "name"],
        ) else {
            continue;
        };
        lint.text(&here.key("name"), map.get("name"));
        if let Some(key) = lint.string(&here.key("key"), map.get("key")) {
            lint.name_text(&here.key("key"), key);
            if !seen.insert(key) {
                lint.report(
                    &here.key("key"),
                    "facet.duplicate",
                    &format!("the facet {key:?} stands twice"),
                    "remove one",
                );
            }
        }
        let Some(facts) = scope.field(
            lint,
            &here.key("field"),
            map.get("field"),
            "facet.unknown-field",
        ) else {
            continue;
        };
        if facts.kind == "number" {
            lint.report(
                &here.key("field"),
                "facet.type",
                "a facet over decimals has a value per record",
                "use a text, an integer, a boolean or a list",
            );
        } else if facts.characters_max > FACET_CHARACTERS_MAX {
            lint.report(
                &here.key("field"),
                "facet.bounds",
                "the field is too long to filter by",
                &format!("give it a maxLength of at most {FACET_CHARACTERS_MAX}"),
            );
        }
    }
}

fn search(lint: &mut Lint, at: &At, value: Option<&Value>, scope: &Scope<'_>) {
    let Some(value) = value else { return };
    let Some(map) = lint.object(at, value, &["title", "text"], &["title"]) else {
        return;
    };
    scope.field(
        lint,
        &at.key("title"),
        map.get("title"),
        "search.unknown-field",
    );
    let mut seen = BTreeSet::new();
    for (i, item) in lint
        .array(&at.key("text"), map.get("text"))
        .iter()
        .enumerate()
    {
        let here = at.key("text").index(i);
        let Some(map) = lint.object(&here, item, &["field", "weight"], &["field", "weight"]) else {
            continue;
        };
        scope.field(
            lint,
            &here.key("field"),
            map.get("field"),
            "search.unknown-field",
        );
        if let Some(field) = map.get("field").and_then(Value::as_str)
            && !seen.insert(field)
        {
            lint.report(
                &here.key("field"),
                "search.duplicate",
                &format!("the field {field:?} stands twice"),
                "remove one",
            );
        }
        if let Some(weight) = map.get("weight")
            && !weight.as_u64().is_some_and(|w| (1..=10).contains(&w))
        {
            lint.report(
                &here.key("weight"),
                "search.weight",
                &format!("{weight} is not a weight"),
                "use a whole number from 1 to 10",
            );
        }
    }
}

fn mappings(
    lint: &mut Lint,
    at: &At,
    value: Option<&Value>,
    (scope, required): (&Scope<'_>, &[&str]),
) {
    let mut seen = BTreeSet::new();
    for (i, item) in lint.array(at, value).iter().enumerate() {
        let here = at.index(i);
        let Some(map) = lint.object(
            &here,
            item,
            &["key", "format", "columns"],
            &["key", "format", "columns"],
        ) else {
            continue;
        };
        if let Some(key) = lint.key(&here.key("key"), map.get("key"))
            && !seen.insert(key)
        {
            lint.report(
                &here.key("key"),
                "mapping.duplicate",
                &format!("the mapping {key:?} stands twice"),
                "remove one",
            );
        }
        if map.get("format").is_some_and(|f| f != "csv") {
            lint.report(
                &here.key("format"),
                "mapping.format",
                "the format is not known",
                "use csv",
            );
        }
        let columns = lint.array(&here.key("columns"), map.get("columns"));
        let mut mapped = BTreeSet::new();
        for (i, column) in columns.iter().enumerate() {
            if let Some(field) = self::column(lint, &here.key("columns").index(i), column, scope)
                && !mapped.insert(field)
            {
                let here = here.key("columns").index(i).key("field");
                lint.report(
                    &here,
                    "mapping.duplicate",
                    &format!("the field {field:?} is filled by two columns"),
                    "remove one",
                );
            }
        }
        for name in required.iter().filter(|r| !mapped.contains(**r)) {
            let problem = format!("no column fills {name:?}, which every record needs");
            lint.report(
                &here.key("columns"),
                "mapping.required",
                &problem,
                "add a column for it",
            );
        }
    }
}

/// Lints one column and returns the field that it fills.
fn column<'v>(lint: &mut Lint, at: &At, value: &'v Value, scope: &Scope<'_>) -> Option<&'v str> {
    let map = lint.object(
        at,
        value,
        &["column", "field", "values", "rules", "separator"],
        &["column", "field"],
    )?;
    lint.string(&at.key("column"), map.get("column"));
    let facts = scope.field(
        lint,
        &at.key("field"),
        map.get("field"),
        "mapping.unknown-field",
    );
    if let Some(separator) = map.get("separator") {
        let single = separator.as_str().is_some_and(|s| s.chars().count() == 1);
        if !single || facts.is_some_and(|f| f.kind != "array") {
            lint.report(
                &at.key("separator"),
                "mapping.separator",
                "a separator is one character and belongs to a list",
                "write one character, or remove it",
            );
        }
    }
    if let Some(values) = map.get("values") {
        match values.as_object() {
            Some(values) if values.values().all(Value::is_string) => {}
            _ => lint.report(
                &at.key("values"),
                "shape.type",
                "values is a mapping from text to text",
                "quote values that look like numbers",
            ),
        }
    }
    for (i, rule) in lint
        .array(&at.key("rules"), map.get("rules"))
        .iter()
        .enumerate()
    {
        let here = at.key("rules").index(i);
        let Some(rule) = lint.object(&here, rule, &["pattern", "value"], &["pattern", "value"])
        else {
            continue;
        };
        lint.string(&here.key("value"), rule.get("value"));
        if let Some(pattern) = lint.string(&here.key("pattern"), rule.get("pattern"))
            && Regex::new(pattern).is_err()
        {
            lint.report(
                &here.key("pattern"),
                "schema.pattern",
                "the pattern does not compile",
                "use a regular expression without look-around and back-references",
            );
        }
    }
    map.get("field").and_then(Value::as_str)
}
