//! The worker of the tenant service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("tenant-worker", &[Command::Serve], |reader| {
        drop(tenant::Config::read(reader))
    }) {
        Ok(_) => runtime::run("tenant-worker", tenant::serve_worker),
        Err(code) => code,
    }
}
