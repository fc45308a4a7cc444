//! The worker of the search service.

use std::process::ExitCode;

use runtime::Command;

fn main() -> ExitCode {
    match runtime::command("search-worker", &[Command::Serve], |reader| {
        drop(search::Config::read(reader))
    }) {
        Ok(_) => runtime::run("search-worker", search::serve_worker),
        Err(code) => code,
    }
}
