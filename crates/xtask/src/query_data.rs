//! `cargo xtask sqlx`: the query data in each service's `.sqlx/`, without `sqlx-cli`.
//!
//! The macros of sqlx describe each query on a live database and, when `SQLX_OFFLINE_DIR` is set, save what they learned there.
//! So this makes a scratch database, migrates it, and lets `cargo check` expand the macros against it.

mod scratch;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::tree;
use scratch::Scratch;

/// Another `cargo` can build the package between our touch and our check; then nothing is expanded and we try again.
const ATTEMPTS: u32 = 5;
const MACROS: [&str; 6] = [
    "query!(",
    "query_as!(",
    "query_scalar!(",
    "query_unchecked!(",
    "query_as_unchecked!(",
    "query_scalar_unchecked!(",
];

/// Refreshes the query data of `services` (all that have migrations when empty); with `check` only compares.
pub fn run(root: &Path, services: &[String], check: bool) -> Result<()> {
    let chosen = choose(&with_migrations(root)?, services)?;
    let server = server_url()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            scratch::sweep(&server).await?;
            let mut stale = Vec::new();
            for service in &chosen {
                match refresh(root, &server, service, check).await {
                    Ok(()) => {}
                    Err(error) if check => stale.push(format!("{error:#}")),
                    Err(error) => return Err(error),
                }
            }
            if stale.is_empty() {
                Ok(())
            } else {
                bail!("{}", stale.join("\n"))
            }
        })
}

async fn refresh(root: &Path, server: &str, service: &str, check: bool) -> Result<()> {
    let scratch = Scratch::create(server, service).await?;
    let saved = match scratch.prepare(root, service).await {
        Ok(()) => expand(root, service, &scratch.url()),
        Err(error) => Err(error),
    };
    // Dropped before the error is looked at: a failed run leaves nothing behind.
    scratch.discard().await?;
    let dir = root.join("services").join(service).join(".sqlx");
    tree::settle(&dir, &saved?, check, &format!("cargo xtask sqlx {service}"))
}

/// Expands the macros of a package against `url` and returns the files that they saved.
fn expand(root: &Path, service: &str, url: &str) -> Result<tree::Content> {
    let saved = tempfile::tempdir()?;
    let folder = root.join("services").join(service);
    let tests_too = uses_macros(&folder.join("tests"))?;
    for _ in 0..ATTEMPTS {
        touch(&folder.join("src/lib.rs"))?;
        if tests_too {
            touch(&folder.join("tests/it/main.rs"))?;
        }
        if cargo_check(root, service, url, saved.path(), tests_too)? {
            return tree::content(saved.path());
        }
    }
    bail!("something else kept building `{service}`; run this again when it has finished")
}

/// Whether the library was compiled by this very call.
fn cargo_check(
    root: &Path,
    service: &str,
    url: &str,
    saved: &Path,
    tests_too: bool,
) -> Result<bool> {
    let mut command = Command::new("cargo");
    command.args([
        "check",
        "--quiet",
        "--message-format=json-render-diagnostics",
        "--package",
        service,
    ]);
    command.args(if tests_too {
        &["--all-targets"][..]
    } else {
        &["--lib", "--bins"]
    });
    let output = command
        .current_dir(root)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", saved)
        .env("DATABASE_URL", url)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!(
            "`{service}` does not compile against its migrated schema; the lines above say where"
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .any(|line| is_fresh_build(line, service)))
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

/// Makes cargo compile a file again: the macros look at the environment without telling cargo.
fn touch(path: &Path) -> Result<()> {
    // Appending nothing instead of writing the content back: an editor may be saving the file at this moment.
    let file = File::options()
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo compares file times with the real clock"
    )]
    file.set_modified(std::time::SystemTime::now())?;
    Ok(())
}

fn uses_macros(dir: &Path) -> Result<bool> {
    for path in tree::files(dir, &[".rs"])? {
        let text = fs::read_to_string(&path)?;
        if MACROS.iter().any(|name| text.contains(name)) {
            return Ok(true);
        }
    }
    Ok(false)
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
    fn macros_in_tests_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("a.rs"),
            "let x = sqlx::query(\"select 1\");",
        )
        .unwrap();
        assert!(!uses_macros(dir.path()).unwrap());
        fs::write(
            dir.path().join("b.rs"),
            "let x = sqlx::query!(\"select 1\");",
        )
        .unwrap();
        assert!(uses_macros(dir.path()).unwrap());
    }
}
