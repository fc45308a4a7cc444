//! Messages exist in every language of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use regex::Regex;

use super::{Finding, Source, Tree};

const LANGUAGES: [&str; 2] = [
    "services/gateway/locales/en.yaml",
    "services/gateway/locales/pt-BR.yaml",
];

const VALIDATORS: &str = "crates/proto/src/gen/validate_impl.rs";

type Texts = BTreeMap<String, String>;

fn texts(source: &Source) -> Result<Texts> {
    serde_norway::from_str(&source.text)
        .with_context(|| format!("{} must be a map from key to text", source.path))
}

/// Every reason that code gives to an error has a text in each language.
pub fn reasons_have_texts(tree: &Tree) -> Result<Vec<Finding>> {
    // Across lines: rustfmt puts the arguments of a long call on lines of their own.
    let with_code =
        Regex::new(r#"\b(?:Error|Self)::new\(\s*(?:kernel::)?ErrorCode::\w+,\s*"([^"]+)""#)?;
    let short = Regex::new(r#"\bError::(?:not_found|exists|conflict|precondition)\(\s*"([^"]+)""#)?;
    let mut found = Vec::new();
    for language in LANGUAGES {
        let Some(source) = tree.source(language) else {
            continue;
        };
        let texts = texts(source)?;
        let code = tree.sources.iter().filter(|code| {
            code.is_rust() && code.path.contains("/src/") && !code.path.starts_with("crates/xtask/")
        });
        for code in code {
            let body = code.without_tests();
            for hit in with_code
                .captures_iter(body)
                .chain(short.captures_iter(body))
                .filter_map(|capture| capture.get(1))
            {
                if !texts.contains_key(hit.as_str()) {
                    let text = format!(
                        "the reason `{}` has no text in {language}; add one",
                        hit.as_str()
                    );
                    found.push(code.finding(code.line_of(hit.start()), "reasons-have-texts", text));
                }
            }
        }
    }
    Ok(found)
}

/// Both languages have the same keys, and each text the same parameters.
pub fn languages_agree(tree: &Tree) -> Result<Vec<Finding>> {
    const RULE: &str = "languages-agree";
    let (Some(first), Some(second)) = (tree.source(LANGUAGES[0]), tree.source(LANGUAGES[1])) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (here, there) in [(first, second), (second, first)] {
        let (ours, theirs) = (texts(here)?, texts(there)?);
        for (key, text) in &ours {
            let line = here
                .text
                .lines()
                .position(|line| line.starts_with(key.as_str()))
                .map_or(1, |at| at + 1);
            match theirs.get(key) {
                None => found.push(here.finding(
                    line,
                    RULE,
                    format!("`{key}` is missing in {}", there.path),
                )),
                Some(other) if parameters(text)? != parameters(other)? => {
                    found.push(here.finding(
                        line,
                        RULE,
                        format!("`{key}` has other parameters in {}", there.path),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(found)
}

/// Every rule that the generated validators can report has a text in each language.
pub fn rules_have_texts(tree: &Tree) -> Result<Vec<Finding>> {
    // Where the rule of an item stands, not a rule.
    const PATHS: [&str; 3] = ["repeated.items", "map.keys", "map.values"];
    let Ok(validators) = fs::read_to_string(tree.root.join(VALIDATORS)) else {
        return Ok(Vec::new());
    };
    let id = Regex::new(
        r#""(required|(?:string|bytes|repeated|map|enum|[su]?int32|[su]?int64|s?fixed32|s?fixed64|float|double|timestamp|duration)\.[a-z_]+)""#,
    )?;
    let rules: BTreeSet<String> = id
        .captures_iter(&validators)
        .map(|capture| stable_id(&capture[1]))
        .filter(|rule| !PATHS.contains(&rule.as_str()))
        .collect();
    let mut found = Vec::new();
    for language in LANGUAGES {
        let Some(source) = tree.source(language) else {
            continue;
        };
        let texts = texts(source)?;
        for rule in rules
            .iter()
            .filter(|rule| !texts.contains_key(&format!("rule.{rule}")))
        {
            let text = format!("the rule `{rule}` of the contract has no text; add `rule.{rule}`");
            found.push(source.finding(1, "rules-have-texts", text));
        }
    }
    Ok(found)
}

/// As `proto::validate` reports it: one id for all numeric types, none for emptiness.
fn stable_id(id: &str) -> String {
    let id = id.strip_suffix("_empty").unwrap_or(id);
    match id.split_once('.') {
        Some((kind, rule))
            if kind.ends_with("32")
                || kind.ends_with("64")
                || matches!(kind, "float" | "double") =>
        {
            format!("number.{rule}")
        }
        _ => id.to_owned(),
    }
}

fn parameters(text: &str) -> Result<BTreeSet<String>> {
    let pattern = Regex::new(r"\{(\w+)\}")?;
    Ok(pattern
        .captures_iter(text)
        .map(|capture| capture[1].to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::check;
    use super::*;

    const CODE: &str = "fn f() {\n    Error::new(\n        ErrorCode::Conflict,\n        \"a.b\",\n        \"x\",\n    );\n    Error::not_found(\"c.d\", \"x\");\n}\n\
                        #[cfg(test)]\nmod tests {\n    fn g() { Error::conflict(\"only.tests\", \"x\") }\n}\n";

    #[test]
    fn reasons_without_a_text_are_told_per_language() {
        check(
            &[
                ("services/auth/src/lib.rs", CODE),
                (LANGUAGES[0], "a.b: A\nc.d: C\n"),
                (LANGUAGES[1], "a.b: A\n"),
            ],
            |tree| reasons_have_texts(tree).unwrap(),
            &[
                "services/auth/src/lib.rs:7: the reason `c.d` has no text in services/gateway/locales/pt-BR.yaml",
            ],
        );
        check(
            &[
                ("services/auth/src/lib.rs", CODE),
                (LANGUAGES[0], "c.d: C\n"),
            ],
            |tree| reasons_have_texts(tree).unwrap(),
            &[
                "services/auth/src/lib.rs:4: the reason `a.b` has no text in services/gateway/locales/en.yaml",
            ],
        );
    }

    #[test]
    fn rules_without_a_text_are_told() {
        let validators = r#"Violation::new("a", "string.min_len", "x"); ("b", "int32.gte_lte", "int32.gte_lte"); ("c", "string.uuid_empty", "string.uuid")"#;
        check(
            &[
                (VALIDATORS, validators),
                (
                    LANGUAGES[0],
                    "rule.string.min_len: a\nrule.string.uuid: b\n",
                ),
            ],
            |tree| rules_have_texts(tree).unwrap(),
            &[
                "services/gateway/locales/en.yaml:1: the rule `number.gte_lte` of the contract has no text",
            ],
        );
    }

    #[test]
    fn keys_and_parameters_agree() {
        check(
            &[
                (LANGUAGES[0], "a: \"{min} to {max}\"\nb: x\nc: y\n"),
                (LANGUAGES[1], "a: \"de {min}\"\nb: x\n"),
            ],
            |tree| languages_agree(tree).unwrap(),
            &[
                "services/gateway/locales/en.yaml:1: `a` has other parameters",
                "services/gateway/locales/en.yaml:3: `c` is missing in services/gateway/locales/pt-BR.yaml",
                "services/gateway/locales/pt-BR.yaml:1: `a` has other parameters",
            ],
        );
    }
}
