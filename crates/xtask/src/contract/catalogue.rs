//! The seed of the catalogue, as far as the contract depends on it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::checks::Problem;
use super::surface::Surface;

/// Where the seed lies below the root.
pub const PATH: &str = "services/tenant/catalog.yaml";

/// The tools with their actions, and the packages that grant them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    tools: Vec<Tool>,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    key: String,
    name: Texts,
    description: Texts,
    actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    key: String,
    #[serde(default)]
    scope: Scope,
    name: Texts,
    description: Texts,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    #[default]
    Tenant,
    Platform,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    key: String,
    name: Texts,
    description: Texts,
    actions: Vec<String>,
}

/// A text in the languages of the product: a missing one is a parse error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    #[serde(rename = "pt-BR")]
    pt_br: String,
    en: String,
}

impl Texts {
    fn is_blank(&self) -> bool {
        self.pt_br.trim().is_empty() || self.en.trim().is_empty()
    }
}

impl Catalogue {
    /// Reads the seed of the working tree.
    pub fn load(root: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(root.join(PATH))
            .with_context(|| format!("cannot read {PATH}"))?;
        Self::parse(&text)
    }

    /// Reads the seed from its text.
    pub fn parse(text: &str) -> Result<Self> {
        serde_norway::from_str(text).with_context(|| format!("{PATH} is not in the expected form"))
    }

    /// Whether some tool has this action.
    pub fn has(&self, action: &str) -> bool {
        self.actions().any(|known| known.key == action)
    }

    /// Whether some tool has this action, or one that begins like `records.*`.
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => self.actions().any(|known| known.key.starts_with(prefix)),
            None => self.has(pattern),
        }
    }

    /// Whether the action is for platform staff alone.
    pub fn is_platform(&self, action: &str) -> bool {
        self.actions()
            .any(|known| known.key == action && known.scope == Scope::Platform)
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.tools.iter().flat_map(|tool| &tool.actions)
    }

    /// What is wrong within the seed itself, or with how it fits the contract.
    pub fn problems(&self, surface: &Surface) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut say = |subject: &str, text: String| {
            found.push(Problem::new(PATH, subject, "catalogue-is-sound", text))
        };
        let used: BTreeSet<&str> = surface
            .methods
            .iter()
            .filter_map(|method| method.policy.as_ref())
            .map(|policy| policy.permission.as_str())
            .collect();
        let mut seen = BTreeSet::new();
        let tools = self
            .tools
            .iter()
            .map(|tool| (&tool.key, &tool.name, &tool.description));
        let packages = self
            .packages
            .iter()
            .map(|package| (&package.key, &package.name, &package.description));
        for (key, name, description) in tools
            .chain(packages)
            .chain(self.actions().map(|a| (&a.key, &a.name, &a.description)))
        {
            if name.is_blank() || description.is_blank() {
                say(
                    key,
                    "name and description need a text in pt-BR and in en".to_owned(),
                );
            }
            if !seen.insert(key.as_str()) {
                say(key, "this key occurs twice".to_owned());
            }
        }
        for action in self.actions() {
            if !action.key.contains('.') {
                say(
                    &action.key,
                    "the key of an action is `<tool>.<verb>`".to_owned(),
                );
            }
            if !used.contains(action.key.as_str()) {
                say(
                    &action.key,
                    "no method asks for this action; remove it or declare it as a `permission`"
                        .to_owned(),
                );
            }
        }
        for package in &self.packages {
            for action in &package.actions {
                if !self.has(action) {
                    say(
                        &package.key,
                        format!("grants `{action}`, which no tool has"),
                    );
                } else if self.is_platform(action) {
                    say(
                        &package.key,
                        format!("grants `{action}`, which is for platform staff alone"),
                    );
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::sample::{check_with, method};
    use super::*;

    fn catalogue(actions: &str, granted: &str) -> Catalogue {
        Catalogue::parse(&format!(
            "tools:\n  - key: things\n    name: &t {{pt-BR: a, en: b}}\n    description: *t\n    actions:\n{actions}\npackages:\n  - key: starter\n    name: &p {{pt-BR: a, en: b}}\n    description: *p\n    actions: {granted}\n"
        ))
        .unwrap()
    }

    const READ: &str =
        "      - {key: things.read, name: {pt-BR: a, en: b}, description: {pt-BR: a, en: b}}\n";

    #[track_caller]
    fn check(catalogue: &Catalogue, expected: &[&str]) {
        check_with(
            &method("access: PERMISSION permission: \"things.read\" rate: DEFAULT"),
            |surface| catalogue.problems(surface),
            expected,
        );
    }

    #[test]
    fn a_sound_catalogue_has_no_problem() {
        check(&catalogue(READ, "[things.read]"), &[]);
    }

    #[test]
    fn unused_doubled_and_blank_entries_are_told() {
        let unused = format!(
            "{READ}      - {{key: things.fly, name: {{pt-BR: a, en: b}}, description: {{pt-BR: a, en: b}}}}\n"
        );
        check(
            &catalogue(&unused, "[]"),
            &["no method asks for this action"],
        );
        check(
            &catalogue(&format!("{READ}{READ}"), "[]"),
            &["occurs twice"],
        );
        check(
            &catalogue(&READ.replace("en: b}}", "en: ' '}}"), "[]"),
            &["need a text"],
        );
    }

    #[test]
    fn packages_grant_only_known_actions_of_tenants() {
        check(
            &catalogue(READ, "[things.write]"),
            &["grants `things.write`, which no tool has"],
        );
        let platform = READ.replace("{key: things.read,", "{key: things.read, scope: platform,");
        check(
            &catalogue(&platform, "[things.read]"),
            &["for platform staff alone"],
        );
    }

    #[test]
    fn a_missing_language_does_not_parse() {
        let text = "tools: [{key: a, name: {en: a}, description: {en: a, pt-BR: a}, actions: []}]\npackages: []";
        let error = format!("{:#}", Catalogue::parse(text).unwrap_err());
        assert!(error.contains("pt-BR"), "{error}");
    }
}
