//! The machine's own Debian package index, as the CSV that the kit `software-catalog` takes.

use anyhow::{Context as _, ensure};
use deb822_fast::Deb822;

/// The header of the CSV: the names of the index, which the kit's import mapping knows.
pub const COLUMNS: [&str; 9] = [
    "Package",
    "Version",
    "Section",
    "Priority",
    "Architecture",
    "Installed-Size",
    "Homepage",
    "Maintainer",
    "Summary",
];

/// A file to import.
pub struct PackageFile {
    /// Rows below the header.
    pub rows: usize,
    /// The file.
    pub csv: Vec<u8>,
}

/// Asks the package manager for its local lists; nothing is downloaded.
pub async fn read() -> anyhow::Result<PackageFile> {
    let output = tokio::process::Command::new("apt-cache")
        .arg("dumpavail")
        .output()
        .await
        .context("cannot run `apt-cache dumpavail`; the demo imports the package index of a Debian or Ubuntu machine")?;
    ensure!(
        output.status.success(),
        "`apt-cache dumpavail` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout).context("the package index is not UTF-8")?;
    let index: Deb822 = text
        .parse()
        .map_err(|error| anyhow::anyhow!("the package index cannot be read: {error:?}"))?;
    let rows = index
        .iter()
        .filter(|paragraph| paragraph.get("Package").is_some())
        .map(|paragraph| {
            COLUMNS
                .map(|column| match column {
                    // The index has the summary in the first line of the description.
                    "Summary" => paragraph
                        .get("Description")
                        .or_else(|| paragraph.get("Description-en"))
                        .unwrap_or_default(),
                    other => paragraph.get(other).unwrap_or_default(),
                })
                .map(|value| value.lines().next().unwrap_or_default().to_owned())
        });
    let file = write(rows)?;
    ensure!(
        file.rows > 0,
        "the package index is empty; run `apt-get update` as root once"
    );
    Ok(file)
}

/// A few packages, for tests.
pub fn sample() -> anyhow::Result<PackageFile> {
    let row = |name: &str, section: &str, maintainer: &str, summary: &str| {
        [
            name,
            "1.0-1",
            section,
            "optional",
            "amd64",
            "120",
            "https://example.org",
            maintainer,
            summary,
        ]
        .map(str::to_owned)
    };
    let mut rows = vec![
        row(
            "vlc",
            "video",
            "Debian Multimedia Maintainers <team@example.org>",
            "multimedia player and streamer",
        ),
        row(
            "mpv",
            "video",
            "Ana Souza <ana@example.org>",
            "video player based on MPlayer/mplayer2",
        ),
        row(
            "redis",
            "database",
            "Debian Redis Team <team@example.org>",
            "persistent key-value database with network interface",
        ),
        row(
            "postgresql",
            "database",
            "Debian PostgreSQL Maintainers <team@example.org>",
            "object-relational SQL database",
        ),
    ];
    rows.extend((0..600).map(|n| {
        row(
            &format!("filler-{n:04}"),
            "misc",
            "Debian QA Group <qa@example.org>",
            "dummy package",
        )
    }));
    write(rows.into_iter())
}

fn write(rows: impl Iterator<Item = [String; COLUMNS.len()]>) -> anyhow::Result<PackageFile> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let mut count = 0;
    for row in rows {
        writer.write_record(&row)?;
        count += 1;
    }
    Ok(PackageFile {
        rows: count,
        csv: writer
            .into_inner()
            .map_err(|error| anyhow::anyhow!("{error}"))?,
    })
}
