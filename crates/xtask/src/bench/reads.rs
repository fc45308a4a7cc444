//! Reads of one record: through the whole platform, and by PostgreSQL alone with the same statement.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::PgConnectOptions;

use super::http::{Connection, request};
use super::platform::{DATABASE, Platform, Surroundings};
use super::process::{self, Usage, backends, usage};
use super::resident::Resident;
use super::table::Table;
use super::{Extent, database, middle, now, pause};

/// How often the backends of `pgbench` are looked at: what they spend after the last look is lost.
const LOOK: Duration = Duration::from_millis(10);

/// One round of reads.
struct Round {
    cpu_us: f64,
    stack_us: f64,
    backends_us: f64,
    redis_us: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures both and puts them into the table.
pub(super) fn measure(
    surroundings: &Surroundings,
    platform: &Platform,
    resident: &Resident,
    extent: &Extent,
    table: &mut Table,
) -> Result<()> {
    let requests = prepare(resident)?;
    // Fills caches and the plans of prepared statements.
    load(surroundings, &requests, extent)?;
    let mut rounds = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..extent.rounds {
        rounds.push(round(surroundings, platform, &requests, extent)?);
        alone.push(pgbench(surroundings, resident, extent)?);
    }
    let of = |figure: fn(&Round) -> f64| middle(&mut rounds.iter().map(figure).collect::<Vec<_>>());
    let cpu = of(|round| round.cpu_us);
    let (alone_us, alone_per_second) = (
        middle(&mut alone.iter().map(|run| run.0).collect::<Vec<_>>()),
        middle(&mut alone.iter().map(|run| run.1).collect::<Vec<_>>()),
    );
    table.row(
        "read by id: processor time per request, all processes",
        format!("{cpu:.0} us"),
        "<= 250 us",
    );
    table.row(
        "  of it the platform",
        format!("{:.0} us", of(|round| round.stack_us)),
        "",
    );
    table.row(
        "  of it PostgreSQL",
        format!("{:.0} us", of(|round| round.backends_us)),
        "",
    );
    table.row(
        "  of it Redis",
        format!("{:.1} us", of(|round| round.redis_us)),
        "",
    );
    table.row(
        "PostgreSQL alone, same statement (pgbench)",
        format!("{alone_us:.0} us"),
        "",
    );
    table.row(
        "  the whole read is so many times that",
        format!("{:.1}", cpu / alone_us),
        "",
    );
    table.row(
        "reads per second",
        format!("{:.0}", of(|round| round.per_second)),
        "",
    );
    table.row("  PostgreSQL alone", format!("{alone_per_second:.0}"), "");
    table.row(
        "  time to answer, median",
        format!("{:.2} ms", of(|round| round.p50_ms)),
        "",
    );
    table.row(
        "  time to answer, 99th percentile",
        format!("{:.2} ms", of(|round| round.p99_ms)),
        "",
    );
    Ok(())
}

fn prepare(resident: &Resident) -> Result<Vec<Vec<u8>>> {
    let caller = resident.caller()?;
    let path = "/v1/niches/software-catalog/packages/records";
    Ok(resident
        .record_ids
        .iter()
        .map(|id| request(&format!("GET {path}/{id}"), caller.token.as_deref(), None))
        .collect())
}

fn round(
    surroundings: &Surroundings,
    platform: &Platform,
    requests: &[Vec<u8>],
    extent: &Extent,
) -> Result<Round> {
    let redis = surroundings.redis_pid()?;
    let look = || {
        [
            usage([platform.pid()]),
            usage(backends(DATABASE)),
            usage([redis]),
        ]
    };
    let before = look();
    let started = now();
    let mut latencies = load(surroundings, requests, extent)?;
    let took = started.elapsed();
    let after = look();
    let count = latencies.len() as f64;
    let [stack_us, backends_us, redis_us] =
        std::array::from_fn(|n| process::seconds(&before[n], &after[n]) * 1e6 / count);
    latencies.sort_unstable();
    let at = |share: f64| latencies[((count - 1.0) * share) as usize].as_secs_f64() * 1e3;
    Ok(Round {
        cpu_us: stack_us + backends_us + redis_us,
        stack_us,
        backends_us,
        redis_us,
        per_second: count / took.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

/// Reads over several kept connections at once and answers how long each read took.
fn load(
    surroundings: &Surroundings,
    requests: &[Vec<u8>],
    extent: &Extent,
) -> Result<Vec<Duration>> {
    let each = extent.requests / extent.connections;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..extent.connections)
            .map(|reader| {
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut connection = Connection::open(&surroundings.address)?;
                    let own = requests.iter().cycle().skip(reader * 7).take(each);
                    own.map(|request| {
                        let started = now();
                        let answer = connection.exchange(request)?;
                        ensure!(
                            answer.status == 200,
                            "a read answered {}: {}",
                            answer.status,
                            String::from_utf8_lossy(&answer.body)
                        );
                        Ok(started.elapsed())
                    })
                    .collect()
                })
            })
            .collect();
        let parts: Result<Vec<_>> = readers
            .into_iter()
            .map(|reader| reader.join().expect("readers do not panic"))
            .collect();
        Ok(parts?.concat())
    })
}

