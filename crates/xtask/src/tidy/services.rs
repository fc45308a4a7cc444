//! What a service folder holds.

use regex::Regex;

use super::{Finding, Tree};

/// A main only parses the command and calls the library.
const MAIN_LINES_MAX: usize = 20;

/// Every service has the files of the house style, every crate a README, and every main is short.
pub fn shape(tree: &Tree) -> Vec<Finding> {
    const RULE: &str = "service-shape";
    let mut found = Vec::new();
    let mut need = |path: String, why: &str| {
        if !tree.exists(&path) {
            found.push(Finding {
                path,
                line: 1,
                text: format!("is missing: {why}"),
                rule: RULE,
            });
        }
    };
    for name in tree.packages("services") {
        let folder = format!("services/{name}");
        need(
            format!("{folder}/README.md"),
            "one page: what it owns, its methods, tables, events and settings",
        );
        need(
            format!("{folder}/src/lib.rs"),
            "the library with the one entry point `run`",
        );
        need(format!("{folder}/src/main.rs"), "the server binary");
        need(format!("{folder}/src/config.rs"), "the settings");
        need(
            format!("{folder}/tests/it/main.rs"),
            "the tests that talk to the real thing",
        );
        // The gateway keeps nothing.
        if name != "gateway" {
            need(format!("{folder}/migrations"), "the schema");
        }
    }
    for name in tree.packages("crates") {
        need(
            format!("crates/{name}/README.md"),
            "what is here, what is not, how to change it",
        );
    }
    for source in tree
        .sources
        .iter()
        .filter(|source| source.path.starts_with("services/") && is_main(&source.path))
    {
        let lines = source
            .text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
            .count();
        if lines > MAIN_LINES_MAX {
            let text = format!(
                "a main has {lines} lines of code; move what is more than {MAIN_LINES_MAX} into the library"
            );
            found.push(source.finding(1, RULE, text));
        }
    }
    found
}

fn is_main(path: &str) -> bool {
    path.ends_with("/src/main.rs") || path.contains("/src/bin/")
}

/// Every setting that `config.rs` reads is named in the service's README.
pub fn settings_are_documented(tree: &Tree) -> Vec<Finding> {
    let setting = Regex::new(r#""([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)""#).expect("a constant pattern");
    let mut found = Vec::new();
    for name in tree.packages("services") {
        let Some(config) = tree.source(&format!("services/{name}/src/config.rs")) else {
            continue;
        };
        let readme = format!("services/{name}/README.md");
        let documented = tree
            .source(&readme)
            .map_or("", |source| source.text.as_str());
        for capture in setting.captures_iter(config.without_tests()) {
            let whole = capture.get(1).expect("the pattern has one group");
            if !documented.contains(whole.as_str()) {
                let text = format!(
                    "the setting {} is not in {readme}; say there what it does",
                    whole.as_str()
                );
                found.push(config.finding(
                    config.line_of(whole.start()),
                    "settings-are-documented",
                    text,
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    const WHOLE: [(&str, &str); 6] = [
        ("services/auth/README.md", "AUTH_PORT"),
        ("services/auth/src/lib.rs", ""),
        ("services/auth/src/main.rs", "fn main() {}"),
        ("services/auth/src/config.rs", "r.text(\n\"AUTH_PORT\")"),
        ("services/auth/tests/it/main.rs", ""),
        ("services/auth/migrations/1.sql", ""),
    ];

    #[test]
    fn a_whole_service_has_no_finding() {
        check(&WHOLE, shape, &[]);
        check(&WHOLE, settings_are_documented, &[]);
    }

    #[test]
    fn each_missing_file_is_told() {
        check(
            &WHOLE[1..],
            shape,
            &["services/auth/README.md:1: is missing"],
        );
        check(
            &WHOLE[..5],
            shape,
            &["services/auth/migrations:1: is missing"],
        );
        let gateway: Vec<(String, &str)> = WHOLE[..5]
            .iter()
            .map(|(path, text)| (path.replace("auth", "gateway"), *text))
            .collect();
        let gateway: Vec<(&str, &str)> = gateway
            .iter()
            .map(|(path, text)| (path.as_str(), *text))
            .collect();
        check(&gateway, shape, &[]);
        check(
            &[("crates/a/src/lib.rs", "")],
            shape,
            &["crates/a/README.md:1: is missing"],
        );
    }

    #[test]
    fn a_long_main_is_told() {
        let long = "x();\n".repeat(21);
        check(
            &[
                &WHOLE[..],
                &[("services/auth/src/bin/auth-worker.rs", &long)],
            ]
            .concat(),
            shape,
            &["services/auth/src/bin/auth-worker.rs:1: a main has 21"],
        );
    }

    #[test]
    fn an_undocumented_setting_is_told() {
        let mut files = WHOLE;
        files[0].1 = "nothing";
        check(
            &files,
            settings_are_documented,
            &[
                "services/auth/src/config.rs:2: the setting AUTH_PORT is not in services/auth/README.md",
            ],
        );
    }
}
