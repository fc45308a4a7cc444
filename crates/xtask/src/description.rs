//! `cargo xtask openapi`: the published API description, as the gateway itself would serve it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::tree;

const FILE: &str = "services/gateway/openapi.json";
const COMMAND: &str = "cargo xtask openapi";

/// Writes `services/gateway/openapi.json`; with `check` only compares. Asks the binary `gateway`, or builds one.
pub fn run(root: &Path, gateway: Option<&Path>, check: bool) -> Result<()> {
    let mut command = if let Some(binary) = gateway {
        Command::new(binary)
    } else {
        // A process of its own: this package must build while the gateway does not.
        let mut cargo = Command::new("cargo");
        cargo.args(["run", "--quiet", "--package", "gateway", "--bin", "gateway"]);
        cargo.arg("--");
        cargo
    };
    let output = command
        .arg("openapi")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run the gateway")?;
    if !output.status.success() {
        bail!("`gateway openapi` failed; the lines above say why");
    }
    let fresh = canonical(&output.stdout)?;
    let path = root.join(FILE);
    if check {
        let committed = std::fs::read(&path).unwrap_or_default();
        return if committed == fresh {
            Ok(())
        } else {
            bail!("{FILE} is not current; run `{COMMAND}` and commit the result")
        };
    }
    std::fs::write(&path, &fresh).with_context(|| FILE.to_owned())?;
    tree::say(&format!("{FILE}: {} bytes", fresh.len()));
    Ok(())
}

/// Indented, members in the order of the gateway, one newline at the end: a change is one line in a diff.
fn canonical(output: &[u8]) -> Result<Vec<u8>> {
    let document: serde_json::Value =
        serde_json::from_slice(output).context("`gateway openapi` must print one JSON document")?;
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_does_not_depend_on_the_printer() {
        assert_eq!(
            canonical(b"{\"b\":1,\"a\":[]}").unwrap(),
            b"{\n  \"b\": 1,\n  \"a\": []\n}\n"
        );
        assert!(canonical(b"{} trailing").is_err());
    }
}
