//! Commands that maintain the repository: generated code, query data, the published API description and the house rules.
//!
//! Nothing here is part of a normal build; what a command writes is committed.
#![warn(missing_docs)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod bench;
pub mod campaign;
pub mod contract;
pub mod description;
pub mod mutants;
pub mod new_service;
pub mod query_data;
pub mod servers;
pub mod tidy;
pub mod tree;

/// The command line of `cargo xtask`.
#[derive(Parser)]
#[command(name = "cargo xtask", about = "Commands that maintain the repository")]
struct Cli {
    /// Another checkout to work on.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the contract in `proto/` and generate `crates/proto/src/gen`.
    Proto {
        /// Write nothing; fail when the committed files are not current.
        #[arg(long)]
        check: bool,
    },
    /// Refresh the query data in `services/*/.sqlx` against a scratch database.
    Sqlx {
        /// The services; all that have migrations when none is named.
        services: Vec<String>,
        /// Write nothing; fail when the committed files are not current.
        #[arg(long)]
        check: bool,
    },
    /// Write the published API description, `services/gateway/openapi.json`.
    Openapi {
        /// Write nothing; fail when the committed file is not current.
        #[arg(long)]
        check: bool,
        /// A gateway that is built already; without it, one is built.
        #[arg(long)]
        gateway: Option<PathBuf>,
    },
    /// Measure a release build of the platform and print one table.
    Bench(bench::Extent),
    /// Run the long form of a proof; without a name, list them.
    Campaign {
        /// Which.
        name: Option<String>,
        /// With optimised code.
        #[arg(long)]
        release: bool,
    },
    /// Remove one defence at a time in a copy of the committed tree, and expect its proof to fail.
    Mutants {
        /// A part of the defence's name or of its file's path; all when left out.
        only: Option<String>,
        /// Begin at this number, to go on with a run that was interrupted.
        #[arg(long, default_value_t = 1)]
        from: usize,
    },
    /// Check the house rules that no compiler knows.
    Tidy,
    /// Lay out a new service.
    NewService {
        /// One lower-case noun in the singular.
        noun: String,
    },
}

/// Parses the command line and runs one command; every problem is reported on standard error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let root = cli.root.unwrap_or_else(tree::root);
    let done = match cli.command {
        Command::Proto { check } => contract::run(&root, check),
        Command::Openapi { check, gateway } => description::run(&root, gateway.as_deref(), check),
        Command::Bench(extent) => bench::run(&root, &extent),
        Command::Campaign { name, release } => campaign::run(&root, name.as_deref(), release),
        Command::Mutants { only, from } => mutants::run(&root, only.as_deref(), from),
        Command::Tidy => tidy::run(&root),
        Command::NewService { noun } => new_service::run(&root, &noun),
        Command::Sqlx { services, check } => query_data::run(&root, &services, check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tree::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
