//! Settings from the environment: read once at start, with every problem told at once.

mod checks;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use checks::secret_weakness;

/// Where the process runs, from `TENANTRY_PROFILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// On a laptop or in tests: well-known passwords are fine.
    Dev,
    /// Anywhere else: whatever is well known is refused.
    Production,
}

impl Profile {
    /// Whether this is a laptop or a test.
    pub const fn is_dev(self) -> bool {
        matches!(self, Self::Dev)
    }
}

/// Reads settings and collects what is wrong with them.
///
/// A reading that fails returns a harmless value and notes the problem, so that one start shows all problems;
/// nothing read may be used before [`Reader::finish`] has succeeded.
pub struct Reader {
    source: Source,
    profile: Profile,
    problems: Vec<Problem>,
    known: BTreeMap<String, Described>,
}

type Source = Box<dyn Fn(&str) -> Option<String> + Send>;

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub name: String,
    /// What is wrong; never the value of a secret.
    pub what: String,
    /// What to set.
    pub fix: String,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

struct Described {
    default: String,
    doc: String,
    /// What is in effect; `None` for a secret.
    value: Option<String>,
    is_set: bool,
}

impl Reader {
    /// Reads the environment of the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Reads a given map: for tests and for the laptop profile, which sets up its own services.
    pub fn from_map<K: Into<String>, V: Into<String>>(
        map: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let map: BTreeMap<String, String> =
            map.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self::new(move |name| map.get(name).cloned())
    }

