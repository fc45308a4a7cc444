//! A deterministic embedder that needs no model: signed feature hashing of words and of their letter triples
//! (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009).
//!
//! It finds texts that share words, inflections and misspellings. It does not know that "film" and "movie" mean the same.

use std::collections::BTreeMap;

use crate::embedder::{DIMENSIONS, unit};

/// Stored with each vector; a change of the algorithm needs a new name, because old and new vectors cannot be compared.
pub const MODEL: &str = "lexical-hash-v1";
/// A letter triple weighs less than a whole word: it is the weaker hint.
const TRIGRAM_WEIGHT: f32 = 0.35;

/// The vector of a text; a text without letters or digits gets a fixed direction of its own, since a zero vector has none.
pub fn embed(text: &str) -> Vec<f32> {
    // Features are counted by their hash: no text is copied, and the order of summation stays the same on every run.
    let mut counts: BTreeMap<u64, f32> = BTreeMap::new();
    let mut word: Vec<char> = Vec::new();
    for piece in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|piece| !piece.is_empty())
    {
        word.clear();
        word.push('^');
        word.extend(piece.chars().flat_map(char::to_lowercase));
        word.push('$');
        for triple in word.windows(3) {
            *counts.entry(hash(triple)).or_default() += TRIGRAM_WEIGHT;
        }
        *counts.entry(hash(&word)).or_default() += 1.0;
    }
    let mut vector = vec![0.0_f32; DIMENSIONS];
    for (feature, count) in counts {
        let place = usize::try_from(feature % DIMENSIONS as u64)
            .expect("the remainder is below the number of dimensions");
        let sign = if feature >> 63 == 0 { 1.0 } else { -1.0 };
        // The second mention of a word says less than the first.
        vector[place] += sign * (1.0 + count).ln();
    }
    unit(vector).unwrap_or_else(|| {
        let mut fixed = vec![0.0; DIMENSIONS];
        fixed[0] = 1.0;
        fixed
    })
}

/// FNV-1a with 64 bits: stable over platforms and releases, which the standard library's hasher does not promise.
fn hash(letters: &[char]) -> u64 {
    letters.iter().fold(0xcbf2_9ce4_8422_2325, |hash, letter| {
        (hash ^ u64::from(*letter)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likeness(a: &str, b: &str) -> f32 {
        embed(a).iter().zip(embed(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn texts_that_share_words_are_closer_than_texts_that_do_not() {
        let query = "video player";
        assert!(
            likeness(query, "a fast video player")
                > likeness(query, "relational database server") + 0.2
        );
    }

    #[test]
    fn a_misspelling_stays_close() {
        assert!(likeness("database", "databse") > 0.3);
    }

    #[test]
    fn every_text_has_a_unit_vector() {
        for text in ["", "   ", "---", "a", "ação e reação"] {
            let length: f32 = embed(text).iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-4, "{text:?} has length {length}");
        }
    }
}
