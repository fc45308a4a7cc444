//! The golden samples of a kit: records that its forms must accept or refuse, and files that its mappings must read.

use kernel::Locale;
use serde_json::Value;

use super::lint::{At, Problem, Samples};
use super::{Entity, Kit};
use crate::forms::EntityForm;
use crate::mappings::RowMapper;

/// Runs every sample of a kit and reports each that does not do what it says.
pub fn run(folder: &str, kit: &Kit, samples: &Samples) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, entity) in &kit.entities {
        let at = At::file(&format!("{folder}/samples/{key}.yaml"));
        let Some(sample) = samples.get(key) else {
            problems.push(at.problem(
                "sample.missing",
                "the entity has no samples",
                "write valid and invalid records",
            ));
            continue;
        };
        match EntityForm::compile(entity, &kit.taxonomies) {
            Ok(form) => run_entity(&at, entity, (&form, sample), &mut problems),
            Err(e) => problems.push(at.problem("schema.compile", &e, "mend the form")),
        }
    }
    problems
}

fn run_entity(
    at: &At,
    entity: &Entity,
    (form, sample): (&EntityForm, &Value),
    problems: &mut Vec<Problem>,
) {
    let list = |key: &str| {
        sample[key]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    for key in ["valid", "invalid"] {
        if list(key).is_empty() {
            problems.push(at.key(key).problem(
                "sample.missing",
                &format!("there is no {key} record"),
                "add at least one",
            ));
        }
    }
    for (i, item) in list("valid").iter().enumerate() {
        let found = found(form, &item["data"]);
        if !found.is_empty() {
            let problem = format!("the form refuses it: {}", found.join(", "));
            problems.push(at.key("valid").index(i).problem(
                "sample.valid",
                &problem,
                "mend the record or the form",
            ));
        }
    }
    for (i, item) in list("invalid").iter().enumerate() {
        problems.extend(invalid(&at.key("invalid").index(i), form, item));
    }
    for (i, item) in list("mappings").iter().enumerate() {
        let at = at.key("mappings").index(i);
        problems.extend(mapping(&at, entity, form, item));
    }
    for mapping in &entity.import_mappings {
        if !list("mappings")
            .iter()
            .any(|item| item["mapping"] == mapping.key.as_str())
        {
            problems.push(at.key("mappings").problem(
                "sample.missing",
                &format!("the mapping {:?} has no sample", mapping.key),
                "add a small file and what it gives",
            ));
        }
    }
}

/// A record that must have exactly the problems that it lists.
fn invalid(at: &At, form: &EntityForm, item: &Value) -> Option<Problem> {
    let listed = item["problems"].as_array().into_iter().flatten();
    let mut expected: Vec<&str> = listed.filter_map(Value::as_str).collect();
    let mut found = found(form, &item["data"]);
    expected.sort_unstable();
    found.sort_unstable();
    (expected.is_empty() || found != expected).then(|| {
        let (expected, found) = (expected.join(", "), found.join(", "));
        let problem = format!("expected [{expected}], the form says [{found}]");
        at.problem(
            "sample.invalid",
            &problem,
            "list each problem as `field rule`",
        )
    })
}

/// The problems of a record as `field rule`.
fn found(form: &EntityForm, data: &Value) -> Vec<String> {
    form.check(data, Locale::En)
        .into_iter()
        .map(|p| format!("{} {}", p.field, p.rule))
        .collect()
}

fn mapping(at: &At, entity: &Entity, form: &EntityForm, item: &Value) -> Option<Problem> {
    let Some(mapping) = entity
        .import_mappings
        .iter()
        .find(|m| item["mapping"] == m.key.as_str())
    else {
        return Some(at.key("mapping").problem(
            "sample.unknown-mapping",
            "the entity has no such mapping",
            "name one of its import_mappings",
        ));
    };
    let mut rows = parse_csv(item["csv"].as_str().unwrap_or_default()).into_iter();
    let header = rows.next().unwrap_or_default();
    let mapper = RowMapper::new(form, Some(mapping), header.iter().map(String::as_str));
    if !mapper.missing_fields().is_empty() || !mapper.ignored_headers().is_empty() {
        let problem = format!(
            "not filled: {:?}; not used: {:?}",
            mapper.missing_fields(),
            mapper.ignored_headers()
        );
        return Some(at.key("csv").problem(
            "sample.mapping",
            &problem,
            "make header and mapping agree",
        ));
    }
    let records: Vec<Value> = rows
        .map(|row| mapper.record(|i| row.get(i).map(String::as_str)))
        .collect();
    for (i, record) in records.iter().enumerate() {
        let expected = &item["expect"][i];
        let refused = found(form, record);
        if record != expected || !refused.is_empty() {
            let problem = format!(
                "the mapping gives {record}, expected {expected}, the form says [{}]",
                refused.join(", ")
            );
            return Some(at.key("expect").index(i).problem(
                "sample.mapping",
                &problem,
                "mend the sample or the mapping",
            ));
        }
    }
    let expected = item["expect"].as_array().map_or(0, Vec::len);
    (expected != records.len()).then(|| {
        at.key("expect").problem(
            "sample.mapping",
            &format!(
                "{expected} records expected, the file has {}",
                records.len()
            ),
            "make the two agree",
        )
    })
}

/// Reads the small files of samples. Imports read real files as a stream.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let row = rows.last_mut().expect("there is always a row");
        let cell = row.last_mut().expect("a row always has a cell");
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                cell.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\n' if !quoted => rows.push(vec![String::new()]),
            '\r' if !quoted => {}
            other => cell.push(other),
        }
    }
    rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
    rows
}
