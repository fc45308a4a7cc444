//! A column that names a row is bound to it by a foreign key, and with it to its tenant.

use std::collections::BTreeSet;

use super::catalogue::{Table, tables};
use super::whole_database;

/// Columns that name something and are bound to nothing, each with the reason.
const LOOSE: [(&str, &str); 8] = [
    (
        "actor_id",
        "it tells who did something after that person is gone",
    ),
    ("entity_id", "an audit entry outlives what it tells of"),
    ("event_id", "events come from other services"),
    ("family_id", "a family of tokens has no row of its own"),
    ("request_id", "requests are no rows"),
    ("trace_id", "traces are no rows"),
    (
        "record_id",
        "facets are written and removed by the statements of their record",
    ),
    ("tenant_id", "row level security binds it"),
];

fn problem(table: &Table, column: &str, has_tenant: impl Fn(&str) -> bool) -> Option<String> {
    let name = format!("{}.{column}", table.name);
    let mut keys = table
        .foreign_keys
        .iter()
        .filter(|key| key.columns.iter().any(|part| part == column))
        .peekable();
    if keys.peek().is_none() {
        return Some(format!("{name} is no foreign key"));
    }
    keys.any(|key| has_tenant(&key.target) && !key.columns.iter().any(|part| part == "tenant_id"))
        .then(|| format!("{name} refers to a row of a tenant without naming the tenant"))
}

#[tokio::test]
async fn a_column_that_names_a_row_is_bound_to_it_and_to_its_tenant() {
    let database = whole_database().await;
    let tables = tables(&mut database.admin().await).await;
    let mut problems = Vec::new();
    let mut loose = BTreeSet::new();
    for table in tables.values().filter(|table| !table.is_partition) {
        for column in table.columns.iter().map(|column| column.name.as_str()) {
            let exception = LOOSE.iter().find(|(name, _)| *name == column);
            if let Some((name, _)) = exception {
                loose.insert(*name);
            } else if column.ends_with("_id") {
                problems.extend(problem(table, column, |target| tables[target].has_tenant));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(loose.len(), LOOSE.len(), "an exception that nobody needs");
}
