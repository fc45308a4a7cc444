//! The tenant service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    let known = [
        Command::Serve,
        Command::Migrate,
        Command::Seed,
        Command::Republish,
    ];
    match runtime::command("tenant", &known, |reader| {
        drop(tenant::Config::read(reader))
    }) {
        Ok(Command::Serve) => runtime::run("tenant", tenant::serve),
        Ok(Command::Migrate) => runtime::run("tenant", tenant::migrate),
        Ok(Command::Seed) => runtime::run("tenant", tenant::seed),
        Ok(Command::Republish) => runtime::run("tenant", tenant::republish),
        Err(code) => code,
    }
}
