//! The search service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("search", &[Command::Serve, Command::Migrate], |reader| {
        drop(search::Config::read(reader))
    }) {
        Ok(Command::Migrate) => runtime::run("search", search::migrate),
        Ok(_) => runtime::run("search", search::serve),
        Err(code) => code,
    }
}
