//! Many records at once, for imports: one upsert by natural key, one refresh of facets, however many rows.

use std::collections::{HashMap, HashSet};

use db::Tx;
use kernel::Result;
use serde_json::Value;
use uuid::Uuid;

use super::store;
use crate::App;
use crate::forms::EntityForm;

/// What the rows of a batch are records of.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub niche: &'a str,
    pub entity: &'a str,
    pub form: &'a EntityForm,
}

/// What became of the rows of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    pub created: u64,
    pub updated: u64,
    /// Rows whose content was already there.
    pub unchanged: u64,
    /// The records that were created or changed, for the event.
    pub changed_ids: Vec<Uuid>,
}

/// One row on its way into the table.
pub(super) struct Row {
    pub id: Uuid,
    pub natural_key: Option<String>,
    pub data: Value,
}

/// Writes rows that the form has accepted: nothing is checked here.
///
/// A row whose natural key exists replaces that record, or leaves it alone when the content is equal; a row without a natural key is always a
/// new record. Of rows with the same natural key the last one wins. Emits nothing: the caller knows how its events are cut.
pub async fn write_batch(
    app: &App,
    tx: &mut Tx,
    target: Target<'_>,
    rows: Vec<Value>,
) -> Result<BatchOutcome> {
    let mut outcome = BatchOutcome::default();
    let rows = last_of_each_key(app, target.form, rows, &mut outcome);
    if rows.is_empty() {
        return Ok(outcome);
    }
    let now = app.clock.now();
    let written = store::upsert_records(tx, target, &rows, now).await?;
    outcome.unchanged += (rows.len() - written.len()) as u64;
    let by_key: HashMap<&str, &Row> = rows
        .iter()
        .filter_map(|row| Some((row.natural_key.as_deref()?, row)))
        .collect();
    let by_id: HashMap<Uuid, &Row> = rows.iter().map(|row| (row.id, row)).collect();
    let mut facets = Vec::new();
    let mut replaced = Vec::new();
    for record in &written {
        // A replaced record keeps its own id, so it is found by its key.
        let row = record
            .natural_key
            .as_deref()
            .map_or_else(|| by_id.get(&record.id), |key| by_key.get(key));
        if record.created {
            outcome.created += 1;
        } else {
            outcome.updated += 1;
            replaced.push(record.id);
        }
        outcome.changed_ids.push(record.id);
        let values = row
            .map(|row| target.form.facet_values(&row.data))
            .unwrap_or_default();
        facets.extend(
            values
                .into_iter()
                .map(|(facet, value)| (record.id, facet, value)),
        );
    }
    store::replace_facets(tx, target, &replaced, &facets).await?;
    Ok(outcome)
}

/// Tells what [`write_batch`] would do, and does nothing. Answers no ids.
pub async fn preview_batch(
    app: &App,
    tx: &mut Tx,
    target: Target<'_>,
    rows: Vec<Value>,
) -> Result<BatchOutcome> {
    let mut outcome = BatchOutcome::default();
    let rows = last_of_each_key(app, target.form, rows, &mut outcome);
    if rows.is_empty() {
        return Ok(outcome);
    }
    let (known, changed) = store::compare_records(tx, target, &rows).await?;
    outcome.created += rows.len() as u64 - known;
    outcome.updated += changed;
    outcome.unchanged += known - changed;
    Ok(outcome)
}

/// Keeps the last row of each natural key, in the order of the keys, since one statement cannot write a record twice. The earlier ones count as what they would have been.
fn last_of_each_key(
    app: &App,
    form: &EntityForm,
    rows: Vec<Value>,
    outcome: &mut BatchOutcome,
) -> Vec<Row> {
    let keyed: Vec<(Option<String>, Value)> = rows
        .into_iter()
        .map(|data| (form.natural_key(&data), data))
        .collect();
    let mut last: HashMap<&str, &Value> = HashMap::new();
    let mut superseded: HashSet<usize> = HashSet::new();
    for (i, (key, data)) in keyed.iter().enumerate().rev() {
        let Some(key) = key else { continue };
        match last.get(key.as_str()) {
            None => {
                last.insert(key, data);
            }
            Some(winner) => {
                superseded.insert(i);
                if *winner == data {
                    outcome.unchanged += 1;
                } else {
                    outcome.updated += 1;
                }
            }
        }
    }
    let mut rows: Vec<Row> = keyed
        .into_iter()
        .enumerate()
        .filter(|(i, _)| !superseded.contains(i))
        .map(|(_, (natural_key, data))| Row {
            id: app.ids.next(),
            natural_key,
            data,
        })
        .collect();
    // Two imports of the same file take the locks of records in the same order, so they wait for each other instead of deadlocking.
    rows.sort_by(|a, b| a.natural_key.cmp(&b.natural_key));
    rows
}
