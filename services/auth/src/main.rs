//! The auth service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    let known = [
        Command::Serve,
        Command::Migrate,
        Command::Seed,
        Command::Republish,
    ];
    match runtime::command("auth", &known, |reader| drop(auth::Config::read(reader))) {
        Ok(Command::Serve) => runtime::run("auth", auth::serve),
        Ok(Command::Migrate) => runtime::run("auth", auth::migrate),
        Ok(Command::Seed) => runtime::run("auth", auth::seed),
        Ok(Command::Republish) => runtime::run("auth", auth::republish),
        Err(code) => code,
    }
}
