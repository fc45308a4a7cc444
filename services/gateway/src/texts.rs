//! Messages in the client's language, from `locales/`.
//!
//! A key is a reason (`auth.credentials_invalid`), `rule.` and the id of a rule (`rule.string.min_len`), or `title.` and a public code.
//! A text may name parameters as `{min}`; one whose parameter is missing is not used, because half a sentence helps nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use kernel::Locale;

type Texts = HashMap<String, String>;

fn texts(locale: Locale) -> &'static Texts {
    static EN: OnceLock<Texts> = OnceLock::new();
    static PT_BR: OnceLock<Texts> = OnceLock::new();
    let read = |source: &str| {
        serde_norway::from_str(source).expect("the locale files are checked by a test")
    };
    match locale {
        Locale::En => EN.get_or_init(|| read(include_str!("../locales/en.yaml"))),
        Locale::PtBr => PT_BR.get_or_init(|| read(include_str!("../locales/pt-BR.yaml"))),
    }
}

/// The text of a key with its parameters filled in; `None` when there is none or a parameter is missing.
pub fn find(locale: Locale, key: &str, params: &BTreeMap<String, String>) -> Option<String> {
    fill(texts(locale).get(key)?, params)
}

fn fill(text: &str, params: &BTreeMap<String, String>) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(params.get(name)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn params(text: &str) -> BTreeSet<&str> {
        text.split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn both_languages_have_the_same_keys_and_parameters() {
        let (en, pt) = (texts(Locale::En), texts(Locale::PtBr));
        let keys = |texts: &Texts| texts.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(
            keys(en).symmetric_difference(&keys(pt)).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
        for (key, text) in en {
            assert_eq!(params(text), params(&pt[key]), "{key}");
        }
    }

    #[test]
    fn every_public_code_has_a_title() {
        for code in kernel::ErrorCode::ALL {
            for locale in [Locale::En, Locale::PtBr] {
                assert!(
                    texts(locale).contains_key(&format!("title.{code}")),
                    "{code} in {}",
                    locale.as_str()
                );
            }
        }
    }

    #[test]
    fn a_text_with_a_missing_parameter_is_not_used() {
        let params = BTreeMap::from([("min".to_owned(), "3".to_owned())]);
        assert_eq!(
            fill("at least {min}", &params).as_deref(),
            Some("at least 3")
        );
        assert_eq!(fill("{min} to {max}", &params), None);
        assert_eq!(fill("broken {min", &params), None);
    }
}
