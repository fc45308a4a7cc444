//! No method without a fixture, no place of an id without a kind, no fixture without a method.

use std::collections::BTreeSet;

use super::contract::{described, fixtures, id_places};
use super::objects::KINDS;

#[test]
fn every_method_has_a_fixture_and_every_fixture_a_method() {
    let (methods, fixtures) = (described(), fixtures());
    let mut problems = Vec::new();
    for (path, method) in &methods {
        if proto::policy::of(path).is_none() {
            problems.push(format!("{path} has no policy; run `cargo xtask proto`"));
        }
        let Some(fixture) = fixtures.get(path) else {
            problems.push(format!(
                "{path} has no fixture: add \"{path}\": {{\"request\": {{…}}, \"ids\": {{…}}}} to crates/campaign/data/methods.json with a request that \
                 succeeds for whoever may call, then write the matrix anew (crates/campaign/README.md) and review its new line"
            ));
            continue;
        };
        let places: BTreeSet<String> = id_places(&method.input()).into_iter().collect();
        for place in places
            .iter()
            .filter(|place| !fixture.ids.contains_key(*place))
        {
            problems.push(format!(
                "{path}: the field {place} names an object; say in `ids` which kind: one of {}",
                KINDS.join(", ")
            ));
        }
        for (place, kind) in &fixture.ids {
            if !KINDS.contains(&kind.as_str()) {
                problems.push(format!(
                    "{path}: `{kind}` at {place} is not one of {}",
                    KINDS.join(", ")
                ));
            }
            if !places.contains(place) && method.input().get_field_by_json_name(place).is_none() {
                problems.push(format!("{path}: there is no field {place}"));
            }
        }
    }
    for path in fixtures.keys().filter(|path| !methods.contains_key(*path)) {
        problems.push(format!(
            "{path} of data/methods.json is not a method of the contract; remove it"
        ));
    }
    assert_eq!(methods.len(), proto::policy::ALL.len());
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
