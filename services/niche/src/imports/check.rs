//! Bytes of a file to checked records, in batches. Pure and busy: it runs on the threads for blocking work.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::Locale;
use serde_json::{Value, json};

use super::RowError;
use super::csv_rows::{Cells, Header, Place, Rows};
use super::failures::Failure;
use crate::forms::EntityForm;
use crate::kits::ImportMapping;
use crate::mappings::RowMapper;

/// Rows that are written by one transaction, and the most records that one event names.
pub const BATCH_ROWS: u64 = 500;
/// Errors of one row that are kept.
const ROW_ERRORS_MAX: usize = 20;

/// Rows that were worked through, ready to be written.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records of the good rows.
    pub records: Vec<Value>,
    pub errors: Vec<RowError>,
    pub rows: u64,
    /// Rows that are not among the records.
    pub failed: u64,
    /// The last of the rows.
    pub last: Place,
}

/// Turns the bytes of one file into batches.
pub struct Checker {
    rows: Rows,
    row_check: RowCheck,
    batch: Batch,
}

struct RowCheck {
    form: Arc<EntityForm>,
    mapper: RowMapper,
    columns: Vec<String>,
}

impl Checker {
    /// Binds form and mapping to the header of a file. `missing_columns` names every column that the file would need and lacks.
    pub fn new(
        form: Arc<EntityForm>,
        mapping: Option<&ImportMapping>,
        header: &Header,
        last: Place,
    ) -> Result<Self, Failure> {
        let mapper = RowMapper::new(&form, mapping, header.columns.iter().map(String::as_str));
        if !mapper.missing_fields().is_empty() {
            let names = mapper
                .missing_fields()
                .iter()
                .map(|field| column_names(field, mapping))
                .collect::<Vec<_>>();
            return Err(Failure::new("missing_columns").with("columns", names.join(", ")));
        }
        let mut batch = Batch {
            last,
            ..Batch::default()
        };
        // Said once, with the first rows. An empty name is a separator too many at the end of the line.
        let is_begin = last == header.place;
        for name in mapper
            .ignored_headers()
            .iter()
            .filter(|name| is_begin && !name.is_empty())
        {
            let known = known_columns(&form, mapping);
            batch.errors.push(row_error(
                header.place,
                &batch.errors,
                (
                    "unused_column",
                    name,
                    &BTreeMap::from([("known".to_owned(), known)]),
                ),
            ));
        }
        let rows = Rows::after(last, header.delimiter);
        Ok(Self {
            rows,
            row_check: RowCheck {
                form,
                mapper,
                columns: header.columns.clone(),
            },
            batch,
        })
    }

    /// The byte from which it takes the file.
    pub fn position(&self) -> u64 {
        self.rows.position()
    }

    /// Takes the next bytes. What was complete before a failure is among the batches.
    pub fn push(&mut self, bytes: &[u8]) -> (Vec<Batch>, Option<Failure>) {
        self.run(|rows, each| rows.push(bytes, each))
    }

    /// Takes the end of the file.
    pub fn finish(&mut self) -> (Vec<Batch>, Option<Failure>) {
        let (mut batches, failure) = self.run(|rows, each| rows.finish(each));
        self.flush(&mut batches);
        (batches, failure)
    }

    fn run(
        &mut self,
        read: impl FnOnce(
            &mut Rows,
            &mut dyn FnMut(&Cells, Place) -> Result<(), Failure>,
        ) -> Result<(), Failure>,
    ) -> (Vec<Batch>, Option<Failure>) {
        let mut batches = Vec::new();
        let (batch, row_check) = (&mut self.batch, &self.row_check);
        let failure = read(&mut self.rows, &mut |cells, place| {
            row_check.row(cells, place, batch)?;
            if batch.rows >= BATCH_ROWS {
                batches.push(std::mem::take(batch));
            }
            Ok(())
        })
        .err();
        if failure.is_some() {
            self.flush(&mut batches);
        }
        (batches, failure)
    }

    fn flush(&mut self, into: &mut Vec<Batch>) {
        if self.batch.rows > 0 || !self.batch.errors.is_empty() {
            into.push(std::mem::take(&mut self.batch));
        }
    }
}

impl RowCheck {
    fn row(&self, cells: &Cells, place: Place, batch: &mut Batch) -> Result<(), Failure> {
        let texts = cells
            .texts()
            .ok_or_else(|| Failure::new("not_utf8").with("row", place.row))?;
        batch.rows += 1;
        batch.last = place;
        if cells.is_malformed || cells.len() != self.columns.len() {
            let params = BTreeMap::from([
                ("expected".to_owned(), self.columns.len().to_string()),
                ("found".to_owned(), cells.len().to_string()),
            ]);
            let error = if cells.is_malformed {
                ("quotes", "", &BTreeMap::new())
            } else {
                ("cells", "", &params)
            };
            batch.errors.push(row_error(place, &[], error));
            batch.failed += 1;
            return Ok(());
        }
        let record = self.mapper.record(|i| texts.get(i).copied());
        if self.form.is_sound(&record) {
            batch.records.push(record);
            return Ok(());
        }
        // The language does not matter: rules and parameters are kept, not messages.
        for (position, problem) in self
            .form
            .check(&record, Locale::En)
            .into_iter()
            .take(ROW_ERRORS_MAX)
            .enumerate()
        {
            let key = problem.field.split('[').next().unwrap_or_default();
            batch.errors.push(RowError {
                row_number: number(place.row),
                position: i32::try_from(position).unwrap_or(i32::MAX),
                source_column: self
                    .mapper
                    .column_of(key)
                    .and_then(|i| self.columns.get(i))
                    .cloned()
                    .unwrap_or_default(),
                field: problem.field,
                rule: problem.rule.to_owned(),
                params: json!(problem.params),
            });
        }
        batch.failed += 1;
        Ok(())
    }
}

fn row_error(
    place: Place,
    before: &[RowError],
    (rule, column, params): (&str, &str, &BTreeMap<String, String>),
) -> RowError {
    RowError {
        row_number: number(place.row),
        position: i32::try_from(before.len()).unwrap_or(i32::MAX),
        source_column: column.to_owned(),
        field: String::new(),
        rule: rule.to_owned(),
        params: json!(params),
    }
}

/// A field and the column that the mapping takes it from.
fn column_names(field: &str, mapping: Option<&ImportMapping>) -> String {
    let mapped = mapping.and_then(|m| m.columns.iter().find(|c| c.field == field));
    mapped.map_or_else(
        || field.to_owned(),
        |column| format!("{} ({field})", column.column),
    )
}

fn known_columns(form: &EntityForm, mapping: Option<&ImportMapping>) -> String {
    match mapping {
        Some(mapping) => {
            let mut names: Vec<&str> = mapping.columns.iter().map(|c| c.column.as_str()).collect();
            names.dedup();
            names.join(", ")
        }
        None => form
            .fields()
            .iter()
            .map(|f| f.key.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

pub(super) fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
