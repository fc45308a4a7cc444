//! The niche service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    let known = [Command::Serve, Command::Migrate, Command::Republish];
    match runtime::command("niche", &known, |reader| drop(niche::Config::read(reader))) {
        Ok(Command::Migrate) => runtime::run("niche", niche::migrate),
        Ok(Command::Republish) => runtime::run("niche", niche::republish),
        Ok(_) => runtime::run("niche", niche::serve),
        Err(code) => code,
    }
}
