//! The worker of the auth service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("auth-worker", &[Command::Serve], |reader| {
        drop(auth::Config::read(reader))
    }) {
        Ok(_) => runtime::run("auth-worker", auth::serve_worker),
        Err(code) => code,
    }
}
