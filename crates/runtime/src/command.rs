//! The command line of a service binary: one word, with help.

use std::process::ExitCode;

use crate::settings::Reader;

/// What exit code a wrong command line has (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// What a binary can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run until told to stop. The default.
    Serve,
    /// Bring the schema up to date and end.
    Migrate,
    /// Write the first data, idempotently, and end.
    Seed,
    /// Publish events again that were published before, and end. [`words`] has the conditions.
    Republish,
}

impl Command {
    const fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Migrate => "migrate",
            Self::Seed => "seed",
            Self::Republish => "republish",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Serve => "run until SIGTERM or Ctrl-C (the default)",
            Self::Migrate => "bring the database schema up to date and end",
            Self::Seed => "write the first data and end; a second run changes nothing",
            Self::Republish => {
                "publish events of the last days again and end, for example: republish --last 2h"
            }
        }
    }
}

/// Reads the command line of the binary `name`.
///
/// `config` prints every setting with its default, `help` the commands; both end the process with code 0, as an unknown word does
/// with 64: then the code comes back as the error.
pub fn command(
    name: &str,
    known: &[Command],
    read_config: impl FnOnce(&mut Reader),
) -> Result<Command, ExitCode> {
    let mut words = std::env::args().skip(1);
    let word = words.next().unwrap_or_else(|| "serve".to_owned());
    if let Some(command) = known.iter().copied().find(|command| command.word() == word) {
        return Ok(command);
    }
    match word.as_str() {
        "config" => {
            let mut reader = Reader::from_env();
            read_config(&mut reader);
            say(&reader.describe());
            Err(ExitCode::SUCCESS)
        }
        "help" | "--help" | "-h" => {
            say(&usage(name, known));
            Err(ExitCode::SUCCESS)
        }
        other => {
            eprintln!(
                "{name}: there is no command `{other}`\n\n{}",
                usage(name, known)
            );
            Err(ExitCode::from(EXIT_USAGE))
        }
    }
}

/// What the command line says after the command.
pub fn words() -> Vec<String> {
    std::env::args().skip(2).collect()
}

fn usage(name: &str, known: &[Command]) -> String {
    let mut text = format!("usage: {name} [command]\n\n");
    for command in known {
        text.push_str(&format!("  {:<9} {}\n", command.word(), command.help()));
    }
    text.push_str(
        "  config    print every setting with its default and end\n  help      print this and end\n",
    );
    text
}

#[expect(clippy::print_stdout, reason = "these commands exist to print")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command() {
        let text = usage("tenant", &[Command::Serve, Command::Migrate]);
        assert!(
            text.contains("serve")
                && text.contains("migrate")
                && text.contains("config")
                && !text.contains("seed")
        );
    }
}
