//! The servers of the tests: commands that need them run again within `./dev exec`, which starts them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What `./dev exec` sets.
const MARK: &str = "TESTKIT_DATABASE_URL";

/// Whether the servers' addresses are known to this process.
#[expect(
    clippy::disallowed_methods,
    reason = "a maintainer's command, not a service with settings"
)]
pub fn are_known() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this very command line again with the servers up.
pub fn again_with_servers(root: &Path) -> Result<()> {
    let status = Command::new(root.join("dev"))
        .arg("exec")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .current_dir(root)
        .status()
        .context("cannot run ./dev exec")?;
    if !status.success() {
        bail!("see above");
    }
    Ok(())
}
