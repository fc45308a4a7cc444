//! PostgreSQL alone: `pgbench` with the statement that the platform runs, as the same role, over the same kind of connection.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::PgConnectOptions;

use super::platform::{DATABASE, Spent, Surroundings};
use super::{Bench, database};

/// One round.
pub(super) struct Round {
    pub(super) postgres_us: f64,
    pub(super) per_second: f64,
}

/// The statement of a read, once the platform has run it.
pub(super) fn read_statement(bench: &Bench<'_>) -> Result<String> {
    let statement = database::last_statement(
        bench.surroundings.admin_url(),
        "niche_app",
        "from niche.records r where r.id = $1",
    )?;
    Ok(named(&statement))
}

/// Runs `statement` as often as a round has requests.
pub(super) fn round(bench: &Bench<'_>, statement: &str) -> Result<Round> {
    let (surroundings, resident) = (bench.surroundings, &bench.resident);
    let mut script = tempfile::NamedTempFile::new()?;
    writeln!(script, "{statement};")?;
    let connections = bench.extent.connections;
    let each = bench.extent.requests() / connections;
    let servers = surroundings.servers()?;
    let before = Spent::so_far(0, servers);
    let output = command(surroundings)?
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={connections}"))
        .arg(format!("--transactions={each}"))
        .arg(format!("--define=tenant={}", resident.tenant_id))
        .arg(format!("--define=id={}", resident.record_ids[0]))
        .args([
            "--define=niche=software-catalog",
            "--define=entity=packages",
        ])
        .arg("--file")
        .arg(script.path())
        .arg(DATABASE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run pgbench, which comes with PostgreSQL's server package")?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "pgbench failed: {report}");
    let spent = Spent::so_far(0, servers).since(before, (each * connections) as f64);
    let per_second = report
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    Ok(Round {
        postgres_us: spent.postgres,
        per_second: per_second.context("pgbench told no tps")?,
    })
}

fn command(surroundings: &Surroundings) -> Result<Command> {
    let mut command = Command::new(program());
    for (name, value) in environment(surroundings)? {
        command.env(name, value);
    }
    command.env("PGOPTIONS", "-c search_path=");
    Ok(command)
}

/// Where PostgreSQL is and as whom the niche service connects, for programs of the C library and for `pg`.
pub(super) fn environment(surroundings: &Surroundings) -> Result<[(&'static str, String); 4]> {
    let url = surroundings.setting("NICHE_DB_URL")?;
    let options = PgConnectOptions::from_str(url).context("NICHE_DB_URL")?;
    let password = url
        .rsplit_once('@')
        .and_then(|(head, _)| head.rsplit_once(':'))
        .map_or("", |(_, password)| password);
    let host = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => options.get_host().to_owned(),
    };
    Ok([
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGPASSWORD", password.to_owned()),
    ])
}

/// pgbench knows no numbered parameters.
fn named(statement: &str) -> String {
    [
        ("$1", ":id"),
        ("$2", ":niche"),
        ("$3", ":entity"),
        ("$4", ":tenant"),
        ("$5", ":tenant"),
    ]
    .into_iter()
    .fold(statement.to_owned(), |text, (number, name)| {
        text.replace(number, name)
    })
}

/// Debian keeps it out of the path, in one folder for each version; the newest sorts last.
fn program() -> String {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/pgbench"))
        .collect();
    found.retain(|path| path.exists());
    found.sort();
    found
        .pop()
        .map_or_else(|| "pgbench".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_get_names() {
        assert_eq!(
            named("a = $1 and $4::uuid::text"),
            "a = :id and :tenant::uuid::text"
        );
    }
}
