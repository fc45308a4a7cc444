//! An import of packages, and the time until all of them can be found.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::http::Caller;
use super::resident::{Resident, text};
use super::table::Table;
use super::{now, patiently};

const PATIENCE: Duration = Duration::from_secs(600);
/// Short beside the seconds that an import takes.
const STEP: Duration = Duration::from_millis(100);
const SECTIONS: [&str; 8] = [
    "admin", "database", "devel", "libs", "net", "utils", "video", "web",
];
const WORDS: [&str; 16] = [
    "fast", "small", "portable", "library", "server", "client", "tool", "format", "image",
    "network", "parser", "storage", "remote", "secure", "terminal", "editor",
];

/// Imports, waits for the index, and puts both into the table.
pub(super) fn measure(resident: &Resident, records: usize, table: &mut Table) -> Result<()> {
    let caller = resident.caller()?;
    let known = documents(&caller)?.0;
    let csv = packages(records);
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
    table.row(
        "import: validated records per second",
        format!("{:.0}", records as f64 / imported.as_secs_f64()),
        ">= 3,000",
    );
    let wanted = known + created;
    let caught_up = patiently(PATIENCE, STEP, || {
        let (documents, pending) = documents(&caller)?;
        Ok((documents >= wanted && pending == 0).then_some(()))
    })?;
    caught_up.context("the index did not catch up")?;
    let rate = records as f64 / started.elapsed().as_secs_f64();
    table.row(
        "index: documents per second with their embeddings, from the upload on",
        format!("{rate:.0}"),
        "",
    );
    let behind = started.elapsed() - imported;
    table.row(
        "  the index was complete after the import by",
        format!("{:.1} s", behind.as_secs_f64()),
        "",
    );
    Ok(())
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
fn packages(count: usize) -> String {
    let mut csv = String::from(
        "Package,Version,Section,Priority,Architecture,Installed-Size,Homepage,Maintainer,Summary\n",
    );
    for n in 0..count {
        let word = |step: usize| WORDS[(n / step + n) % WORDS.len()];
        csv.push_str(&format!(
            "{}-{}-{n},{}.{}-1,{},optional,amd64,{},https://example.org/{n},Team {} <team@example.org>,\"{} {} for the {} {}, number {n}\"\n",
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
        let csv = packages(1000);
        let names: std::collections::BTreeSet<_> = csv
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next())
            .collect();
        assert_eq!(names.len(), 1000);
        assert_eq!(csv, packages(1000));
    }
}
