//! `cargo xtask mutants`: removes one defence at a time in a copy of the tree, and expects its proof to fail.
//!
//! A proof that passes without its defence proves nothing. The list is checked by hand and by `cargo xtask tidy`, which
//! refuses an entry whose text is no longer in the source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{servers, tree};

/// The defences, each with how to remove it and who must notice.
pub const LIST: &str = "crates/campaign/mutants.yaml";

/// How much of a failure is shown.
const REASON_LINES: usize = 3;
const REASON_CHARS: usize = 240;

/// One defence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// What is removed, as a noun.
    pub defence: String,
    /// The file that has it.
    pub file: String,
    /// Its text, which is in the file once.
    pub find: String,
    /// What stands there without it.
    #[serde(default)]
    pub replace: String,
    /// The arguments of `cargo test` that must fail then.
    pub test: String,
}

/// What became of one mutant.
enum Fate {
    /// Its proof failed, and said this: a proof that fails for another reason tells nothing.
    Told(String),
    Survived,
    DoesNotCompile,
}

/// The entries of the list.
pub fn list(text: &str) -> Result<Vec<Mutant>> {
    serde_norway::from_str(text).context(LIST)
}

/// Tries every mutant whose defence or file contains `only`, beginning with number `from`; fails when one survives.
pub fn run(root: &Path, only: Option<&str>, from: usize) -> Result<()> {
    if !servers::are_known() {
        return servers::again_with_servers(root);
    }
    let mut mutants = list(&fs::read_to_string(root.join(LIST))?)?;
    mutants.retain(|mutant| {
        only.is_none_or(|part| mutant.defence.contains(part) || mutant.file.contains(part))
    });
    let copy = Copy::of(root)?;
    let before = from.saturating_sub(1).min(mutants.len());
    let mut told = 0;
    for (at, mutant) in mutants.iter().enumerate().skip(before) {
        let (word, reason) = match copy.try_out(mutant)? {
            Fate::Told(reason) => {
                told += 1;
                ("told", reason)
            }
            Fate::Survived => ("SURVIVED", String::new()),
            Fate::DoesNotCompile => ("DOES NOT COMPILE", String::new()),
        };
        let Mutant { defence, test, .. } = mutant;
        tree::say(&format!(
            "{:3}/{}  {word}: {defence} ({test}) {reason}",
            at + 1,
            mutants.len()
        ));
    }
    let tried = mutants.len() - before;
    if told < tried {
        bail!("{told} of {tried} removed defences were told");
    }
    tree::say(&format!("all {told} removed defences were told"));
    Ok(())
}

/// The committed tree beside the working one, so that nobody builds a mutant by accident.
struct Copy {
    folder: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn of(root: &Path) -> Result<Self> {
        let folder = root.join("target/mutants");
        if folder.exists() {
            git(root, &["worktree", "remove", "--force", "target/mutants"])?;
        }
        git(root, &["worktree", "prune"])?;
        git(
            root,
            &["worktree", "add", "--detach", "target/mutants", "HEAD"],
        )?;
        let target = root.join("target");
        Ok(Self { folder, target })
    }

    fn try_out(&self, mutant: &Mutant) -> Result<Fate> {
        let path = self.folder.join(&mutant.file);
        let sound = fs::read_to_string(&path).with_context(|| mutant.file.clone())?;
        if sound.matches(mutant.find.trim_end()).count() != 1 {
            bail!("`{}` is not once in {}", mutant.find, mutant.file);
        }
        fs::write(
            &path,
            sound.replace(mutant.find.trim_end(), mutant.replace.trim_end()),
        )?;
        let compiled = self.cargo(mutant, &["--no-run"])?;
        let fate = if compiled.status.success() {
            let tested = self.cargo(mutant, &[])?;
            match tested.status.success() {
                true => Fate::Survived,
                false => Fate::Told(reason(&String::from_utf8_lossy(&tested.stdout))),
            }
        } else {
            Fate::DoesNotCompile
        };
        fs::write(&path, sound)?;
        Ok(fate)
    }

    fn cargo(&self, mutant: &Mutant, more: &[&str]) -> Result<Output> {
        Command::new("cargo")
            .args(["test", "--locked", "--quiet"])
            .args(more)
            .args(mutant.test.split_whitespace())
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .context("cannot run cargo")
    }
}

/// The first failure in what tests printed: where, and the first lines of what they said.
fn reason(printed: &str) -> String {
    let mut lines = printed
        .lines()
        .skip_while(|line| !line.contains("panicked at"));
    let place = lines
        .next()
        .and_then(|line| line.split_once("panicked at "))
        .map_or("without a word", |(_, place)| place);
    let said: Vec<&str> = lines
        .skip_while(|line| line.trim().is_empty())
        .take_while(|line| !line.trim().is_empty() && !line.starts_with("note:"))
        .take(REASON_LINES)
        .map(str::trim)
        .collect();
    let said: String = said.join(" ").chars().take(REASON_CHARS).collect();
    format!("{place} {said}")
}

impl Drop for Copy {
    fn drop(&mut self) {
        let removed = Command::new("git")
            .args(["worktree", "remove", "--force", "."])
            .current_dir(&self.folder)
            .output();
        if !removed.is_ok_and(|output| output.status.success()) {
            tree::say(&format!("{} was left behind", self.folder.display()));
        }
    }
}

fn git(root: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
