//! The platform under measurement: a release build with settings, ports, database and folders of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::process::family_seconds;
use super::{database, http, now, patiently};

/// The database of a run.
pub(super) const DATABASE: &str = "tenantry_bench";
/// Longer than any pause of a run without the broker.
const QUEUES_EXPIRE_MS: u32 = 300_000;
/// Migrations of an empty database on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// The drain of a process takes 25 seconds at most.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
/// Fine enough for a start that may take two seconds.
const STEP: Duration = Duration::from_millis(5);

/// What the platform needs around it.
pub(super) struct Surroundings {
    root: PathBuf,
    stack: PathBuf,
    settings: BTreeMap<String, String>,
    admin_url: String,
    postmaster: u32,
    folder: TempDir,
    /// Where the platform answers, `host:port`.
    pub(super) address: String,
}

impl Surroundings {
    /// Builds the platform unless that is done, starts the servers and creates the database.
    pub(super) fn prepare(root: &Path, stack: Option<&Path>, by_tcp: bool) -> Result<Self> {
        if stack.is_none() {
            crate::tree::say("building the platform (release)");
            run(
                root,
                "cargo",
                &["build", "--quiet", "--release", "--package", "stack"],
            )?;
        }
        run(root, "./dev", &["infra"])?;
        let folder = tempfile::tempdir()?;
        let http = free_port()?;
        let mut settings = settings(root, http)?;
        let admin_url = settings
            .get("TENANTRY_ADMIN_DB_URL")
            .context("TENANTRY_ADMIN_DB_URL is not in .dev/env")?
            .clone();
        if !by_tcp {
            by_socket(&mut settings, &root.join(".dev/postgres"));
        }
        let below = |name: &str| folder.path().join(name).display().to_string();
        let key = below("signing.pem");
        let kind = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt"];
        let out = ["rsa_keygen_bits:2048", "-out", &key];
        run(root, "openssl", &[&kind[..], &out[..]].concat())?;
        for (name, value) in [
            ("S3_DATA_DIR", below("objects")),
            ("MAIL_DIR", below("mail")),
            ("AUTH_SIGNING_KEY_FILE", key.clone()),
            // Of this run alone, and forgotten by the broker soon after it, however it ends.
            ("AMQP_PREFIX", format!("bench{}.", std::process::id())),
            ("AMQP_QUEUES_EXPIRE_MS", QUEUES_EXPIRE_MS.to_string()),
            ("REDIS_PREFIX", format!("bench{}:", std::process::id())),
            // What is measured is the work of a request, not its refusal.
            ("GATEWAY_RATE_LIMIT_FACTOR", "5000".to_owned()),
        ] {
            settings.insert(name.to_owned(), value);
        }
        fs::create_dir_all(folder.path().join("mail"))?;
        database::create(&admin_url, DATABASE)?;
        let stack = stack.map_or_else(|| root.join("target/release/stack"), Path::to_path_buf);
        Ok(Self {
            root: root.to_path_buf(),
            stack,
            settings,
            admin_url,
            postmaster: first_number(&root.join(".dev/postgres/data/postmaster.pid"))?,
            folder,
            address: format!("127.0.0.1:{http}"),
        })
    }

    /// Drops the database.
    pub(super) fn discard(self) -> Result<()> {
        database::discard(&self.admin_url, DATABASE)
    }

    /// The address of PostgreSQL with its administrator.
    pub(super) fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// A setting of the platform.
    pub(super) fn setting(&self, name: &str) -> Result<&str> {
        self.settings
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("{name} is not in .dev/env"))
    }

    /// A caller who has not signed in.
    pub(super) fn caller(&self) -> http::Caller {
        http::Caller {
            address: self.address.clone(),
            token: None,
        }
    }

    /// The mails that were sent.
    pub(super) fn mails(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.folder.path().join("mail"))?;
        entries
            .map(|entry| Ok(String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned()))
            .collect()
    }

    /// Where the key lies that signs access tokens.
    pub(super) fn signing_key(&self) -> PathBuf {
        self.folder.path().join("signing.pem")
    }

    /// The repository.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The processes that work for a request, beside the one that answers it.
    pub(super) fn servers(&self) -> Result<Servers> {
        Ok(Servers {
            postgres: self.postmaster,
            redis: first_number(&self.root.join(".dev/redis/redis.pid"))?,
            rabbitmq: first_number(&self.root.join(".dev/rabbitmq/node.pid"))?,
        })
    }
}

/// Process ids.
#[derive(Clone, Copy)]
pub(super) struct Servers {
    postgres: u32,
    redis: u32,
    rabbitmq: u32,
}

/// Processor time in microseconds.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) server: f64,
    pub(super) postgres: f64,
    pub(super) redis: f64,
    pub(super) rabbitmq: f64,
}

impl Spent {
    /// What the process `server` and the servers behind it have spent so far.
    pub(super) fn so_far(server: u32, servers: Servers) -> Self {
        let of = |pid| family_seconds(pid) * 1e6;
        Self {
            server: of(server),
            postgres: of(servers.postgres),
            redis: of(servers.redis),
            rabbitmq: of(servers.rabbitmq),
        }
    }

