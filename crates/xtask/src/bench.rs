//! `cargo xtask bench`: the figures that the architecture promises, measured in one run and printed as one table.
//!
//! It starts a release build of `stack` on a database of its own beside whatever runs already, and speaks to it as a stranger does.
//! The platform's cost is the processor time of its process, of PostgreSQL's backends for that database and of Redis, as the kernel counts it:
//! other programs on the machine make a run longer, but hardly dearer. The load generator is not counted.

mod database;
mod http;
mod imports;
mod platform;
mod process;
mod reads;
mod resident;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use platform::{Platform, Surroundings};
use table::Table;

/// Starts that are measured; the middle one counts.
const STARTS: usize = 3;
/// How long the platform is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// How much is measured.
#[derive(Args)]
pub struct Extent {
    /// Rounds of reads; the middle one counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Reads in each round.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Connections that read at the same time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Records to import; 0 leaves the import out.
    #[arg(long, default_value_t = 20_000)]
    records: usize,
    /// Take `target/release/stack` as it is instead of building it.
    #[arg(long)]
    built: bool,
    /// Leave the platform running until Enter is pressed, for example to look at it with `perf`.
    #[arg(long)]
    stay: bool,
}

/// Measures everything and prints the table.
pub fn run(root: &Path, extent: &Extent) -> Result<()> {
    let surroundings = Surroundings::prepare(root, extent.built)?;
    let mut table = Table::new(&platform::machine());
    // The first start prepares the database and is not measured.
    Platform::start(&surroundings)?.0.stop()?;
    let mut starts = Vec::new();
    for _ in 1..STARTS {
        let (platform, took) = Platform::start(&surroundings)?;
        platform.stop()?;
        starts.push(took.as_secs_f64() * 1e3);
    }
    let (platform, took) = Platform::start(&surroundings)?;
    starts.push(took.as_secs_f64() * 1e3);
    table.row(
        "cold start, database prepared",
        format!("{:.0} ms", middle(&mut starts)),
        "<= 2,000 ms",
    );
    pause(IDLE);
    let resident_bytes = process::resident_bytes(platform.pid())?;
    table.row(
        "resident memory when idle",
        format!("{:.0} MiB", resident_bytes as f64 / 1_048_576.0),
        "<= 200 MiB",
    );

    let resident = resident::settle(&surroundings)?;
    reads::measure(&surroundings, &platform, &resident, extent, &mut table)?;
    if extent.records > 0 {
        imports::measure(&resident, extent.records, &mut table)?;
    }
    if extent.stay {
        crate::tree::say(&format!(
            "process {} answers at {}; Enter ends it",
            platform.pid(),
            surroundings.address
        ));
        std::io::stdin().read_line(&mut String::new())?;
    }
    platform.stop()?;
    surroundings.discard()?;
    table.print()
}

/// The median.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
