//! The gateway; beside the usual commands, `gateway openapi` prints the description of the public API.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("openapi") {
        return gateway::openapi::print();
    }
    match runtime::command("gateway", &[Command::Serve], |reader| {
        drop(gateway::Config::read(reader))
    }) {
        Ok(_) => runtime::run("gateway", gateway::serve),
        Err(code) => code,
    }
}