    /// Since `before`, for each of `count`.
    pub(super) fn since(self, before: Self, count: f64) -> Self {
        Self {
            server: (self.server - before.server) / count,
            postgres: (self.postgres - before.postgres) / count,
            redis: (self.redis - before.redis) / count,
            rabbitmq: (self.rabbitmq - before.rabbitmq) / count,
        }
    }

    /// Less `share` of what is spent anyway.
    pub(super) fn less(self, other: Self, share: f64) -> Self {
        Self {
            server: self.server - other.server * share,
            postgres: self.postgres - other.postgres * share,
            redis: self.redis - other.redis * share,
            rabbitmq: self.rabbitmq - other.rabbitmq * share,
        }
    }

    /// Of the processes that answer a request; the broker has no part in that.
    pub(super) fn answering(self) -> f64 {
        self.server + self.postgres + self.redis
    }

    /// Of all processes.
    pub(super) fn all(self) -> f64 {
        self.server + self.postgres + self.redis + self.rabbitmq
    }
}

/// The running platform; dropped, it is killed.
pub(super) struct Platform(Child);

impl Platform {
    /// Starts it with other settings than usual and answers how long it took until it was ready.
    pub(super) fn start(
        surroundings: &Surroundings,
        other: &[(&str, &str)],
    ) -> Result<(Self, Duration)> {
        let log_file = surroundings.folder.path().join("stack.log");
        let log = File::options().create(true).append(true).open(&log_file)?;
        let started = now();
        let child = mortal(&surroundings.stack)
            .arg("up")
            .current_dir(&surroundings.root)
            .env_clear()
            .envs(&surroundings.settings)
            .envs(other.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the platform")?;
        let mut platform = Self(child);
        let ready = http::request("GET /health/ready", None, None);
        let answered = patiently(START_PATIENCE, STEP, || {
            if let Some(status) = platform.0.try_wait()? {
                let log = fs::read_to_string(&log_file).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "the platform ended with {status}; its last lines, newest first:\n{}",
                    tail.join("\n")
                );
            }
            let answer = http::Connection::open(&surroundings.address)
                .and_then(|mut connection| connection.exchange(&ready));
            Ok(answer.ok().filter(|answer| answer.status == 200))
        })?;
        let took = started.elapsed();
        ensure!(answered.is_some(), "the platform did not become ready");
        Ok((platform, took))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end and waits for that.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = self.pid().to_string();
        run(Path::new("/"), "kill", &["-TERM", &pid])?;
        let ended = patiently(STOP_PATIENCE, STEP, || Ok(self.0.try_wait()?))?;
        ensure!(ended.is_some(), "the platform did not end");
        Ok(())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // It has ended already unless the run failed, and then there is nothing to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command whose process ends with this one, even if this one is killed.
pub(super) fn mortal(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The machine in a few words.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, name)| name);
    format!("{cores} cores, {model}")
}

/// The settings of `./dev` with ports of their own and the database of the run.
fn settings(root: &Path, http: u16) -> Result<BTreeMap<String, String>> {
    let output = Command::new("bash")
        .args(["-c", "set -a; . .dev/env; env -0"])
        .current_dir(root)
        .env("TENANTRY_HTTP_PORT", http.to_string())
        .env("TENANTRY_ADMIN_PORT", free_port()?.to_string())
        .env("TENANTRY_S3_PORT", free_port()?.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run bash")?;
    ensure!(output.status.success(), "cannot read .dev/env");
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(environment: &str) -> BTreeMap<String, String> {
    let pairs = environment
        .split('\0')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            match value
                .strip_suffix("/tenantry")
                .filter(|_| name.contains("_DB_"))
            {
                Some(server) => (name.to_owned(), format!("{server}/{DATABASE}")),
                _ => (name.to_owned(), value.to_owned()),
            }
        })
        .collect()
}

/// Leads every address of PostgreSQL to its Unix socket, where it has one: all of this runs on one machine.
fn by_socket(settings: &mut BTreeMap<String, String>, home: &Path) {
    let Some(folder) = fs::canonicalize(home).ok().filter(|home| has_socket(home)) else {
        return;
    };
    let host = folder.display().to_string().replace('/', "%2F");
    for (name, value) in settings.iter_mut().filter(|(name, _)| name.contains("DB_")) {
        if name.ends_with("URL") {
            *value = value.replace("@127.0.0.1:", &format!("@{host}:"));
        }
    }
}

fn has_socket(home: &Path) -> bool {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with(".s.PGSQL."))
}

/// The number in the first line of a file.
fn first_number(file: &Path) -> Result<u32> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let line = text.lines().next().unwrap_or_default();
    line.trim()
        .parse()
        .with_context(|| format!("{} holds no process id", file.display()))
}

/// A port that nobody has at this moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub(super) fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    // What a command says is for the person at the terminal; standard output is kept for the table.
    command
        .args(arguments)
        .current_dir(folder)
        .stdout(std::io::stderr());
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        status.success(),
        "`{program} {}` failed",
        arguments.join(" ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_databases_lead_to_the_database_of_the_run() {
        let parsed = parse("NICHE_DB_URL=postgres://a:b@h:1/tenantry\0MAIL_DIR=/x/tenantry\0");
        assert_eq!(parsed["NICHE_DB_URL"], "postgres://a:b@h:1/tenantry_bench");
        assert_eq!(parsed["MAIL_DIR"], "/x/tenantry");
    }
}
