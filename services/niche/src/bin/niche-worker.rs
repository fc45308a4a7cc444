//! The worker of the niche service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("niche-worker", &[Command::Serve], |reader| {
        drop(niche::Config::read(reader))
    }) {
        Ok(_) => runtime::run("niche-worker", niche::serve_worker),
        Err(code) => code,
    }
}
