//! `cargo xtask sqlx`: the query data in each service's `.sqlx/`, without `sqlx-cli`.
//!
//! The macros of sqlx describe each query on a live database and, when `SQLX_OFFLINE_DIR` is set, save what they learned there.
//! So this makes a scratch database, migrates it, and lets `cargo check` expand the macros against it. One check serves all
//! services: it runs with this program as the compiler's wrapper, which gives each package a folder of its own.

mod scratch;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::tree;
use scratch::Scratch;

/// Another `cargo` can build the package between our touch and our check; then nothing is expanded and we try again.
const ATTEMPTS: u32 = 5;
/// Tells the wrapper that it is one, and the folder in which each package has its folder.
const SAVED: &str = "TENANTRY_QUERY_DATA";

/// Refreshes the query data of `services` (all that have migrations when empty); with `check` only compares.
pub fn run(root: &Path, services: &[String], check: bool) -> Result<()> {
    let chosen = choose(&with_migrations(root)?, services)?;
    let server = server_url()?;
    let saved = tempfile::tempdir()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            scratch::sweep(&server).await?;
            let scratch = Scratch::create(&server).await?;
            let mut done = scratch.prepare(root, &chosen).await;
            if done.is_ok() {
                let packages = if services.is_empty() { &[] } else { &*chosen };
                done = expand(root, &chosen, packages, &scratch.url(), saved.path());
            }
            // Dropped before the error is looked at: a failed run leaves nothing behind.
            scratch.discard().await?;
            done
        })?;
    let mut stale = Vec::new();
    for service in &chosen {
        let dir = root.join("services").join(service).join(".sqlx");
        let fresh = tree::content(&saved.path().join(service))?;
        if let Err(error) =
            tree::settle(&dir, &fresh, check, &format!("cargo xtask sqlx {service}"))
        {
            stale.push(format!("{error:#}"));
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        bail!("{}", stale.join("\n"))
    }
}

/// Runs the compiler when cargo calls this program as its wrapper; otherwise nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "a wrapper is told by the environment what it wraps"
)]
pub fn wrap_compiler() -> Option<ExitCode> {
    let folder = PathBuf::from(std::env::var_os(SAVED)?);
    let mut arguments = std::env::args_os().skip(1);
    let compiler = arguments.next()?;
    let package = std::env::var_os("CARGO_PKG_NAME");
    let status = compile(compiler, arguments, package.map(|name| folder.join(name)));
    Some(match status {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tree::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    })
}

fn compile(
    compiler: OsString,
    arguments: impl Iterator<Item = OsString>,
    folder: Option<PathBuf>,
) -> Result<bool> {
    let mut command = Command::new(compiler);
    command.args(arguments);
    if let Some(folder) = folder {
        fs::create_dir_all(&folder)?;
        command.env("SQLX_OFFLINE_DIR", folder);
    }
    let status = command.status().context("cannot run the compiler")?;
    Ok(status.success())
}

/// Expands the macros of `services` against `url`, each into its folder below `saved`. Checks `packages`, or the whole
/// workspace when there are none: then what the other checks of the workspace compiled is compiled already.
fn expand(
    root: &Path,
    services: &[String],
    packages: &[String],
    url: &str,
    saved: &Path,
) -> Result<()> {
    let mut touched = Vec::new();
    for service in services {
        let folder = root.join("services").join(service);
        for path in ["src/lib.rs", "tests/it/main.rs"] {
            touched.push(Touched::of(folder.join(path))?);
        }
    }
    for _ in 0..ATTEMPTS {
        for file in &touched {
            file.touch()?;
        }
        let output = cargo_check(root, packages, url, saved)?;
        if services
            .iter()
            .all(|service| output.lines().any(|line| is_fresh_build(line, service)))
        {
            return Ok(());
        }
    }
    bail!("something else kept building the services; run this again when it has finished")
}

