//! Where dependencies are declared and where they come from.

use anyhow::Result;

use super::{Finding, Tree};

/// Members take every dependency from the workspace, so that each exists in one version with one set of features.
pub fn versions_are_central(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let members = tree
        .sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml"));
    for source in members {
        let mut in_dependencies = false;
        for (at, line) in source.text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with('[') {
                in_dependencies = line.trim_matches(['[', ']']).ends_with("dependencies");
            } else if in_dependencies
                && !line.is_empty()
                && !line.starts_with('#')
                && line.contains('=')
                && !line.contains("workspace = true")
            {
                let text = "a dependency without `workspace = true`; put version and features into the root Cargo.toml";
                found.push(source.finding(at + 1, "versions-are-central", text));
            }
        }
    }
    found
}

/// The lock file names the public index alone, so that a fresh clone builds anywhere.
pub fn sources_are_public(tree: &Tree) -> Result<Vec<Finding>> {
    const PUBLIC: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let path = tree.root.join("Cargo.lock");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path)?;
    let foreign = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("source = ") && *line != PUBLIC);
    let finding = |(at, line): (usize, &str)| Finding {
        path: "Cargo.lock".to_owned(),
        line: at + 1,
        text: format!("`{line}` is not the public index; depend on a published version"),
        rule: "sources-are-public",
    };
    Ok(foreign.map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    #[test]
    fn versions_in_members_are_told() {
        let member = "[package]\nversion = \"1\"\n\n[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"x\"] }\nc = \"1\"\n\n[lints]\nworkspace = true\n";
        check(
            &[
                ("crates/a/Cargo.toml", member),
                ("Cargo.toml", "[workspace.dependencies]\nc = \"1\""),
            ],
            versions_are_central,
            &["crates/a/Cargo.toml:7:"],
        );
    }

    #[test]
    fn foreign_sources_are_told() {
        let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nsource = \"git+https://example.com/x\"\n";
        check(
            &[("Cargo.lock", lock)],
            |tree| sources_are_public(tree).unwrap(),
            &["Cargo.lock:2:"],
        );
    }
}
