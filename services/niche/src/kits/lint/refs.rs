//! The parts that only refer to others: groups, pages, prompts, workflows and reports. All are optional; what is there must hold together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::report::{At, Lint};

/// The groups that every tenant has.
const GROUPS: [&str; 5] = ["owner", "admin", "analyst", "viewer", "attendant"];
/// Layouts that a client knows how to draw.
const LAYOUTS: [&str; 4] = ["table", "cards", "board", "calendar"];
/// Events that can start a workflow.
const TRIGGERS: [&str; 4] = [
    "record.created",
    "record.updated",
    "record.deleted",
    "records.imported",
];

type Entities = BTreeMap<String, Value>;

pub(super) fn hints(lint: &mut Lint, main: &Value, entities: &Entities) {
    let at = lint.at("kit.yaml");
    groups(lint, &at.key("groups"), main.get("groups"));
    if let Some(ui) = main.get("ui")
        && let Some(map) = lint.object(&at.key("ui"), ui, &["pages"], &["pages"])
    {
        let here = at.key("ui").key("pages");
        let mut seen = BTreeSet::new();
        for (i, item) in lint.array(&here, map.get("pages")).iter().enumerate() {
            page(lint, &here.index(i), item, entities);
            unique(lint, &here.index(i), item, &mut seen);
        }
    }
    for (part, check) in [
        ("prompts", prompt as fn(&mut Lint, &At, &Value, &Entities)),
        ("workflows", workflow),
        ("reports", report),
    ] {
        let here = at.key(part);
        let mut seen = BTreeSet::new();
        for (i, item) in lint.array(&here, main.get(part)).iter().enumerate() {
            check(lint, &here.index(i), item, entities);
            unique(lint, &here.index(i), item, &mut seen);
        }
    }
}

fn unique(lint: &mut Lint, at: &At, item: &Value, seen: &mut BTreeSet<String>) {
    if let Some(key) = item.get("key").and_then(Value::as_str)
        && !seen.insert(key.to_owned())
    {
        lint.report(
            &at.key("key"),
            "key.duplicate",
            &format!("the key {key:?} stands twice"),
            "rename one",
        );
    }
}

/// A group may hold only actions that some method of the contract asks for.
fn groups(lint: &mut Lint, at: &At, value: Option<&Value>) {
    let Some(value) = value else { return };
    let Some(map) = lint.object(at, value, &GROUPS, &[]) else {
        return;
    };
    for (group, actions) in map {
        for (i, action) in lint.array(&at.key(group), Some(actions)).iter().enumerate() {
            let here = at.key(group).index(i);
            let Some(action) = lint.string(&here, Some(action)) else {
                continue;
            };
            if !crate::actions::exists(action) {
                lint.report(
                    &here,
                    "group.unknown-action",
                    &format!("no method asks for the action {action:?}"),
                    "use an action of the catalogue, for example records.read",
                );
            }
        }
    }
}

fn entity<'e>(
    lint: &mut Lint,
    at: &At,
    value: Option<&Value>,
    entities: &'e Entities,
) -> Option<&'e Value> {
    let key = lint.string(at, value)?;
    let found = entities.get(key);
    if found.is_none() {
        let known: Vec<_> = entities.keys().map(String::as_str).collect();
        lint.report(
            at,
            "entity.unknown",
            &format!("the kit has no entity {key:?}"),
            &format!("known are: {}", known.join(", ")),
        );
    }
    found
}

fn fields(lint: &mut Lint, at: &At, value: Option<&Value>, entity: Option<&Value>) {
    for (i, name) in lint.array(at, value).iter().enumerate() {
        let known = entity.and_then(|e| e["schema"]["properties"].as_object());
        if let (Some(name), Some(known)) = (lint.string(&at.index(i), Some(name)), known)
            && !known.contains_key(name)
        {
            lint.report(
                &at.index(i),
                "field.unknown",
                &format!("the form has no field {name:?}"),
                "name a field of the entity",
            );
        }
    }
}

