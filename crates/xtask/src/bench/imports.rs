//! An import of packages, and the time until all of them can be found.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::http::Caller;
use super::load::{self, Pace, percentile_ms};
use super::resident::text;
use super::{Bench, now, patiently, reads};

/// Ten thousand records take half a minute until they are indexed, on a busy machine a multiple.
const PATIENCE: Duration = Duration::from_secs(240);
/// Short beside the seconds that an import takes.
const STEP: Duration = Duration::from_millis(100);
const SECTIONS: [&str; 8] = [
    "admin", "database", "devel", "libs", "net", "utils", "video", "web",
];
const WORDS: [&str; 16] = [
    "fast", "small", "portable", "library", "server", "client", "tool", "format", "image",
    "network", "parser", "storage", "remote", "secure", "terminal", "editor",
];

/// Reads per second while nothing else and while an import happens: an ordinary load, far below the peak.
const READS_PER_SECOND: f64 = 500.0;
const READERS: usize = 16;

/// Imports alone and beside reads, each time until the index has caught up, and tells what the reads took.
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    let records = bench
        .extent
        .records
        .unwrap_or(bench.extent.pick(10_000, 20_000));
    let requests = reads::prepare(bench)?;
    bench.warm_up(&requests)?;
    let address = bench.surroundings.address.clone();
    // The whole import and a part of the indexing that follows.
    let lasts = Duration::from_secs(bench.extent.pick(6, 10) as u64);
    let pace = Pace {
        per_second: READS_PER_SECOND,
        lasts,
        connections: READERS,
    };
    crate::tree::say("reading without an import");
    let quiet = tail_ms(&address, &requests, pace)?;
    crate::tree::say("importing alone, until everything is indexed");
    let first = import(bench, "alone", records)?;
    crate::tree::say("importing beside reads");
    let (busy, second) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| tail_ms(&address, &requests, pace));
        let imported = import(bench, "beside", records);
        (reading.join().expect("reading does not panic"), imported)
    });
    let (busy, second) = (busy?, second?);
    bench.table.goal(
        "import: validated records per second",
        format!("{:.0}", first.per_second),
        ">= 3,000",
        first.per_second >= 3_000.0,
    );
    bench.table.row(
        &format!("  beside {READS_PER_SECOND:.0} reads per second"),
        format!("{:.0}", second.per_second),
        "",
    );
    bench.table.row(
        "index: documents per second with their embeddings, from the upload on",
        format!("{:.0}", first.indexed_per_second),
        "",
    );
    bench.table.row(
        "  the index was complete after the import by",
        format!("{:.1} s", first.behind.as_secs_f64()),
        "",
    );
    let ratio = busy.1 / quiet.1;
    bench.table.goal(
        &format!(
            "import: 99th percentile of {READS_PER_SECOND:.0} reads per second, against without"
        ),
        format!("{ratio:.2} ({:.2} / {:.2} ms)", busy.1, quiet.1),
        "<= 2.00",
        ratio <= 2.0,
    );
    bench.table.row(
        "  their medians",
        format!("{:.2} / {:.2} ms", busy.0, quiet.0),
        "",
    );
    Ok(())
}

/// Median and 99th percentile of reads at a pace, from when each was due.
fn tail_ms(address: &str, requests: &[Vec<u8>], pace: Pace) -> Result<(f64, f64)> {
    let told = load::open(address, requests, pace)?;
    ensure!(
        told.iter().all(|answer| answer.status == 200),
        "a read was refused"
    );
    let mut times: Vec<_> = told.iter().map(|answer| answer.since_due).collect();
    times.sort_unstable();
    Ok((percentile_ms(&times, 0.5), percentile_ms(&times, 0.99)))
}

/// How an import went.
struct Import {
    per_second: f64,
    indexed_per_second: f64,
    /// How long the index needed after the import was done.
    behind: Duration,
}

fn import(bench: &Bench<'_>, name: &str, records: usize) -> Result<Import> {
    let caller = bench.resident.caller()?;
    let known = documents(&caller)?.0;
    let csv = packages(name, records);
    let started = now();
    let import = caller.upload(
        "/v1/niches/software-catalog/packages/imports",
        csv.as_bytes(),
    )?;
    let path = format!("/v1/imports/{}", text(&import, "/data/id")?);
    let ended = patiently(PATIENCE, STEP, || {
        let import = caller.get(&path)?;
        Ok((!matches!(
            text(&import, "/data/status")?.as_str(),
            "queued" | "running"
        ))
        .then_some(import))
    })?;
    let imported = started.elapsed();
    let import = ended.context("the import did not end")?;
    let created = import
        .pointer("/data/createdRows")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(0);
    ensure!(
        created == records as u64,
        "{created} of {records} records were created: {import}"
    );
    let wanted = known + created;
    let caught_up = patiently(PATIENCE, STEP, || {
        let (documents, pending) = documents(&caller)?;
        Ok((documents >= wanted && pending == 0).then_some(()))
    })?;
    caught_up.context("the index did not catch up")?;
    Ok(Import {
        per_second: records as f64 / imported.as_secs_f64(),
        indexed_per_second: records as f64 / started.elapsed().as_secs_f64(),
        behind: started.elapsed() - imported,
    })
}

/// Documents in the index, and embeddings that are still to be made.
fn documents(caller: &Caller) -> Result<(u64, u64)> {
    let status = caller.get("/v1/search/status")?;
    let count = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    };
    Ok((count("/data/documents"), count("/data/pendingEmbeddings")))
}

/// The same packages in every run.
fn packages(name: &str, count: usize) -> String {
    let mut csv = String::from(
        "Package,Version,Section,Priority,Architecture,Installed-Size,Homepage,Maintainer,Summary\n",
    );
    for n in 0..count {
        let word = |step: usize| WORDS[(n / step + n) % WORDS.len()];
        csv.push_str(&format!(
            "{name}-{}-{}-{n},{}.{}-1,{},optional,amd64,{},https://example.org/{n},Team {} <team@example.org>,\"{} {} for the {} {}, number {n}\"\n",
            word(1), word(3), n % 9, n % 17, SECTIONS[n % SECTIONS.len()], 20 + n % 4000, n % 50, word(5), word(7), word(11), word(13),
        ));
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_many_different_and_the_same_each_time() {
        let csv = packages("a", 1000);
        let names: std::collections::BTreeSet<_> = csv
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next())
            .collect();
        assert_eq!(names.len(), 1000);
        assert_eq!(csv, packages("a", 1000));
    }
}
