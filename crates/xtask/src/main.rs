//! Maintainer's commands: `cargo xtask <command>`.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::query_data::wrap_compiler().unwrap_or_else(xtask::run)
}