fn page(lint: &mut Lint, at: &At, value: &Value, entities: &Entities) {
    let keys = ["key", "name", "icon", "entity", "layout", "fields"];
    let Some(map) = lint.object(at, value, &keys, &["key", "name", "entity", "layout"]) else {
        return;
    };
    lint.key(&at.key("key"), map.get("key"));
    lint.text(&at.key("name"), map.get("name"));
    let form = entity(lint, &at.key("entity"), map.get("entity"), entities);
    if let Some(layout) = lint.string(&at.key("layout"), map.get("layout"))
        && !LAYOUTS.contains(&layout)
    {
        lint.report(
            &at.key("layout"),
            "ui.layout",
            &format!("{layout:?} is not a layout"),
            &format!("known are: {}", LAYOUTS.join(", ")),
        );
    }
    fields(lint, &at.key("fields"), map.get("fields"), form);
}

fn report(lint: &mut Lint, at: &At, value: &Value, entities: &Entities) {
    let Some(map) = lint.object(
        at,
        value,
        &["key", "name", "entity", "group_by"],
        &["key", "name", "entity"],
    ) else {
        return;
    };
    lint.key(&at.key("key"), map.get("key"));
    lint.text(&at.key("name"), map.get("name"));
    let form = entity(lint, &at.key("entity"), map.get("entity"), entities);
    fields(lint, &at.key("group_by"), map.get("group_by"), form);
}

fn prompt(lint: &mut Lint, at: &At, value: &Value, _: &Entities) {
    let keys = ["key", "name", "template", "variables", "fixtures"];
    let Some(map) = lint.object(at, value, &keys, &["key", "name", "template"]) else {
        return;
    };
    lint.key(&at.key("key"), map.get("key"));
    lint.text(&at.key("name"), map.get("name"));
    lint.text(&at.key("template"), map.get("template"));
    let declared: BTreeSet<&str> = lint
        .array(&at.key("variables"), map.get("variables"))
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (language, template) in map
        .get("template")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let used = variables(template.as_str().unwrap_or_default());
        for name in used.symmetric_difference(&declared) {
            let problem = format!("{name:?} is declared and not used, or used and not declared");
            lint.report(
                &at.key("template").key(language),
                "prompt.variables",
                &problem,
                "make variables and {{...}} agree",
            );
        }
    }
    for (i, fixture) in lint
        .array(&at.key("fixtures"), map.get("fixtures"))
        .iter()
        .enumerate()
    {
        let here = at.key("fixtures").index(i);
        let Some(fixture) =
            lint.object(&here, fixture, &["values", "expect"], &["values", "expect"])
        else {
            continue;
        };
        prompt_fixture(lint, &here, fixture, &map["template"]);
    }
}

fn prompt_fixture(lint: &mut Lint, at: &At, fixture: &Map<String, Value>, template: &Value) {
    for (language, expected) in fixture
        .get("expect")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let mut text = template[language].as_str().unwrap_or_default().to_owned();
        for (name, value) in fixture
            .get("values")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            text = text.replace(
                &format!("{{{{{name}}}}}"),
                value.as_str().unwrap_or_default(),
            );
        }
        if Some(text.as_str()) != expected.as_str() {
            lint.report(
                &at.key("expect").key(language),
                "prompt.fixture",
                &format!("the template gives {text:?}"),
                "mend the template or the expectation",
            );
        }
    }
}

/// The names between `{{` and `}}`.
fn variables(template: &str) -> BTreeSet<&str> {
    template
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(name, _)| name.trim())
        .collect()
}

