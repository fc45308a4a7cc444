//! `kitctl`: checks kits before they ship.

use std::process::ExitCode;

fn main() -> ExitCode {
    niche::kitctl::main(std::env::args_os())
}
