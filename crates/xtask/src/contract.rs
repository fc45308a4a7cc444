//! `cargo xtask proto`: from the contract in `proto/` to `crates/proto/src/gen`.

mod code;
mod compile;
mod surface;
mod tables;

use std::path::Path;

use anyhow::Result;

use crate::tree;

/// Compiles and checks the contract, then generates code from it; with `check` nothing is written and stale files are an error.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let compiled = compile::folder(&root.join("proto"))?;
    let surface = surface::Surface::read(&compiled)?;
    let fresh = code::generate(&compiled, &surface)?;
    tree::settle(&root.join("crates/proto/src/gen"), &fresh, check, "cargo xtask proto")
}