fn workflow(lint: &mut Lint, at: &At, value: &Value, entities: &Entities) {
    let keys = [
        "key",
        "name",
        "entity",
        "trigger",
        "initial",
        "states",
        "transitions",
    ];
    let Some(map) = lint.object(at, value, &keys, &keys) else {
        return;
    };
    lint.key(&at.key("key"), map.get("key"));
    lint.text(&at.key("name"), map.get("name"));
    entity(lint, &at.key("entity"), map.get("entity"), entities);
    if let Some(trigger) = lint.string(&at.key("trigger"), map.get("trigger"))
        && !TRIGGERS.contains(&trigger)
    {
        lint.report(
            &at.key("trigger"),
            "workflow.trigger",
            &format!("{trigger:?} is not an event that starts a workflow"),
            &format!("known are: {}", TRIGGERS.join(", ")),
        );
    }
    let mut states = BTreeMap::new();
    for (i, state) in lint
        .array(&at.key("states"), map.get("states"))
        .iter()
        .enumerate()
    {
        let here = at.key("states").index(i);
        let Some(state) = lint.object(&here, state, &["key", "name", "final"], &["key", "name"])
        else {
            continue;
        };
        lint.text(&here.key("name"), state.get("name"));
        if let Some(key) = lint.key(&here.key("key"), state.get("key"))
            && states
                .insert(key, state.get("final") == Some(&Value::Bool(true)))
                .is_some()
        {
            lint.report(
                &here.key("key"),
                "key.duplicate",
                &format!("the state {key:?} stands twice"),
                "rename one",
            );
        }
    }
    machine(lint, at, map, &states);
}

/// A state machine in which every state can be reached and no state but a final one is a dead end.
fn machine(lint: &mut Lint, at: &At, map: &Map<String, Value>, states: &BTreeMap<&str, bool>) {
    let edges = transitions(lint, at, map, states);
    let Some(initial) = lint.string(&at.key("initial"), map.get("initial")) else {
        return;
    };
    if !states.contains_key(initial) {
        lint.report(
            &at.key("initial"),
            "workflow.unknown-state",
            &format!("there is no state {initial:?}"),
            "name a state of the workflow",
        );
        return;
    }
    let mut reached = BTreeSet::from([initial]);
    let mut pending = vec![initial];
    while let Some(state) = pending.pop() {
        pending.extend(
            edges
                .iter()
                .filter(|(from, _)| *from == state)
                .map(|(_, to)| *to)
                .filter(|to| reached.insert(to)),
        );
    }
    for (state, is_final) in states {
        if !reached.contains(state) {
            lint.report(
                &at.key("states"),
                "workflow.unreachable",
                &format!("no way leads to the state {state:?}"),
                "add a transition or remove the state",
            );
        }
        if !is_final && !edges.iter().any(|(from, _)| from == state) {
            lint.report(
                &at.key("states"),
                "workflow.dead-end",
                &format!("no way leads out of the state {state:?}"),
                "add a transition or say final: true",
            );
        }
    }
}

/// The sound transitions as pairs of states.
fn transitions<'v>(
    lint: &mut Lint,
    at: &At,
    map: &'v Map<String, Value>,
    states: &BTreeMap<&str, bool>,
) -> Vec<(&'v str, &'v str)> {
    let mut edges: Vec<(&'v str, &'v str)> = Vec::new();
    for (i, transition) in lint
        .array(&at.key("transitions"), map.get("transitions"))
        .iter()
        .enumerate()
    {
        let here = at.key("transitions").index(i);
        let Some(t) = lint.object(
            &here,
            transition,
            &["from", "to", "action"],
            &["from", "to", "action"],
        ) else {
            continue;
        };
        lint.key(&here.key("action"), t.get("action"));
        for end in ["from", "to"] {
            if let Some(state) = lint.string(&here.key(end), t.get(end))
                && !states.contains_key(state)
            {
                lint.report(
                    &here.key(end),
                    "workflow.unknown-state",
                    &format!("there is no state {state:?}"),
                    "name a state of the workflow",
                );
            }
        }
        if let (Some(from), Some(to)) = (
            t.get("from").and_then(Value::as_str),
            t.get("to").and_then(Value::as_str),
        ) {
            edges.push((from, to));
        }
    }
    edges
}