    /// Reads `overrides` first and the environment for what they lack.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub fn from_map_over_env<K: Into<String>, V: Into<String>>(
        overrides: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let map: BTreeMap<String, String> = overrides
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        Self::new(move |name| map.get(name).cloned().or_else(|| std::env::var(name).ok()))
    }

    fn new(source: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let mut reader = Self {
            source: Box::new(source),
            profile: Profile::Production,
            problems: Vec::new(),
            known: BTreeMap::new(),
        };
        let choice = reader.choice(
            "TENANTRY_PROFILE",
            "production",
            &["dev", "production"],
            "dev accepts well-known passwords and is for laptops and tests only",
        );
        if choice == "dev" {
            reader.profile = Profile::Dev;
        }
        reader
    }

    /// Where the process runs.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// A text with a default.
    pub fn text(&mut self, name: &str, default: &str, doc: &str) -> String {
        let found = self.lookup(name);
        let is_set = found.is_some();
        let value = found.unwrap_or_else(|| default.to_owned());
        let described = Described {
            default: default.to_owned(),
            doc: doc.to_owned(),
            value: Some(value.clone()),
            is_set,
        };
        self.known.insert(name.to_owned(), described);
        if !self.profile.is_dev() && value.contains("change_me") {
            self.problem(name, "still has the placeholder change_me", doc);
        }
        value
    }

    /// A text that may be absent.
    pub fn optional(&mut self, name: &str, doc: &str) -> Option<String> {
        let value = self.text(name, "", doc);
        (!value.is_empty()).then_some(value)
    }

    /// A text that must be set.
    pub fn required(&mut self, name: &str, doc: &str) -> String {
        let value = self.text(name, "", doc);
        if value.is_empty() {
            self.problem(name, "is not set", doc);
        }
        value
    }

    /// A text that must be set, except that `dev_default` serves in the dev profile; outside it that value is refused.
    pub fn required_or_dev(&mut self, name: &str, dev_default: &str, doc: &str) -> String {
        if self.profile.is_dev() {
            return self.text(name, dev_default, doc);
        }
        let value = self.required(name, doc);
        if value == dev_default {
            self.problem(name, "has the value of the dev profile", doc);
        }
        value
    }

    /// A secret that must be set. Well-known values are refused outside the dev profile.
    pub fn secret(&mut self, name: &str, doc: &str) -> SecretString {
        self.optional_secret(name, doc).unwrap_or_else(|| {
            self.problem(name, "is not set", doc);
            SecretString::default()
        })
    }

    /// A secret that must be set, except that `dev_default` serves in the dev profile; outside it that value is refused.
    pub fn secret_or_dev(&mut self, name: &str, dev_default: &str, doc: &str) -> SecretString {
        match self.optional_secret(name, doc) {
            Some(value) => {
                if !self.profile.is_dev() && value.expose_secret() == dev_default {
                    self.problem(name, "has the value of the dev profile", doc);
                }
                value
            }
            None if self.profile.is_dev() => dev_default.into(),
            None => {
                self.problem(name, "is not set", doc);
                SecretString::default()
            }
        }
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, name: &str, doc: &str) -> Option<SecretString> {
        let found = self.lookup(name).filter(|value| !value.is_empty());
        let described = Described {
            default: String::new(),
            doc: doc.to_owned(),
            value: None,
            is_set: found.is_some(),
        };
        self.known.insert(name.to_owned(), described);
        let value = found?;
        if let Some(weakness) = secret_weakness(&value).filter(|_| !self.profile.is_dev()) {
            self.problem(name, weakness, doc);
        }
        Some(value.into())
    }

    /// A number within a range.
    pub fn number<N>(&mut self, name: &str, default: N, range: RangeInclusive<N>, doc: &str) -> N
    where
        N: FromStr + fmt::Display + PartialOrd + Copy,
    {
        let text = self.text(name, &default.to_string(), doc);
        match text.trim().parse::<N>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let fix = format!("a number from {} to {}", range.start(), range.end());
                self.problem(name, format!("is '{}'", text.escape_debug()), &fix);
                default
            }
        }
    }

    /// A duration in milliseconds within a range; the name ends in `_MS`.
    pub fn duration_ms(
        &mut self,
        name: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
        doc: &str,
    ) -> Duration {
        let millis = |d: &Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let bounds = millis(range.start())..=millis(range.end());
        Duration::from_millis(self.number(name, millis(&default), bounds, doc))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, default: bool, doc: &str) -> bool {
        self.choice(
            name,
            if default { "true" } else { "false" },
            &["true", "false"],
            doc,
        ) == "true"
    }

    /// One of a few words.
    pub fn choice(&mut self, name: &str, default: &str, words: &[&str], doc: &str) -> String {
        let value = self.text(name, default, doc);
        if words.contains(&value.as_str()) {
            return value;
        }
        self.problem(
            name,
            format!("is '{}'", value.escape_debug()),
            &format!("one of {}", words.join(", ")),
        );
        default.to_owned()
    }

    /// A list with commas; surrounding blanks and empty members are dropped.
    pub fn list(&mut self, name: &str, default: &str, doc: &str) -> Vec<String> {
        let value = self.text(name, default, doc);
        value
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Anything that parses itself. An unreadable value is a problem and gives the default; `None` when that is empty.
    pub fn parsed<T>(&mut self, name: &str, default: &str, doc: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(name, default, doc);
        if text.is_empty() {
            return None;
        }
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(name, format!("is '{}': {error}", text.escape_debug()), doc);
                default.parse().ok()
            }
        }
    }

    /// Notes a problem that only the caller can see, for example two settings that contradict each other.
    pub fn problem(&mut self, name: &str, what: impl Into<String>, fix: &str) {
        self.problems.push(Problem {
            name: name.to_owned(),
            what: what.into(),
            fix: fix.to_owned(),
        });
    }

    /// Succeeds when nothing was wrong.
    pub fn finish(&self) -> Result<(), Problems> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(self.problems.clone()))
        }
    }

    /// Every setting read so far: its value in effect, default and meaning. Secrets show only whether they are set.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (name, setting) in &self.known {
            let value = match (&setting.value, setting.is_set) {
                (Some(value), _) => without_password(value),
                (None, true) => "[set, secret]".to_owned(),
                (None, false) => "[not set, secret]".to_owned(),
            };
            let origin = if setting.is_set || setting.value.is_none() {
                ""
            } else {
                " (default)"
            };
            let default = if setting.is_set && !setting.default.is_empty() {
                format!(" Default: {}.", without_password(&setting.default))
            } else {
                String::new()
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name}={value}{origin}\n    {}.{default}",
                setting.doc.trim_end_matches('.')
            );
        }
        text
    }

    fn lookup(&self, name: &str) -> Option<String> {
        (self.source)(name)
    }
}

/// Hides the password of a URL, so that a DSN read as plain text does not leak through `describe`.
fn without_password(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some(at) = rest[..authority_end].rfind('@') else {
        return value.to_owned();
    };
    let user = rest[..at].split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***{}", &rest[at..])
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("profile", &self.profile)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(
            f,
            "{count} setting{} must be mended:",
            if count == 1 { "" } else { "s" }
        )?;
        for problem in &self.0 {
            write!(
                f,
                "\n  {} {}. Set it to: {}",
                problem.name, problem.what, problem.fix
            )?;
        }
        Ok(())
    }
}

impl StdError for Problems {}
