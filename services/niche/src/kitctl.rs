//! The kit author's tool: `kitctl lint`, `kitctl test`, `kitctl list`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::kits::source::Source;
use crate::kits::{LoadedKit, lint};

/// Checks kits before they ship.
#[derive(Debug, Parser)]
#[command(name = "kitctl", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reports everything that is wrong with the kits, with file, JSON pointer, rule and fix.
    Lint {
        /// A folder that holds `<key>/<version>/kit.yaml`; without it the kits inside this program.
        folder: Option<PathBuf>,
    },
    /// Lints, then runs the golden samples: valid and invalid records and files for the mappings.
    Test {
        /// As for `lint`.
        folder: Option<PathBuf>,
    },
    /// Lists the kits with their entities and checksums.
    List {
        /// As for `lint`.
        folder: Option<PathBuf>,
    },
}

/// Runs a command line. Exit codes: 0 sound, 1 problems were found, 2 wrong usage or an unreadable folder.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match report(arguments.command) {
        Ok((text, sound)) => {
            say(&text);
            if sound {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            say(&error);
            ExitCode::from(2)
        }
    }
}

/// The text of a command, and whether the kits are sound.
fn report(command: Command) -> Result<(String, bool), String> {
    let (folder, tested, listed) = match command {
        Command::Lint { folder } => (folder, false, false),
        Command::Test { folder } => (folder, true, false),
        Command::List { folder } => (folder, false, true),
    };
    let source = match folder {
        None => Source::embedded(),
        Some(path) => {
            Source::folder(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?
        }
    };
    let (kits, problems) = if tested {
        lint::test(&source)
    } else {
        lint::check(&source)
    };
    if !problems.is_empty() {
        return Ok((lint::render(&problems), false));
    }
    if kits.is_empty() {
        return Err("there is no kit here: expected <key>/<version>/kit.yaml".to_owned());
    }
    let verdict = if tested {
        "lint and samples are fine"
    } else {
        "lint is fine"
    };
    let lines: Vec<String> = kits
        .iter()
        .map(|kit| {
            if listed {
                describe(kit)
            } else {
                format!("{}: {verdict}", name(kit))
            }
        })
        .collect();
    Ok((lines.join("\n"), true))
}

fn name(kit: &LoadedKit) -> String {
    format!("{} {}", kit.kit.key, kit.kit.version)
}

fn describe(kit: &LoadedKit) -> String {
    let entities: Vec<&str> = kit.kit.entities.keys().map(String::as_str).collect();
    format!(
        "{}  {}  entities: {}  sha256:{}",
        name(kit),
        kit.kit.name.en,
        entities.join(", "),
        kit.checksum
    )
}

/// Standard output is what this tool is for; a closed pipe is not its problem.
fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
