//! The files of kits, from inside the binary or from a folder.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, include_dir};
use serde_json::Value;

use super::lint::{At, Problem};

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/kits");

/// A kit file larger than this is a mistake, not a kit.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Files by their path relative to the folder of all kits, `/`-separated.
#[derive(Clone, Debug, Default)]
pub struct Source(pub BTreeMap<String, Vec<u8>>);

impl Source {
    /// The kits inside this binary.
    pub fn embedded() -> Self {
        fn walk(dir: &Dir<'_>, into: &mut BTreeMap<String, Vec<u8>>) {
            for file in dir.files() {
                into.insert(
                    file.path().to_string_lossy().into_owned(),
                    file.contents().to_vec(),
                );
            }
            dir.dirs().for_each(|d| walk(d, into));
        }
        let mut files = BTreeMap::new();
        walk(&EMBEDDED, &mut files);
        Self(files)
    }

    /// The kits of a folder that holds `<key>/<version>/kit.yaml`.
    pub fn folder(root: &Path) -> std::io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut pending = vec![root.to_owned()];
        while let Some(dir) = pending.pop() {
            for entry in std::fs::read_dir(&dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let name = path
                        .strip_prefix(root)
                        .unwrap_or(&path)
                        .to_string_lossy()
                        .replace('\\', "/");
                    files.insert(name, std::fs::read(&path)?);
                }
            }
        }
        Ok(Self(files))
    }

    /// The `<key>/<version>` folders; a stray file elsewhere is a problem.
    pub fn kit_folders(&self, problems: &mut Vec<Problem>) -> Vec<String> {
        let mut folders: Vec<String> = Vec::new();
        for path in self.0.keys() {
            let mut parts = path.splitn(3, '/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(key), Some(version), Some(_)) => {
                    let folder = format!("{key}/{version}");
                    if folders.last() != Some(&folder) {
                        folders.push(folder);
                    }
                }
                _ => problems.push(At::file(path).problem(
                    "kit.stray-file",
                    "the file is not inside <key>/<version>/",
                    "move it into the folder of a kit version or delete it",
                )),
            }
        }
        folders
    }

    /// Parses every YAML file of a kit folder; keys are paths within the folder.
    pub fn parse(&self, folder: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, Value> {
        let prefix = format!("{folder}/");
        let mut parsed = BTreeMap::new();
        for (path, bytes) in self
            .0
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
        {
            let name = &path[prefix.len()..];
            let known = name == "kit.yaml"
                || ["taxonomies/", "entities/", "samples/"].iter().any(|dir| {
                    name.strip_prefix(dir)
                        .is_some_and(|rest| !rest.contains('/') && rest.ends_with(".yaml"))
                });
            if !known {
                problems.push(At::file(path).problem(
                    "kit.stray-file",
                    "a kit has no such file",
                    "a kit is kit.yaml, taxonomies/*.yaml, entities/*.yaml and samples/*.yaml",
                ));
                continue;
            }
            match parse_yaml(bytes) {
                Ok(value) => {
                    parsed.insert(name.to_owned(), value);
                }
                Err(problem) => problems.push(At::file(path).problem(
                    "yaml.syntax",
                    &problem,
                    "mend the YAML at that line",
                )),
            }
        }
        parsed
    }
}

/// Reads YAML into JSON. The detour over the YAML value is what refuses a duplicate key.
fn parse_yaml(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {FILE_BYTES_MAX} bytes"));
    }
    let yaml: serde_norway::Value = serde_norway::from_slice(bytes).map_err(|e| e.to_string())?;
    serde_json::to_value(yaml).map_err(|e| e.to_string())
}
