//! How long files are and what they are called.

use super::{Finding, Tree};

/// Beyond this a file does two things. 400 is the aim; a lint of the eye, not of this tool.
const LINES_MAX: usize = 600;
const CODE: [&str; 4] = [".rs", ".sql", ".proto", ".sh"];

/// No file of code is longer than 600 lines.
pub fn lengths(tree: &Tree) -> Vec<Finding> {
    let is_code = |path: &str| {
        CODE.iter().any(|ending| path.ends_with(ending)) || path == "dev" || path == ".ci/run"
    };
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|source| is_code(&source.path)) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            let text = format!(
                "{lines} lines; split the file by noun so that none has more than {LINES_MAX}"
            );
            found.push(source.finding(LINES_MAX + 1, "file-length", text));
        }
    }
    found
}

/// No file or folder of code has a name that says nothing.
pub fn names(tree: &Tree) -> Vec<Finding> {
    const EMPTY: [&str; 14] = [
        "util",
        "utils",
        "helper",
        "helpers",
        "misc",
        "common",
        "types",
        "models",
        "model",
        "errors",
        "shared",
        "macros",
        "repository",
        "domain",
    ];
    const NOUNS_IN_TESTS: [&str; 3] = ["errors", "types", "models"];
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|source| source.is_rust()) {
        // A test file is named after what it tries, and `errors` is something to try.
        let is_test = source.path.contains("/tests/");
        let parts = source.path.trim_end_matches(".rs").split('/');
        let says_nothing =
            |part: &&str| EMPTY.contains(part) && !(is_test && NOUNS_IN_TESTS.contains(part));
        for part in parts.filter(says_nothing) {
            let text = format!(
                "the name `{part}` says nothing; name the file after the noun that it is about"
            );
            found.push(source.finding(1, "file-name", text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    #[test]
    fn long_code_is_told_and_long_prose_is_not() {
        let long = "x\n".repeat(601);
        check(
            &[("a.rs", &long), ("b.md", &long), ("c.rs", &long[2..])],
            lengths,
            &["a.rs:601: 601 lines; split"],
        );
        check(&[("dev", &long)], lengths, &["dev:601:"]);
        check(&[("crates/proto/src/gen/a.rs", &long)], lengths, &[]);
    }

    #[test]
    fn empty_names_are_told() {
        check(
            &[
                ("crates/a/src/utils.rs", ""),
                ("crates/a/src/common/x.rs", ""),
                ("crates/a/tests/it/errors.rs", ""),
                ("crates/a/tests/it/common.rs", ""),
                ("crates/a/src/error.rs", ""),
            ],
            names,
            &[
                "crates/a/src/common/x.rs:1: the name `common`",
                "crates/a/src/utils.rs:1: the name `utils`",
                "crates/a/tests/it/common.rs:1: the name `common`",
            ],
        );
    }
}
