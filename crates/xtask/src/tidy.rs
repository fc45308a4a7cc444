//! `cargo xtask tidy`: the house rules that no compiler knows.
//!
//! Each rule is a function from the working tree to findings; each finding says where, what, and how to mend it.

mod files;
mod locales;
mod manifests;
mod proofs;
mod roles;
mod services;
mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::tree;

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    line: usize,
    text: String,
    rule: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} [{}]",
            self.path, self.line, self.text, self.rule
        )
    }
}

/// A file of the tree that is text.
pub struct Source {
    /// Below the root, with `/`.
    pub path: String,
    /// The content.
    pub text: String,
}

impl Source {
    fn finding(&self, line: usize, rule: &'static str, text: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            text: text.into(),
            rule,
        }
    }

    /// The line (from 1) of a byte offset.
    fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// The code without the tests at its end.
    fn without_tests(&self) -> &str {
        self.text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default()
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The working tree as the rules see it.
pub struct Tree {
    root: PathBuf,
    sources: Vec<Source>,
}

impl Tree {
    /// Reads every text file below `root`; what is generated or not text is left out.
    pub fn read(root: &Path) -> Result<Self> {
        const NOT_OURS: [&str; 4] = [
            "crates/proto/src/gen/",
            "/.sqlx/",
            "services/gateway/openapi.json",
            "Cargo.lock",
        ];
        let mut sources = Vec::new();
        for path in tree::files(root, &[])? {
            let below = path
                .strip_prefix(root)?
                .to_string_lossy()
                .replace('\\', "/");
            if NOT_OURS.iter().any(|part| below.contains(part)) {
                continue;
            }
            if let Ok(text) = String::from_utf8(fs::read(&path)?) {
                sources.push(Source { path: below, text });
            }
        }
        Ok(Self {
            root: root.to_path_buf(),
            sources,
        })
    }

    /// The folders below `services` or `crates`, by name.
    fn packages(&self, kind: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .sources
            .iter()
            .filter_map(|source| {
                source
                    .path
                    .strip_prefix(kind)?
                    .strip_prefix('/')?
                    .split_once('/')
                    .map(|(name, _)| name.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

/// Every finding, in the order of files.
pub fn findings(tree: &Tree) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    found.extend(files::lengths(tree));
    found.extend(files::names(tree));
    found.extend(services::shape(tree));
    found.extend(services::settings_are_documented(tree));
    found.extend(words::nothing_of_a_machine(tree)?);
    found.extend(words::tests_are_honest(tree)?);
    found.extend(locales::reasons_have_texts(tree)?);
    found.extend(locales::rules_have_texts(tree)?);
    found.extend(locales::languages_agree(tree)?);
    found.extend(roles::permissions_exist(tree)?);
    found.extend(manifests::versions_are_central(tree));
    found.extend(manifests::sources_are_public(tree)?);
    found.extend(proofs::defences_are_there(tree)?);
    found.sort();
    Ok(found)
}

/// Fails when a rule is broken.
pub fn run(root: &Path) -> Result<()> {
    let found = findings(&Tree::read(root)?)?;
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(|finding| format!("  {finding}")).collect();
    bail!(
        "{} places break the house rules\n{}",
        found.len(),
        lines.join("\n")
    )
}

#[cfg(test)]
mod fixture {
    use super::*;

    /// A tree of these files on disk.
    pub fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let tree = Tree::read(dir.path()).unwrap();
        (dir, tree)
    }

    /// Asserts the beginnings of the findings: place and text.
    #[track_caller]
    pub fn check(files: &[(&str, &str)], rule: impl Fn(&Tree) -> Vec<Finding>, expected: &[&str]) {
        let (_dir, tree) = tree(files);
        let found: Vec<String> = rule(&tree).iter().map(ToString::to_string).collect();
        let fits = found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(line, part)| line.starts_with(part));
        assert!(fits, "found {found:#?}\nexpected {expected:#?}");
    }
}
