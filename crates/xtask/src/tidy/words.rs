//! Words that must not stand in the repository.

use anyhow::Result;
use regex::Regex;

use super::{Finding, Tree};

/// No path of somebody's machine and no address of somebody's mirror: both mean nothing elsewhere and tell too much.
pub fn nothing_of_a_machine(tree: &Tree) -> Result<Vec<Finding>> {
    // Put together from parts, so that this file does not break its own rule.
    let patterns = [
        (
            ["/ro", "ot/"].concat(),
            "a path of one machine; name it relative to the root of the repository",
        ),
        (
            ["/ho", "me/[a-z]"].concat(),
            "a path of one machine; name it relative to the root of the repository",
        ),
        (
            ["/wo", "rk/(?:main|shared)"].concat(),
            "a path of one machine; name it relative to the root of the repository",
        ),
        (
            ["/tmp/", "(?:plan|bash)"].concat(),
            "a path of one machine; name it relative to the root of the repository",
        ),
        (
            [r"\.cargo/", "registry"].concat(),
            "a path into a local cache; name the crate and its version",
        ),
        (
            [
                r"(?i)(?:index-url|registry|replace-with)\s*=\s*",
                r#""?(?:https?|sparse)"#,
            ]
            .concat(),
            "the address of a package mirror; leave it to the machine's own settings",
        ),
    ];
    let mut found = Vec::new();
    for (pattern, why) in &patterns {
        let pattern = Regex::new(pattern)?;
        for source in &tree.sources {
            for (at, line) in source.text.lines().enumerate() {
                if let Some(hit) = pattern.find(line) {
                    found.push(source.finding(
                        at + 1,
                        "nothing-of-a-machine",
                        format!("`{}` is {why}", hit.as_str()),
                    ));
                }
            }
        }
    }
    Ok(found)
}

/// No test is switched off, and none waits for time to pass: unless a comment above says why, beginning with "sleeps because".
pub fn tests_are_honest(tree: &Tree) -> Result<Vec<Finding>> {
    let ignored = Regex::new(r"^\s*#\[ignore")?;
    let sleeping = Regex::new(r"\b(?:thread|time)::sleep\(")?;
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|source| source.is_rust()) {
        let in_tests = source.path.contains("/tests/");
        let mut above = "";
        for (at, line) in source.text.lines().enumerate() {
            if ignored.is_match(line) {
                let text = "an ignored test proves nothing; mend it or remove it";
                found.push(source.finding(at + 1, "tests-are-honest", text));
            }
            if in_tests && sleeping.is_match(line) && !above.trim().starts_with("// sleeps because")
            {
                let text = "a test that sleeps is slow or flaky; move the clock, poll with `testkit::eventually`, \
                            or say above it `// sleeps because ...`";
                found.push(source.finding(at + 1, "tests-are-honest", text));
            }
            above = line;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    #[test]
    fn paths_and_mirrors_are_told() {
        let home = ["see /ho", "me/ana/x"].concat();
        let mirror = ["a\nregi", "stry = \"https://example.com\""].concat();
        check(
            &[
                ("README.md", &home),
                (".cargo/config.toml", &mirror),
                ("ok.md", "the root/ of it, /tmp/x, crates.io"),
            ],
            |tree| nothing_of_a_machine(tree).unwrap(),
            &[
                &["README.md:1: `/ho", "me/a` is a path"].concat(),
                ".cargo/config.toml:2: `registry = \"https` is the address",
            ],
        );
    }

    #[test]
    fn ignored_and_sleeping_tests_are_told() {
        let text = "    #[ignore = \"slow\"]\n    tokio::time::sleep(x).await;\n// #[ignored] in prose\n// sleeps because it is work\ntokio::time::sleep(x)";
        check(
            &[
                ("crates/a/tests/it/main.rs", text),
                ("crates/a/src/lib.rs", "tokio::time::sleep(x)"),
            ],
            |tree| tests_are_honest(tree).unwrap(),
            &[
                "crates/a/tests/it/main.rs:1: an ignored test",
                "crates/a/tests/it/main.rs:2: a test that sleeps",
            ],
        );
    }
}
