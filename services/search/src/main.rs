//! The search service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    let known = [Command::Serve, Command::Migrate, Command::Republish];
    match runtime::command("search", &known, |reader| {
        drop(search::Config::read(reader))
    }) {
        Ok(Command::Migrate) => runtime::run("search", search::migrate),
        Ok(Command::Republish) => runtime::run("search", search::republish),
        Ok(_) => runtime::run("search", search::serve),
        Err(code) => code,
    }
}
