//! Lint and golden samples: every way in which a kit can be wrong is told with its place and how to mend it.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use niche::kits::lint::{self, Problem};
use niche::kits::source::Source;
use niche::kits::{Kits, store};
use runtime::Process;
use runtime::settings::Profile;

use crate::harness::Service;

/// A small kit that is sound. The cases below break one thing each.
const KIT: &str = r#"key: mini
version: 1.0.0
name: {pt-BR: Pequeno, en: Small}
description: {pt-BR: Um kit pequeno., en: A small kit.}
icon: box
groups:
  viewer: [records.read]
ui:
  pages:
    - {key: things, name: {pt-BR: Coisas, en: Things}, entity: things, layout: table, fields: [code]}
prompts:
  - key: describe
    name: {pt-BR: Descrever, en: Describe}
    template: {pt-BR: "Descreva {{code}}", en: "Describe {{code}}"}
    variables: [code]
    fixtures:
      - {values: {code: a}, expect: {en: "Describe a"}}
workflows:
  - key: review
    name: {pt-BR: Revisão, en: Review}
    entity: things
    trigger: record.created
    initial: fresh
    states:
      - {key: fresh, name: {pt-BR: Novo, en: New}}
      - {key: done, name: {pt-BR: Feito, en: Done}, final: true}
    transitions:
      - {from: fresh, to: done, action: finish}
"#;
const TAXONOMY: &str = r#"name: {pt-BR: Cor, en: Colour}
terms:
  - {key: red, label: {pt-BR: Vermelho, en: Red}}
  - {key: blue, label: {pt-BR: Azul, en: Blue}}
"#;
const ENTITY: &str = r#"name: {pt-BR: Coisas, en: Things}
natural_key: code
schema:
  type: object
  required: [code]
  properties:
    code: {type: string, maxLength: 20, x-label: {pt-BR: Código, en: Code}}
    colour: {type: string, x-taxonomy: colour, x-label: {pt-BR: Cor, en: Colour}}
    price: {type: number, minimum: 0, maximum: 10, x-label: {pt-BR: Preço, en: Price}}
    words: {type: array, maxItems: 5, items: {type: string, maxLength: 20}, x-label: {pt-BR: Palavras, en: Words}}
facets:
  - {key: colour, field: colour, name: {pt-BR: Cor, en: Colour}}
search: {title: code, text: [{field: words, weight: 1}]}
import_mappings:
  - {key: plain, format: csv, columns: [{column: Code, field: code}, {column: Words, field: words, separator: ','}]}
"#;
const SAMPLES: &str = r#"valid:
  - data: {code: a, colour: red, price: 1.5, words: [x]}
invalid:
  - data: {colour: green}
    problems: [code required, colour one_of]
mappings:
  - mapping: plain
    csv: "Code,Words\na,\"x, y\"\n"
    expect: [{code: a, words: [x, y]}]
"#;

const FILES: [(&str, &str); 4] = [
    ("kit.yaml", KIT),
    ("taxonomies/colour.yaml", TAXONOMY),
    ("entities/things.yaml", ENTITY),
    ("samples/things.yaml", SAMPLES),
];

fn source() -> Source {
    Source(
        FILES
            .iter()
            .map(|(name, text)| (format!("mini/1.0.0/{name}"), text.as_bytes().to_vec()))
            .collect::<BTreeMap<_, _>>(),
    )
}

/// The small kit with one piece of one file replaced.
fn broken(file: &str, from: &str, to: &str) -> Source {
    let mut source = source();
    let bytes = source.0.get_mut(&format!("mini/1.0.0/{file}")).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    *bytes = text.replacen(from, to, 1).into_bytes();
    source
}

fn places(problems: &[Problem]) -> Vec<String> {
    problems
        .iter()
        .map(|p| format!("{} {}", p.pointer, p.rule))
        .collect()
}

#[test]
fn the_small_kit_is_sound() {
    let (kits, problems) = lint::test(&source());
    assert_eq!((kits.len(), problems), (1, vec![]));
}

