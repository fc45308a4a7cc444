//! The working tree: where it is, what is in it, and whether two folders hold the same.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/xtask lies two levels below the root")
        .to_path_buf()
}

/// Writes one line for the person at the terminal.
pub fn say(line: &str) {
    // A closed standard error is no reason to fail a command that did its work.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Every file below `dir` whose name ends in one of `endings` (all files when there are none), sorted.
pub fn files(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | ".dev" | "node_modules") {
                    open.push(path);
                }
            } else if endings.is_empty() || endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What a folder holds: path below it, content.
pub type Content = BTreeMap<PathBuf, Vec<u8>>;

/// Reads every file below `dir`; a folder that does not exist is empty.
pub fn content(dir: &Path) -> Result<Content> {
    files(dir, &[])?
        .into_iter()
        .map(|path| {
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let below = path
                .strip_prefix(dir)
                .expect("files() returns paths below dir")
                .to_path_buf();
            Ok((below, bytes))
        })
        .collect()
}

/// The paths whose content differs, each with what is wrong with the committed side.
pub fn differences(committed: &Content, fresh: &Content) -> Vec<String> {
    let mut found = Vec::new();
    for (path, bytes) in fresh {
        match committed.get(path) {
            None => found.push(format!("{} is missing", path.display())),
            Some(old) if old != bytes => found.push(format!("{} is not current", path.display())),
            Some(_) => {}
        }
    }
    for path in committed.keys().filter(|path| !fresh.contains_key(*path)) {
        found.push(format!("{} is left over", path.display()));
    }
    found
}

/// Makes `dir` hold exactly `fresh`, touching only files that change.
pub fn replace(dir: &Path, fresh: &Content) -> Result<usize> {
    let committed = content(dir)?;
    let mut changed = 0;
    for (path, bytes) in fresh {
        if committed.get(path) != Some(bytes) {
            let target = dir.join(path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&target, bytes)
                .with_context(|| format!("cannot write {}", target.display()))?;
            changed += 1;
        }
    }
    for path in committed.keys().filter(|path| !fresh.contains_key(*path)) {
        fs::remove_file(dir.join(path))?;
        changed += 1;
    }
    Ok(changed)
}

/// Either replaces `dir` with `fresh`, or with `check` fails when they differ and names `command` as the remedy.
pub fn settle(dir: &Path, fresh: &Content, check: bool, command: &str) -> Result<()> {
    if !check {
        let changed = replace(dir, fresh)?;
        say(&format!(
            "{}: {} files, {changed} changed",
            dir.display(),
            fresh.len()
        ));
        return Ok(());
    }
    let found = differences(&content(dir)?, fresh);
    if found.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "{} is not current; run `{command}` and commit the result:\n  {}",
        dir.display(),
        found.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_of(pairs: &[(&str, &str)]) -> Content {
        pairs
            .iter()
            .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn differences_name_missing_changed_and_left_over_files() {
        let committed = content_of(&[("a", "1"), ("b", "1")]);
        let fresh = content_of(&[("a", "2"), ("c", "1")]);
        assert_eq!(
            differences(&committed, &fresh),
            ["a is not current", "c is missing", "b is left over"]
        );
        assert!(differences(&fresh, &fresh).is_empty());
    }

    #[test]
    fn replace_makes_the_folder_equal() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), &content_of(&[("x/a", "1"), ("b", "1")])).unwrap();
        let fresh = content_of(&[("x/a", "2"), ("c", "3")]);
        assert_eq!(replace(dir.path(), &fresh).unwrap(), 3);
        assert_eq!(content(dir.path()).unwrap(), fresh);
        assert!(settle(dir.path(), &fresh, true, "cmd").is_ok());
        let error = settle(dir.path(), &content_of(&[]), true, "cmd")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("run `cmd`") && error.contains("c is left over"),
            "{error}"
        );
    }
}
