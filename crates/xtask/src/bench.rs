//! `cargo xtask bench`: the figures that the architecture promises, measured in one run and printed as one table.
//!
//! It starts a release build of `stack` on a database of its own beside whatever runs already, and speaks to it as a stranger does.
//! The cost of a request is the processor time of the platform's process, of PostgreSQL, of Redis and of RabbitMQ, as the kernel counts it:
//! other programs on the machine make a run longer, but hardly dearer. The load generator is not counted.
//! References (PostgreSQL alone, a server of Node and Fastify) are measured in the same run, round by round in turn with the platform.

mod creates;
mod crowd;
mod database;
mod fastify;
mod http;
mod imports;
mod library;
mod load;
mod overload;
mod pgbench;
mod platform;
mod process;
mod reads;
mod resident;
mod search;
mod table;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use platform::{Platform, Surroundings};
use resident::Resident;
use table::Table;

/// Starts that are measured; the middle one counts.
const STARTS: usize = 3;
/// How long the platform is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Cold start and idle memory.
    Start,
    /// Reads and lists, beside PostgreSQL alone and Fastify.
    Reads,
    /// Records created, and what follows from it later.
    Creates,
    /// An import, and reads meanwhile.
    Import,
    /// Ten tenants against ten thousand.
    Tenants,
    /// Search in 100,000 records, and the recall of vectors.
    Search,
    /// Three times as many requests as can be served.
    Overload,
}

/// How much is measured.
#[derive(Args)]
pub struct Extent {
    /// Rounds of everything that is measured in rounds; the middle one counts. 5 unless told, 2 when quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// Requests in each round. 10,000 unless told, 3,000 when quick.
    #[arg(long)]
    requests: Option<usize>,
    /// Connections that ask at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Records to import. 20,000 unless told, 10,000 when quick.
    #[arg(long)]
    records: Option<usize>,
    /// Few rounds and small sets, apart from the sizes that a goal names: shows that everything works, and roughly how fast.
    #[arg(long)]
    quick: bool,
    /// Only these sections, for example `--only reads,search`.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Reach PostgreSQL by TCP although it has a Unix socket.
    #[arg(long)]
    tcp: bool,
    /// Take this binary of `stack` instead of building one, for example to compare two.
    #[arg(long)]
    stack: Option<PathBuf>,
    /// Leave the platform running until Enter is pressed, for example to look at it with `perf`.
    #[arg(long)]
    stay: bool,
}

impl Extent {
    fn wants(&self, section: Section) -> bool {
        self.only.is_empty() || self.only.contains(&section)
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    fn requests(&self) -> usize {
        self.requests.unwrap_or(self.pick(3_000, 10_000))
    }

    fn pick(&self, quick: usize, full: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// What every section works with.
struct Bench<'b> {
    surroundings: &'b Surroundings,
    extent: &'b Extent,
    resident: Resident,
    table: Table,
}

/// Measures everything and prints the table.
pub fn run(root: &Path, extent: &Extent) -> Result<()> {
    if cfg!(debug_assertions) {
        return again_in_release(root);
    }
    let surroundings = Surroundings::prepare(root, extent.stack.as_deref(), extent.tcp)?;
    let mut table = Table::new(&platform::machine());
    // The first start prepares the database and is not measured.
    Platform::start(&surroundings, &[])?.0.stop()?;
    if extent.wants(Section::Start) {
        starts(&surroundings, &mut table)?;
    }
    let platform = Platform::start(&surroundings, &[])?.0;
    let mut bench = Bench {
        surroundings: &surroundings,
        extent,
        resident: resident::settle(&surroundings)?,
        table,
    };
    let measured = bench.sections(platform);
    // What was measured before something failed is told too.
    bench.table.print()?;
    surroundings.discard()?;
    measured
}

/// Runs this command once more, optimised: the load generator shares the cores with what it measures, and unoptimised it takes one of two for itself.
fn again_in_release(root: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args(["run", "--release", "--locked", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1))
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "see above");
    Ok(())
}

impl Bench<'_> {
    fn sections(&mut self, mut platform: Platform) -> Result<()> {
        let wants = |section| self.extent.wants(section);
        let [reads, creates, import, tenants, search, overload] = [
            Section::Reads,
            Section::Creates,
            Section::Import,
            Section::Tenants,
            Section::Search,
            Section::Overload,
        ]
        .map(wants);
        if reads {
            reads::measure(self, &platform)?;
        }
        if creates {
            platform = creates::measure(self, platform)?;
        }
        if overload {
            overload::measure(self)?;
        }
        if tenants {
            platform = crowd::measure(self, platform)?;
        }
        if import {
            imports::measure(self)?;
        }
        if search {
            search::measure(self)?;
        }
        if self.extent.stay {
            crate::tree::say(&format!(
                "process {} answers at {}; Enter ends it",
                platform.pid(),
                self.surroundings.address
            ));
            std::io::stdin().read_line(&mut String::new())?;
        }
        platform.stop()
    }

    /// Loads until the caches are full and the plans of statements are made.
    fn warm_up(&self, requests: &[Vec<u8>]) -> Result<()> {
        let count = self.extent.pick(1_000, 5_000);
        load::closed(
            &self.surroundings.address,
            requests,
            (count, self.extent.connections),
            200,
        )?;
        Ok(())
    }
}

fn starts(surroundings: &Surroundings, table: &mut Table) -> Result<()> {
    let mut times = Vec::new();
    let mut memory = Vec::new();
    for _ in 0..STARTS {
        let (platform, took) = Platform::start(surroundings, &[])?;
        times.push(took.as_secs_f64() * 1e3);
        pause(IDLE);
        memory.push(process::resident_bytes(platform.pid())? as f64 / 1_048_576.0);
        platform.stop()?;
    }
    let start = middle(&mut times);
    table.goal(
        "cold start, database prepared",
        format!("{start:.0} ms"),
        "<= 2,000 ms",
        start <= 2_000.0,
    );
    let idle = middle(&mut memory);
    table.goal(
        "resident memory when idle",
        format!("{idle:.0} MiB"),
        "<= 200 MiB",
        idle <= 200.0,
    );
    Ok(())
}

/// The median.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of a figure of each round.
fn middle_of<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    middle(&mut rounds.iter().map(figure).collect::<Vec<_>>())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement needs the real clock, and this package depends on no other"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "no request waits on these threads"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Looks again and again until there is something; nothing when it takes longer than `patience`.
fn patiently<T>(
    patience: Duration,
    step: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let started = now();
    while started.elapsed() < patience {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        pause(step);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_median() {
        assert_eq!(middle(&mut [5.0, 1.0, 3.0]), 3.0);
    }
}
