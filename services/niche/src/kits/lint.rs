//! What a kit may contain, and every way in which it can be wrong: file, JSON pointer, rule and how to mend it, all at once.

mod parts;
mod refs;
mod report;
mod schema;

pub(crate) use schema::FORMATS;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::source::Source;
use super::{Kit, LoadedKit, Version, golden};
use report::Lint;
pub use report::{At, Problem, render};

/// Reads every kit of `source`. Kits with a problem are left out of the first part and listed in the second.
pub fn check(source: &Source) -> (Vec<LoadedKit>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut kits = Vec::new();
    for folder in source.kit_folders(&mut problems) {
        match check_folder(source, &folder) {
            Ok((loaded, _)) => kits.push(loaded),
            Err(found) => problems.extend(found),
        }
    }
    (kits, problems)
}

/// Lints every kit and then runs its golden samples, as `kitctl test` does.
pub fn test(source: &Source) -> (Vec<LoadedKit>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut kits = Vec::new();
    for folder in source.kit_folders(&mut problems) {
        match check_folder(source, &folder) {
            Ok((loaded, samples)) => {
                problems.extend(golden::run(&folder, &loaded.kit, &samples));
                kits.push(loaded);
            }
            Err(found) => problems.extend(found),
        }
    }
    (kits, problems)
}

/// The samples of a kit by entity, as parsed.
pub type Samples = BTreeMap<String, Value>;

fn check_folder(source: &Source, folder: &str) -> Result<(LoadedKit, Samples), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut files = source.parse(folder, &mut problems);
    let Some(main) = files.remove("kit.yaml") else {
        if !problems.iter().any(|p| p.file.ends_with("/kit.yaml")) {
            let at = At::file(&format!("{folder}/kit.yaml"));
            problems.push(at.problem(
                "kit.missing-file",
                "the kit has no kit.yaml",
                "write one with key, version, name, description and icon",
            ));
        }
        return Err(problems);
    };
    let take = |dir: &str, files: &mut BTreeMap<String, Value>| -> BTreeMap<String, Value> {
        let names: Vec<String> = files
            .keys()
            .filter(|n| n.starts_with(dir))
            .cloned()
            .collect();
        names
            .into_iter()
            .filter_map(|n| {
                files
                    .remove(&n)
                    .map(|v| (n[dir.len()..n.len() - ".yaml".len()].to_owned(), v))
            })
            .collect()
    };
    let taxonomies = take("taxonomies/", &mut files);
    let entities = take("entities/", &mut files);
    let samples = take("samples/", &mut files);

    let mut lint = Lint::new(folder, problems);
    lint_head(&mut lint, &main, folder);
    for (key, value) in &taxonomies {
        parts::taxonomy(&mut lint, key, value);
    }
    if entities.is_empty() {
        let at = lint.at("kit.yaml");
        lint.report(
            &at,
            "kit.no-entity",
            "the kit has no entity",
            "add entities/<key>.yaml with a form",
        );
    }
    for (key, value) in &entities {
        parts::entity(&mut lint, key, value, &taxonomies);
    }
    refs::hints(&mut lint, &main, &entities);
    for key in samples.keys().filter(|k| !entities.contains_key(*k)) {
        let at = lint.at(&format!("samples/{key}.yaml"));
        lint.report(
            &at,
            "sample.unknown-entity",
            &format!("the kit has no entity {key:?}"),
            "name the file after an entity",
        );
    }
    if !lint.problems.is_empty() {
        return Err(lint.problems);
    }
    assemble(folder, main, taxonomies, entities)
        .map(|loaded| (loaded, samples))
        .map_err(|problem| vec![problem])
}

const HEAD_KEYS: &[&str] = &[
    "key",
    "version",
    "name",
    "description",
    "icon",
    "groups",
    "ui",
    "prompts",
    "workflows",
    "reports",
];

fn lint_head(lint: &mut Lint, main: &Value, folder: &str) {
    let at = lint.at("kit.yaml");
    let Some(head) = lint.object(
        &at,
        main,
        HEAD_KEYS,
        &["key", "version", "name", "description", "icon"],
    ) else {
        return;
    };
    let (folder_key, folder_version) = folder.split_once('/').unwrap_or((folder, ""));
    if let Some(key) = lint.key(&at.key("key"), head.get("key"))
        && key != folder_key
    {
        lint.report(
            &at.key("key"),
            "kit.folder",
            &format!("the key {key:?} is not the folder's {folder_key:?}"),
            "make the two equal",
        );
    }
    if let Some(version) = lint.string(&at.key("version"), head.get("version")) {
        if Version::parse(version).is_none() {
            lint.report(
                &at.key("version"),
                "kit.version",
                &format!("{version:?} is not a version"),
                "write three numbers, for example 1.0.0",
            );
        } else if version != folder_version {
            lint.report(
                &at.key("version"),
                "kit.folder",
                &format!("the version {version:?} is not the folder's {folder_version:?}"),
                "make the two equal",
            );
        }
    }
    lint.text(&at.key("name"), head.get("name"));
    lint.text(&at.key("description"), head.get("description"));
    lint.string(&at.key("icon"), head.get("icon"));
}

/// Puts the files of a sound kit together into the one document that is stored, served and hashed.
fn assemble(
    folder: &str,
    main: Value,
    taxonomies: BTreeMap<String, Value>,
    entities: BTreeMap<String, Value>,
) -> Result<LoadedKit, Problem> {
    let Value::Object(mut manifest) = main else {
        return Err(At::file(folder).problem(
            "shape.type",
            "kit.yaml is not a mapping",
            "write keys and values",
        ));
    };
    let collect =
        |map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect::<Map<_, _>>());
    manifest.insert("taxonomies".into(), collect(taxonomies));
    manifest.insert("entities".into(), collect(entities));
    let manifest = json!(manifest);
    let checksum = hex::encode(Sha256::digest(manifest.to_string()));
    match serde_json::from_value::<Kit>(manifest.clone()) {
        Ok(kit) => Ok(LoadedKit {
            kit: Arc::new(kit),
            manifest,
            checksum,
        }),
        Err(e) => Err(At::file(folder).problem(
            "kit.shape",
            &e.to_string(),
            "compare with a kit that works",
        )),
    }
}
