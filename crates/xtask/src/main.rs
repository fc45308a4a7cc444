//! Maintainer's commands: `cargo xtask <command>`.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run()
}
