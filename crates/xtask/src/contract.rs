//! `cargo xtask proto`: from the contract in `proto/` to `crates/proto/src/gen`.

mod catalogue;
mod checks;
mod code;
mod compile;
mod surface;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::tree;
pub use catalogue::{Catalogue, PATH as CATALOGUE};

/// Compiles and checks the contract, then generates code from it; with `check` nothing is written and stale files are an error.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let compiled = compile::folder(&root.join("proto"))?;
    let surface = surface::Surface::read(&compiled)?;
    let problems = checks::all(&surface, &Catalogue::load(root)?, &service_names(root)?);
    if !problems.is_empty() {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("  {problem}"))
            .collect();
        bail!(
            "the contract breaks its rules; nothing was generated\n{}",
            lines.join("\n")
        );
    }
    let fresh = code::generate(&compiled, &surface)?;
    tree::settle(
        &root.join("crates/proto/src/gen"),
        &fresh,
        check,
        "cargo xtask proto",
    )
}

/// The folders of `services/`.
fn service_names(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root.join("services"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The problems of one more file beside the contract.
#[cfg(test)]
pub fn problems_of(name: &str, text: &str) -> Vec<String> {
    let surface = checks::sample::surface_of(name, text);
    let root = tree::root();
    let catalogue = Catalogue::load(&root).unwrap();
    let mut services = service_names(&root).unwrap();
    services.insert("note".to_owned());
    let found = checks::all(&surface, &catalogue, &services);
    found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_keeps_its_rules() {
        let root = tree::root();
        let compiled = compile::folder(&root.join("proto")).unwrap();
        let surface = surface::Surface::read(&compiled).unwrap();
        let found = checks::all(
            &surface,
            &Catalogue::load(&root).unwrap(),
            &service_names(&root).unwrap(),
        );
        assert!(found.is_empty(), "{found:#?}");
    }
}
