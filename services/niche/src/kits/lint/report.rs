//! Problems with their place, and the checks of shape that every part of a kit shares.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

/// The longest key; the contract's patterns say the same.
const KEY_CHARACTERS_MAX: usize = 60;

/// One thing that is wrong with a kit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path below the folder of all kits.
    pub file: String,
    /// JSON pointer (RFC 6901) within the file.
    pub pointer: String,
    /// A stable id, for example `facet.unknown-field`.
    pub rule: &'static str,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}#{}: {}: {} (fix: {})",
            self.file, self.pointer, self.rule, self.problem, self.fix
        )
    }
}

/// All problems, one a line, under a line that counts them.
pub fn render(problems: &[Problem]) -> String {
    let mut text = format!("{} problem(s) in the kits:", problems.len());
    for problem in problems {
        let _ = write!(text, "\n  {problem}");
    }
    text
}

/// A place in a kit.
#[derive(Clone, Debug)]
pub struct At {
    file: String,
    pointer: String,
}

impl At {
    /// The top of a file.
    pub fn file(path: &str) -> Self {
        Self {
            file: path.to_owned(),
            pointer: String::new(),
        }
    }

    /// A member of this place.
    pub fn key(&self, key: &str) -> Self {
        Self {
            file: self.file.clone(),
            pointer: format!(
                "{}/{}",
                self.pointer,
                key.replace('~', "~0").replace('/', "~1")
            ),
        }
    }

    /// An item of this place.
    pub fn index(&self, index: usize) -> Self {
        Self {
            file: self.file.clone(),
            pointer: format!("{}/{index}", self.pointer),
        }
    }

    /// A problem at this place.
    pub fn problem(&self, rule: &'static str, problem: &str, fix: &str) -> Problem {
        Problem {
            file: self.file.clone(),
            pointer: self.pointer.clone(),
            rule,
            problem: problem.to_owned(),
            fix: fix.to_owned(),
        }
    }
}

/// Collects problems of one kit.
pub(super) struct Lint {
    folder: String,
    pub problems: Vec<Problem>,
}

impl Lint {
    pub fn new(folder: &str, problems: Vec<Problem>) -> Self {
        Self {
            folder: folder.to_owned(),
            problems,
        }
    }

    /// The top of a file of this kit.
    pub fn at(&self, name: &str) -> At {
        At::file(&format!("{}/{name}", self.folder))
    }

    pub fn report(&mut self, at: &At, rule: &'static str, problem: &str, fix: &str) {
        self.problems.push(at.problem(rule, problem, fix));
    }

    /// A mapping with no keys but `allowed`, and with all of `required`.
    pub fn object<'v>(
        &mut self,
        at: &At,
        value: &'v Value,
        allowed: &[&str],
        required: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.report(
                at,
                "shape.type",
                &format!("a mapping is expected, this is {}", kind(value)),
                "write keys and values",
            );
            return None;
        };
        for key in map.keys().filter(|k| !allowed.contains(&k.as_str())) {
            self.report(
                &at.key(key),
                "shape.unknown-key",
                &format!("{key:?} is not known here"),
                &format!("known are: {}", allowed.join(", ")),
            );
        }
        for key in required.iter().filter(|k| !map.contains_key(**k)) {
            self.report(
                at,
                "shape.missing-key",
                &format!("{key:?} is missing"),
                &format!("add {key}"),
            );
        }
        Some(map)
    }

    /// A list; an absent one is empty.
    pub fn array<'v>(&mut self, at: &At, value: Option<&'v Value>) -> &'v [Value] {
        match value {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.report(
                    at,
                    "shape.type",
                    &format!("a list is expected, this is {}", kind(other)),
                    "write a list",
                );
                &[]
            }
        }
    }

    /// A text that is not empty. An absent one is reported as missing by [`Lint::object`].
    pub fn string<'v>(&mut self, at: &At, value: Option<&'v Value>) -> Option<&'v str> {
        match value? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            other => {
                self.report(
                    at,
                    "shape.type",
                    &format!("a text is expected, this is {}", kind(other)),
                    "write a text; quote it if it looks like a number",
                );
                None
            }
        }
    }

    /// A text in both languages.
    pub fn text(&mut self, at: &At, value: Option<&Value>) {
        let Some(value) = value else { return };
        let Some(map) = self.object(at, value, &["pt-BR", "en"], &[]) else {
            return;
        };
        for language in ["pt-BR", "en"] {
            match map.get(language) {
                None => self.report(
                    at,
                    "text.language",
                    &format!("the text has no {language}"),
                    &format!("add {language}"),
                ),
                some => {
                    self.string(&at.key(language), some);
                }
            }
        }
    }

    /// A key as it stands in paths: `a-z`, digits and `-`.
    pub fn key<'v>(&mut self, at: &At, value: Option<&'v Value>) -> Option<&'v str> {
        let key = self.string(at, value)?;
        self.key_text(at, key).then_some(key)
    }

    /// The same for a key that is a file name or the key of a mapping.
    pub fn key_text(&mut self, at: &At, key: &str) -> bool {
        let good = (2..=KEY_CHARACTERS_MAX).contains(&key.len())
            && key.starts_with(|c: char| c.is_ascii_lowercase())
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !good {
            self.report(
                at,
                "key.format",
                &format!("{key:?} is not a key"),
                "use 2 to 60 of a-z, 0-9 and -, beginning with a letter",
            );
        }
        good
    }

    /// A name as it stands in JSON: `a-z`, digits and `_`.
    pub fn name_text(&mut self, at: &At, name: &str) -> bool {
        let good = (1..=KEY_CHARACTERS_MAX).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !good {
            self.report(
                at,
                "key.format",
                &format!("{name:?} is not a field name"),
                "use 1 to 60 of a-z, 0-9 and _, beginning with a letter",
            );
        }
        good
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
