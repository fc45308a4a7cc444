//! The lists of proofs do not rot: what they name is there.

use anyhow::Result;

use super::{Finding, Tree};
use crate::mutants;

/// Each removable defence is in its file, once.
pub fn defences_are_there(tree: &Tree) -> Result<Vec<Finding>> {
    let Some(list) = tree.source(mutants::LIST) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for mutant in mutants::list(&list.text)? {
        let line = list
            .text
            .lines()
            .position(|line| line.contains(&mutant.defence))
            .map_or(1, |at| at + 1);
        let times = tree.source(&mutant.file).map_or(0, |source| {
            source.text.matches(mutant.find.trim_end()).count()
        });
        if times != 1 {
            let text = format!(
                "the text of \"{}\" is {times} times in {}; it must be there once",
                mutant.defence, mutant.file
            );
            found.push(list.finding(line, "defences-are-there", text));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, Tree};
    use super::*;

    #[test]
    fn a_defence_that_was_rewritten_is_told() {
        let list = "- {defence: the check, file: a.rs, find: 'if ok {', test: -p a}\n\
                    - {defence: the lock, file: a.rs, find: 'lock()', test: -p a}\n";
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let tree = Tree {
            root: "/".into(),
            sources: vec![
                source(mutants::LIST, list),
                source("a.rs", "if ok { lock(); lock(); }"),
            ],
        };
        let found = defences_are_there(&tree).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            found[0].to_string(),
            "crates/campaign/mutants.yaml:2: the text of \"the lock\" is 2 times in a.rs; it must be there once [defences-are-there]"
        );
    }
}
