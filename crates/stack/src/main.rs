//! The whole platform in one process.

use std::process::ExitCode;

const USAGE: &str = "usage: stack [command]

  up      prepare the database, then run every service and worker until SIGTERM or Ctrl-C (the default)
  demo    walk through the running platform and tell what happens
  help    print this and end
";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref().unwrap_or("up") {
        "up" => runtime::run("stack", stack::up),
        "demo" => stack::demo::main(),
        "help" | "--help" | "-h" => {
            eprint!("{USAGE}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("stack: there is no command `{other}`\n\n{USAGE}");
            ExitCode::from(64)
        }
    }
}