/// What cargo said on its standard output.
fn cargo_check(root: &Path, packages: &[String], url: &str, saved: &Path) -> Result<String> {
    let mut command = Command::new("cargo");
    command.args([
        "check",
        "--quiet",
        "--all-targets",
        "--message-format=json-render-diagnostics",
    ]);
    if packages.is_empty() {
        command.arg("--workspace");
    }
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command
        .current_dir(root)
        .env("SQLX_OFFLINE", "false")
        .env("DATABASE_URL", url)
        .env(SAVED, saved)
        .env("RUSTC_WORKSPACE_WRAPPER", std::env::current_exe()?)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("a service does not compile against its migrated schema; the lines above say where");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What cargo says about one artifact, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    fresh: Option<bool>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn is_fresh_build(line: &str, service: &str) -> bool {
    let Ok(message) = serde_json::from_str::<Message>(line) else {
        return false;
    };
    let is_library = message.target.is_some_and(|target| {
        target.name == service.replace('-', "_") && target.kind.iter().any(|kind| kind == "lib")
    });
    message.reason == "compiler-artifact" && is_library && message.fresh == Some(false)
}

/// A file that looks changed to cargo, because the macros look at the environment without telling cargo. Dropped, it looks as before, so that
/// nothing else is compiled again for our sake.
struct Touched {
    path: PathBuf,
    before: SystemTime,
}

impl Touched {
    fn of(path: PathBuf) -> Result<Self> {
        let describe = || format!("cannot look at {}", path.display());
        let before = fs::metadata(&path)
            .and_then(|file| file.modified())
            .with_context(describe)?;
        Ok(Self { path, before })
    }

    fn touch(&self) -> Result<()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "cargo compares file times with the real clock"
        )]
        let now = SystemTime::now();
        self.set(now)
            .with_context(|| format!("cannot open {}", self.path.display()))
    }

    /// Appending nothing instead of writing the content back: an editor may be saving the file at this moment.
    fn set(&self, time: SystemTime) -> std::io::Result<()> {
        let file = File::options().append(true).open(&self.path)?;
        file.set_modified(time)
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        if let Err(error) = self.set(self.before) {
            tree::say(&format!("{}: {error}", self.path.display()));
        }
    }
}

fn with_migrations(root: &Path) -> Result<Vec<String>> {
    let migrations = |folder: PathBuf| {
        tree::files(&folder.join("migrations"), &[".sql"]).map(|found| !found.is_empty())
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("services"))? {
        let entry = entry?;
        if migrations(entry.path())? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn choose(known: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!(
            "services/{unknown} has no migrations; those that have: {}",
            known.join(", ")
        );
    }
    Ok(if wanted.is_empty() {
        known.to_vec()
    } else {
        wanted.to_vec()
    })
}

fn server_url() -> Result<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a maintainer's command is no service and has no settings of its own"
    )]
    let url = std::env::var("TESTKIT_DATABASE_URL");
    url.context("TESTKIT_DATABASE_URL is not set: start the infrastructure with `./dev infra`, then `. deploy/local/test-env.sh`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_of_the_library_itself_counts() {
        let line = |name: &str, kind: &str, fresh: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},"fresh":{fresh}}}"#
            )
        };
        assert!(is_fresh_build(&line("auth", "lib", false), "auth"));
        assert!(!is_fresh_build(&line("auth", "lib", true), "auth"));
        assert!(!is_fresh_build(&line("auth", "bin", false), "auth"));
        assert!(!is_fresh_build(&line("kernel", "lib", false), "auth"));
        assert!(!is_fresh_build(
            r#"{"reason":"build-finished","success":true}"#,
            "auth"
        ));
    }

    #[test]
    fn services_are_chosen_by_name() {
        let known = ["auth".to_owned(), "tenant".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &["tenant".to_owned()]).unwrap(), ["tenant"]);
        let error = choose(&known, &["gateway".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("services/gateway has no migrations; those that have: auth, tenant"),
            "{error}"
        );
    }

    #[test]
    fn a_touched_file_looks_as_before_in_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        file.as_file().set_modified(before).unwrap();
        let modified = || fs::metadata(file.path()).unwrap().modified().unwrap();
        let touched = Touched::of(file.path().to_owned()).unwrap();
        touched.touch().unwrap();
        assert!(modified() > before);
        drop(touched);
        assert_eq!(modified(), before);
    }
}