/// File, what is replaced, with what, and where which rule must be reported.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    ("kit.yaml", "key: mini", "key: Mini!", "/key key.format"),
    ("kit.yaml", "key: mini", "key: other", "/key kit.folder"),
    (
        "kit.yaml",
        "version: 1.0.0",
        "version: '1.0'",
        "/version kit.version",
    ),
    (
        "kit.yaml",
        "version: 1.0.0",
        "version: 1.0.1",
        "/version kit.folder",
    ),
    (
        "kit.yaml",
        "icon: box",
        "icno: box",
        "/icno shape.unknown-key",
    ),
    (
        "kit.yaml",
        "{pt-BR: Pequeno, en: Small}",
        "{en: Small}",
        "/name text.language",
    ),
    (
        "kit.yaml",
        "{pt-BR: Pequeno, en: Small}",
        "{pt-BR: Pequeno, en: ''}",
        "/name/en shape.type",
    ),
    (
        "kit.yaml",
        "[records.read]",
        "[records.peek]",
        "/groups/viewer/0 group.unknown-action",
    ),
    (
        "kit.yaml",
        "viewer: [",
        "visitor: [",
        "/groups/visitor shape.unknown-key",
    ),
    (
        "kit.yaml",
        "layout: table",
        "layout: spiral",
        "/ui/pages/0/layout ui.layout",
    ),
    (
        "kit.yaml",
        "entity: things, layout",
        "entity: thing, layout",
        "/ui/pages/0/entity entity.unknown",
    ),
    (
        "kit.yaml",
        "fields: [code]",
        "fields: [kode]",
        "/ui/pages/0/fields/0 field.unknown",
    ),
    (
        "kit.yaml",
        "variables: [code]",
        "variables: [name, code]",
        "/prompts/0/template/en prompt.variables",
    ),
    (
        "kit.yaml",
        "expect: {en: \"Describe a\"}",
        "expect: {en: \"Describe b\"}",
        "/prompts/0/fixtures/0/expect/en prompt.fixture",
    ),
    (
        "kit.yaml",
        "initial: fresh",
        "initial: rotten",
        "/workflows/0/initial workflow.unknown-state",
    ),
    (
        "kit.yaml",
        "to: done",
        "to: gone",
        "/workflows/0/transitions/0/to workflow.unknown-state",
    ),
    (
        "kit.yaml",
        "trigger: record.created",
        "trigger: full.moon",
        "/workflows/0/trigger workflow.trigger",
    ),
    (
        "kit.yaml",
        ", final: true",
        "",
        "/workflows/0/states workflow.dead-end",
    ),
    (
        "taxonomies/colour.yaml",
        "key: blue",
        "key: red",
        "/terms/1/key taxonomy.duplicate",
    ),
    (
        "taxonomies/colour.yaml",
        "key: blue",
        "key: 'sky blue'",
        "/terms/1/key key.format",
    ),
    (
        "entities/things.yaml",
        "x-taxonomy: colour",
        "x-taxonomy: size",
        "/schema/properties/colour/x-taxonomy taxonomy.unknown",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label: {pt-BR: Código, en: Code}",
        "x-label: {pt-BR: Código, en: Code}",
        "/schema/properties/code schema.unbounded",
    ),
    (
        "entities/things.yaml",
        ", x-label: {pt-BR: Código, en: Code}",
        "",
        "/schema/properties/code schema.label",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 20, pattern: '(a', x-label",
        "/schema/properties/code/pattern schema.pattern",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 20, pattern: 'a(?=b)', x-label",
        "/schema/properties/code/pattern schema.pattern",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 20, x-format: ssn, x-label",
        "/schema/properties/code/x-format schema.format",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 20, x-pii: SHOE_SIZE, x-label",
        "/schema/properties/code/x-pii schema.pii",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 20, minLength: 30, x-label",
        "/schema/properties/code schema.bounds",
    ),
    (
        "entities/things.yaml",
        "maxLength: 20, x-label",
        "maxLength: 30000, x-label",
        "/schema/properties/code/maxLength schema.bounds",
    ),
    (
        "entities/things.yaml",
        "code: {type: string",
        "code: {type: object",
        "/schema/properties/code/type schema.type",
    ),
    (
        "entities/things.yaml",
        "minimum: 0",
        "minLength: 0",
        "/schema/properties/price/minLength schema.keyword",
    ),
    (
        "entities/things.yaml",
        "minimum: 0",
        "minimum: 11",
        "/schema/properties/price schema.bounds",
    ),
    (
        "entities/things.yaml",
        "maxItems: 5, ",
        "",
        "/schema/properties/words schema.unbounded",
    ),
    (
        "entities/things.yaml",
        "required: [code]",
        "required: [kode]",
        "/schema/required/0 schema.required",
    ),
    (
        "entities/things.yaml",
        "    code: {",
        "    Code!: {",
        "/schema/properties/Code! key.format",
    ),
    (
        "entities/things.yaml",
        "natural_key: code",
        "natural_key: kode",
        "/natural_key natural-key.unknown-field",
    ),
    (
        "entities/things.yaml",
        "natural_key: code",
        "natural_key: words",
        "/natural_key natural-key.type",
    ),
    (
        "entities/things.yaml",
        "field: colour, name",
        "field: color, name",
        "/facets/0/field facet.unknown-field",
    ),
    (
        "entities/things.yaml",
        "field: colour, name",
        "field: price, name",
        "/facets/0/field facet.type",
    ),
    (
        "entities/things.yaml",
        "search: {title: code",
        "search: {title: kode",
        "/search/title search.unknown-field",
    ),
    (
        "entities/things.yaml",
        "weight: 1",
        "weight: 99",
        "/search/text/0/weight search.weight",
    ),
    (
        "entities/things.yaml",
        "format: csv",
        "format: parquet",
        "/import_mappings/0/format mapping.format",
    ),
    (
        "entities/things.yaml",
        "{column: Code, field: code}, ",
        "",
        "/import_mappings/0/columns mapping.required",
    ),
    (
        "entities/things.yaml",
        "{column: Words, field: words",
        "{column: Words, field: wrods",
        "/import_mappings/0/columns/1/field mapping.unknown-field",
    ),
    (
        "entities/things.yaml",
        "separator: ','",
        "separator: ', '",
        "/import_mappings/0/columns/1/separator mapping.separator",
    ),
];

