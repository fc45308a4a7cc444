//! The niche service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("niche", &[Command::Serve, Command::Migrate], |reader| {
        drop(niche::Config::read(reader))
    }) {
        Ok(Command::Migrate) => runtime::run("niche", niche::migrate),
        Ok(_) => runtime::run("niche", niche::serve),
        Err(code) => code,
    }
}