/// Runs the statement that the platform has just run, by the same role; answers microseconds of the backends and transactions per second.
fn pgbench(
    surroundings: &Surroundings,
    resident: &Resident,
    extent: &Extent,
) -> Result<(f64, f64)> {
    let statement = database::last_statement(
        surroundings.admin_url(),
        "niche_app",
        "from niche.records where id = $1",
    )?;
    let mut script = tempfile::NamedTempFile::new()?;
    writeln!(script, "{};", named(&statement))?;
    let url = surroundings.setting("NICHE_DB_URL")?;
    let options = PgConnectOptions::from_str(url).context("NICHE_DB_URL")?;
    let password = url
        .rsplit_once('@')
        .and_then(|(head, _)| head.rsplit_once(':'))
        .map_or("", |(_, password)| password);
    let each = extent.requests / extent.connections;
    let before = usage(backends(DATABASE));
    let mut child = Command::new(pgbench_program())
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args([
            format!("--client={}", extent.connections),
            format!("--transactions={each}"),
        ])
        .args([
            "--define".to_owned(),
            format!("tenant={}", resident.tenant_id),
        ])
        .args([
            "--define".to_owned(),
            format!("id={}", resident.record_ids[0]),
        ])
        .args([
            "--define",
            "niche=software-catalog",
            "--define",
            "entity=packages",
            "--file",
        ])
        .arg(script.path())
        .args(["--host", "127.0.0.1", "--username", "niche_app", DATABASE])
        .arg(format!("--port={}", options.get_port()))
        .env("PGPASSWORD", password)
        .env("PGOPTIONS", "-c search_path=")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run pgbench, which comes with PostgreSQL's server package")?;
    // The backends end with pgbench and take their figures with them.
    let mut after = Usage::new();
    while child.try_wait()?.is_none() {
        after.extend(usage(
            backends(DATABASE)
                .into_iter()
                .filter(|pid| !before.contains_key(pid)),
        ));
        pause(LOOK);
    }
    let output = child.wait_with_output()?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "pgbench failed: {report}");
    let per_second = report
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    let count = (each * extent.connections) as f64;
    Ok((
        process::seconds(&Usage::new(), &after) * 1e6 / count,
        per_second.context("pgbench told no tps")?,
    ))
}

/// pgbench knows no numbered parameters.
fn named(statement: &str) -> String {
    [
        ("$1", ":id"),
        ("$2", ":niche"),
        ("$3", ":entity"),
        ("$4", ":tenant"),
    ]
    .into_iter()
    .fold(statement.to_owned(), |text, (number, name)| {
        text.replace(number, name)
    })
}

/// Debian keeps it out of the path, in one folder for each version; the newest sorts last.
fn pgbench_program() -> String {
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