#[test]
fn every_broken_kit_is_told_where_and_how_to_mend_it() {
    for (file, from, to, expected) in BROKEN {
        let (kits, problems) = lint::check(&broken(file, from, to));
        assert!(kits.is_empty(), "{to:?} in {file} is let through");
        assert!(
            places(&problems).iter().any(|p| p == expected),
            "{to:?} in {file}: expected {expected}, got {}",
            lint::render(&problems)
        );
        assert!(problems.iter().all(|p| p.file.starts_with("mini/1.0.0/")
            && !p.problem.is_empty()
            && !p.fix.is_empty()));
    }
}

#[test]
fn yaml_that_cannot_be_read_says_so() {
    let check = |source: &Source, rule: &str| {
        let (_, problems) = lint::check(source);
        assert!(
            problems.iter().any(|p| p.rule == rule),
            "expected {rule}: {}",
            lint::render(&problems)
        );
    };
    check(
        &broken("kit.yaml", "icon: box", "icon: [box"),
        "yaml.syntax",
    );
    check(
        &broken("kit.yaml", "icon: box", "icon: box\nicon: crate"),
        "yaml.syntax",
    );
    let mut without = source();
    without.0.remove("mini/1.0.0/kit.yaml");
    check(&without, "kit.missing-file");
    let mut stray = source();
    stray.0.insert("mini/1.0.0/notes.txt".into(), Vec::new());
    check(&stray, "kit.stray-file");
    let mut empty = source();
    empty.0.remove("mini/1.0.0/entities/things.yaml");
    check(&empty, "kit.no-entity");
}

#[test]
fn all_problems_are_told_at_once() {
    let mut source = broken("kit.yaml", "icon: box", "");
    let entity = String::from_utf8(source.0["mini/1.0.0/entities/things.yaml"].clone()).unwrap();
    let entity = entity
        .replace("title: code", "title: nothing")
        .replace("field: colour, name", "field: nothing, name");
    source.0.insert(
        "mini/1.0.0/entities/things.yaml".into(),
        entity.into_bytes(),
    );
    let (_, problems) = lint::check(&source);
    assert_eq!(
        places(&problems),
        [
            " shape.missing-key",
            "/facets/0/field facet.unknown-field",
            "/search/title search.unknown-field"
        ]
    );
    let text = lint::render(&problems);
    assert!(text.starts_with("3 problem(s) in the kits:\n  mini/1.0.0/kit.yaml#: shape.missing-key: \"icon\" is missing (fix: add icon)"), "{text}");
}

