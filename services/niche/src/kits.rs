//! Kits: versioned packs of taxonomies, forms, facets, mappings and hints that a tenant activates.
//!
//! A kit is data under `kits/<key>/<version>/`. It is read and linted once at start ([`Kits::embedded`]), so everything after
//! that may rely on it being sound. What a kit may contain is said in one place: [`lint`].

pub mod golden;
pub mod lint;
pub mod source;
pub mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Error, Locale, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use lint::Problem;
use source::Source;

/// A text in the languages of the product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    #[serde(rename = "pt-BR")]
    pub pt_br: String,
    pub en: String,
}

impl Text {
    /// The text in one language.
    pub fn get(&self, locale: Locale) -> &str {
        match locale {
            Locale::PtBr => &self.pt_br,
            Locale::En => &self.en,
        }
    }
}

/// One version of a kit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kit {
    pub key: String,
    pub version: Version,
    pub name: Text,
    pub description: Text,
    pub icon: String,
    #[serde(default)]
    pub taxonomies: BTreeMap<String, Taxonomy>,
    pub entities: BTreeMap<String, Entity>,
    /// Suggested permissions of the built-in groups.
    #[serde(default)]
    pub groups: BTreeMap<String, Vec<String>>,
    /// Pages and layouts, prompts, workflows and reports: checked by lint, served as they stand.
    #[serde(default)]
    pub ui: Value,
    #[serde(default)]
    pub prompts: Value,
    #[serde(default)]
    pub workflows: Value,
    #[serde(default)]
    pub reports: Value,
}

/// A list of terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taxonomy {
    pub name: Text,
    pub terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub key: String,
    pub label: Text,
}

/// A kind of record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    pub name: Text,
    /// The field whose value identifies a record within the niche.
    #[serde(default)]
    pub natural_key: Option<String>,
    /// JSON Schema 2020-12, in the subset that [`lint`] admits.
    pub schema: Value,
    #[serde(default)]
    pub facets: Vec<Facet>,
    pub search: Search,
    #[serde(default)]
    pub import_mappings: Vec<ImportMapping>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facet {
    pub key: String,
    pub field: String,
    pub name: Text,
}

/// What search indexes of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    pub title: String,
    #[serde(default)]
    pub text: Vec<SearchText>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchText {
    pub field: String,
    /// Heavier fields come first in the text.
    pub weight: u8,
}

/// How the columns of a file become fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportMapping {
    pub key: String,
    pub format: String,
    pub columns: Vec<ColumnMapping>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnMapping {
    pub column: String,
    pub field: String,
    /// Cell values to translate; a cell that is not listed stays as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The first rule whose pattern is found in the cell gives the value; without a match the field stays empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<CellRule>,
    /// Splits the cell of a list field; `;` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRule {
    pub pattern: String,
    pub value: String,
}

/// A semantic version without pre-release parts; orders by number, not by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `1.0.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let plain = !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'));
            if plain { part.parse().ok() } else { None }
        });
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a version of the form 1.0.0"))
    }
}

/// A kit together with the document that the database keeps of it.
#[derive(Debug)]
pub struct LoadedKit {
    pub kit: Arc<Kit>,
    pub manifest: Value,
    /// SHA-256 of the manifest, hexadecimal.
    pub checksum: String,
}

/// The kits that ship with this build, every version.
#[derive(Clone, Debug)]
pub struct Kits(Arc<BTreeMap<String, BTreeMap<Version, LoadedKit>>>);

impl Kits {
    /// Reads and lints the kits inside this binary. Every problem of every kit is told at once.
    pub fn embedded() -> Result<Self, Vec<Problem>> {
        Self::read(&Source::embedded())
    }

    /// Reads and lints kits from `<key>/<version>/` of a source.
    pub fn read(source: &Source) -> Result<Self, Vec<Problem>> {
        let (kits, problems) = lint::check(source);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut by_key: BTreeMap<String, BTreeMap<Version, LoadedKit>> = BTreeMap::new();
        for loaded in kits {
            by_key
                .entry(loaded.kit.key.clone())
                .or_default()
                .insert(loaded.kit.version, loaded);
        }
        Ok(Self(Arc::new(by_key)))
    }

    /// The newest version of each kit, by key.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Kit>> {
        self.0
            .values()
            .filter_map(|versions| versions.last_key_value().map(|(_, loaded)| &loaded.kit))
    }

    /// Every version of every kit.
    pub fn all(&self) -> impl Iterator<Item = &LoadedKit> {
        self.0.values().flat_map(BTreeMap::values)
    }

    /// One version of a kit, the newest when `version` is empty. `NOT_FOUND` when this build has none.
    pub fn get(&self, key: &str, version: &str) -> Result<Arc<Kit>> {
        let versions = self.0.get(key).ok_or_else(kit_not_found)?;
        let found = match version {
            "" => versions.last_key_value().map(|(_, loaded)| loaded),
            text => Version::parse(text).and_then(|v| versions.get(&v)),
        };
        found
            .map(|loaded| Arc::clone(&loaded.kit))
            .ok_or_else(kit_not_found)
    }
}

/// There is no such kit, or not in that version.
pub(crate) fn kit_not_found() -> Error {
    Error::not_found(
        "niche.kit_not_found",
        "there is no such kit or version; GET /v1/kits lists them",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_number() {
        let v = |text| Version::parse(text).unwrap();
        assert!(v("1.10.0") > v("1.9.12"));
        for bad in [
            "1.0",
            "1.0.0.0",
            "1.0.x",
            "01.0.0",
            "1..0",
            "",
            "1.0.0-rc1",
            "+1.0.0",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_embedded_kits_are_sound() {
        let kits =
            Kits::embedded().unwrap_or_else(|problems| panic!("{}", lint::render(&problems)));
        let keys: Vec<_> = kits.newest().map(|k| k.key.as_str()).collect();
        assert_eq!(keys, ["people", "software-catalog"]);
        assert_eq!(
            kits.get("people", "").unwrap().taxonomies["uf"].terms.len(),
            27
        );
        assert!(kits.get("people", "9.9.9").is_err() && kits.get("nothing", "").is_err());
    }
}
