//! `cargo xtask campaign`: the long form of a proof, with counts and figures.
//!
//! The short form of the same code belongs to `./dev test`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{servers, tree};

/// The campaigns there are.
pub const LIST: &str = "crates/campaign/campaigns.yaml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Campaign {
    name: String,
    /// The claim.
    shows: String,
    /// The arguments of `cargo test`.
    test: String,
    /// About, on two cores.
    minutes: u32,
}

/// Runs one campaign, or tells which there are.
pub fn run(root: &Path, name: Option<&str>, release: bool) -> Result<()> {
    let text = fs::read_to_string(root.join(LIST)).with_context(|| LIST.to_owned())?;
    let campaigns: Vec<Campaign> = serde_norway::from_str(&text).context(LIST)?;
    let Some(name) = name else {
        for campaign in &campaigns {
            let Campaign {
                name,
                shows,
                minutes,
                ..
            } = campaign;
            tree::say(&format!("{name:16} {minutes:3} min  {shows}"));
        }
        return Ok(());
    };
    let Some(campaign) = campaigns.iter().find(|campaign| campaign.name == name) else {
        bail!("there is no campaign `{name}`; `cargo xtask campaign` lists them");
    };
    if !servers::are_known() {
        return servers::again_with_servers(root);
    }
    tree::say(&format!("{name}: {}", campaign.shows));
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--locked"]);
    if release {
        cargo.arg("--release");
    }
    let status = cargo
        .args(campaign.test.split_whitespace())
        .args(["--", "--nocapture", "--test-threads", "1"])
        .env("TENANTRY_CAMPAIGN", "long")
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the campaign `{name}` failed");
    }
    Ok(())
}