#[test]
fn golden_samples_hold_the_kit_to_its_word() {
    let check = |from: &str, to: &str, expected: &str| {
        let (_, problems) = lint::test(&broken("samples/things.yaml", from, to));
        assert_eq!(places(&problems), [expected], "{}", lint::render(&problems));
    };
    check(
        "colour: red, price",
        "colour: green, price",
        "/valid/0 sample.valid",
    );
    check(
        "[code required, colour one_of]",
        "[code required]",
        "/invalid/0 sample.invalid",
    );
    check(
        "data: {colour: green}",
        "data: {code: a}",
        "/invalid/0 sample.invalid",
    );
    check(
        "expect: [{code: a, words: [x, y]}]",
        "expect: [{code: a}]",
        "/mappings/0/expect/0 sample.mapping",
    );
    check(
        "Code,Words\\n",
        "Kode,Words\\n",
        "/mappings/0/csv sample.mapping",
    );
    let (_, problems) = lint::test(&broken(
        "samples/things.yaml",
        "mapping: plain",
        "mapping: fancy",
    ));
    assert_eq!(
        places(&problems),
        [
            "/mappings/0/mapping sample.unknown-mapping",
            "/mappings sample.missing"
        ]
    );
}

#[test]
fn the_shipped_kits_pass_their_own_samples() {
    let (kits, problems) = lint::test(&Source::embedded());
    assert!(problems.is_empty(), "{}", lint::render(&problems));
    assert_eq!(kits.len(), 2);
}

fn kitctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kitctl"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn kitctl_tests_the_shipped_kits_and_refuses_a_broken_folder() {
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let shipped = kitctl(&["test"]);
    assert_eq!(
        (shipped.status.code(), said(&shipped).lines().count()),
        (Some(0), 2)
    );
    assert!(said(&kitctl(&["list"])).contains("entities: packages  sha256:"));
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in broken("entities/things.yaml", "title: code", "title: nothing").0 {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let broken = kitctl(&["lint", folder.path().to_str().unwrap()]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        said(&broken)
            .contains("mini/1.0.0/entities/things.yaml#/search/title: search.unknown-field"),
        "{}",
        said(&broken)
    );
    assert_eq!(kitctl(&["lint", "/nowhere/at/all"]).status.code(), Some(2));
}

#[test]
fn a_broken_kit_stops_the_start_with_one_message() {
    let problems = Kits::read(&broken("kit.yaml", "icon: box", "")).unwrap_err();
    assert_eq!(lint::render(&problems).lines().count(), 2);
}

#[tokio::test]
async fn a_released_version_cannot_change_under_its_tenants() {
    let mut service = Service::start().await;
    let ctx = testkit::context()
        .internal("niche")
        .tenant(kernel::TenantId::PLATFORM)
        .build();
    service.app.kits = Kits::read(&source()).unwrap();
    store::sync(&service.app, &ctx, false).await.unwrap();
    store::sync(&service.app, &ctx, false)
        .await
        .expect("the same content is no change");
    service.app.kits = Kits::read(&broken("kit.yaml", "icon: box", "icon: crate")).unwrap();
    let error = store::sync(&service.app, &ctx, false).await.unwrap_err();
    assert_eq!(error.reason(), "niche.kit_changed");
    assert!(
        error.message().contains("mini 1.0.0") && error.message().contains("new version"),
        "{}",
        error.message()
    );
    let production = Process::new("niche", Profile::Production, service.clock.clone());
    let stopped = niche::sync_kits(&service.app, &production)
        .await
        .unwrap_err();
    assert!(
        stopped.to_string().contains("mini 1.0.0"),
        "the start stops and says why: {stopped}"
    );
    let laptop = Process::new("niche", Profile::Dev, service.clock.clone());
    niche::sync_kits(&service.app, &laptop)
        .await
        .expect("on a laptop the changed kit replaces the old one");
    store::sync(&service.app, &ctx, false)
        .await
        .expect("and is what the database has seen now");
}
