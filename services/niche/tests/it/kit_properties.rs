//! What holds for any kit: the linter tells problems, never fails, and ends soon.

use niche::kits::{lint, source::Source};
use proptest::prelude::*;
use proptest::sample::Index;

/// Lints and runs the samples; a sound kit is not demanded, an end is.
fn examine(source: &Source) -> usize {
    let (kits, problems) = lint::test(source);
    let told = lint::render(&problems);
    assert!(problems.is_empty() || !told.is_empty());
    kits.len() + problems.len()
}

fn alone(yaml: &str) -> Source {
    Source([("kit/1.0.0/kit.yaml".to_owned(), yaml.as_bytes().to_vec())].into())
}

/// One change to the bytes of a real kit.
#[derive(Clone, Debug)]
enum Change {
    Replace(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Swap(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::sample::select(vec![
            "null",
            "[]",
            "{}",
            "-1",
            "1e400",
            "~",
            "&a",
            "*a",
            "<<: *a",
            "!!binary x",
            "\"",
            "'",
            "- ",
            "  ",
            "\t",
            ": ",
            "#",
            "|\n",
            "99999999999999999999",
            "(((",
            "[a-z",
            "(?=x)",
            "..",
            "\u{feff}"
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<Index>(), word).prop_map(|(at, word)| Change::Replace(at, word)),
        (any::<Index>(), 1_usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), 1_usize..200).prop_map(|(at, count)| Change::Repeat(at, count)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    match change {
        Change::Replace(at, word) => {
            let at = at.index(bytes.len());
            let end = (at + word.len()).min(bytes.len());
            bytes.splice(at..end, word.iter().copied());
        }
        Change::Remove(at, count) => {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        Change::Repeat(at, count) => {
            let at = at.index(bytes.len());
            let part = bytes[at..(at + count).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
        // Whole lines change places, so that what comes out is often still YAML.
        Change::Swap(a, b) => {
            let mut lines: Vec<Vec<u8>> = bytes
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
            *bytes = lines.join(&b'\n');
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(64) / 4, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_no_kit(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        examine(&Source([("kit/1.0.0/kit.yaml".to_owned(), bytes)].into()));
    }

    #[test]
    fn any_text_of_yaml_is_examined(yaml in "([a-z_]{1,6}: ?|- |  |\n|\\[|\\]|\\{|\\}|\"|'|&a |\\*a|<<: |[0-9.eE+-]{1,5}|~|!!str |\\||>|#){0,40}") {
        examine(&alone(&yaml));
    }

    #[test]
    fn any_damage_to_a_real_kit_is_told(file in any::<Index>(), changes in prop::collection::vec(change(), 1..4)) {
        let mut source = Source::embedded();
        let file = source.0.keys().nth(file.index(source.0.len())).unwrap().clone();
        let bytes = source.0.get_mut(&file).unwrap();
        changes.iter().for_each(|change| apply(bytes, change));
        prop_assert!(examine(&source) > 0);
    }

    #[test]
    fn any_missing_or_misplaced_file_is_told(file in any::<Index>(), name in "[a-z0-9./_-]{0,30}") {
        let mut source = Source::embedded();
        let file = source.0.keys().nth(file.index(source.0.len())).unwrap().clone();
        let bytes = source.0.remove(&file).unwrap();
        source.0.insert(name, bytes);
        prop_assert!(examine(&source) > 0);
    }
}

#[test]
fn bombs_are_refused_before_they_grow() {
    let mut laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, inner) in ('b'..='z').zip('a'..) {
        laughs += &format!(
            "{name}: &{name} [{}]\n",
            vec![format!("*{inner}"); 9].join(", ")
        );
    }
    examine(&alone(&laughs));
    examine(&alone(&"[".repeat(500_000)));
    examine(&alone(&"- ".repeat(300_000)));
    examine(&alone(&"a:\n ".repeat(3_000)));
    examine(&alone(&format!("? {}\n", "{".repeat(100_000))));
    examine(&alone(&"&a ".repeat(100_000)));
    examine(&alone("a: &a\n  b: *a\n"));
    examine(&alone(&"x".repeat(2 << 20)));
}

#[test]
fn a_file_over_its_limit_is_told_and_not_read() {
    let (kits, problems) = lint::test(&alone(&format!("#{}", "x".repeat(1024 * 1024))));
    let told = lint::render(&problems);
    assert!(kits.is_empty(), "{}", kits.len());
    assert!(
        told.contains("the file is larger than 1048576 bytes"),
        "{told}"
    );
}
