//! From the row of a file to the fields of a record, as an import mapping of the kit declares it.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::forms::{EntityForm, FieldKind, ItemKind};
use crate::kits::{ColumnMapping, ImportMapping};

/// Separates the items of a list in one cell, unless the mapping says otherwise.
const LIST_SEPARATOR: &str = ";";

/// Turns rows into records. Made once per file, from its header.
#[derive(Debug)]
pub struct RowMapper {
    columns: Vec<MappedColumn>,
    ignored: Vec<String>,
    missing: Vec<String>,
}

#[derive(Debug)]
struct MappedColumn {
    index: usize,
    field: String,
    kind: FieldKind,
    values: HashMap<String, String>,
    rules: Vec<(Regex, String)>,
    separator: String,
}

impl RowMapper {
    /// Binds a mapping to the header of a file. A header names a column of the mapping, in any case, or a field by its key; a field that is
    /// named directly is not filled from a mapped column as well.
    pub fn new<'h>(
        form: &EntityForm,
        mapping: Option<&ImportMapping>,
        header: impl IntoIterator<Item = &'h str>,
    ) -> Self {
        let header: Vec<String> = header
            .into_iter()
            .map(|h| h.trim().trim_start_matches('\u{feff}').to_owned())
            .collect();
        let declared = mapping.map(|m| m.columns.as_slice()).unwrap_or_default();
        let mut columns: Vec<MappedColumn> = Vec::new();
        let mut used = vec![false; header.len()];
        for (index, name) in header.iter().enumerate() {
            if let Some(field) = form
                .field(name)
                .filter(|f| !columns.iter().any(|c| c.field == f.key))
            {
                columns.push(MappedColumn::new(
                    index,
                    &field.key,
                    field.kind,
                    declared
                        .iter()
                        .find(|c| c.field == field.key && c.rules.is_empty()),
                ));
                used[index] = true;
            }
        }
        for column in declared {
            let Some(index) = header
                .iter()
                .position(|h| h.eq_ignore_ascii_case(&column.column))
            else {
                continue;
            };
            let Some(field) = form.field(&column.field) else {
                continue;
            };
            used[index] = true;
            if !columns.iter().any(|c| c.field == field.key) {
                columns.push(MappedColumn::new(
                    index,
                    &field.key,
                    field.kind,
                    Some(column),
                ));
            }
        }
        let ignored = header
            .into_iter()
            .zip(used)
            .filter(|(_, used)| !used)
            .map(|(name, _)| name)
            .collect();
        let needed = form
            .fields()
            .iter()
            .filter(|f| f.required || form.entity.natural_key.as_deref() == Some(&f.key));
        let missing = needed
            .filter(|f| !columns.iter().any(|c| c.field == f.key))
            .map(|f| f.key.clone())
            .collect();
        Self {
            columns,
            ignored,
            missing,
        }
    }

    /// Headers that fill no field.
    pub fn ignored_headers(&self) -> &[String] {
        &self.ignored
    }

    /// Fields that every record needs (required ones and the natural key) and that no column of the file fills.
    pub fn missing_fields(&self) -> &[String] {
        &self.missing
    }

    /// The record of a row. An empty cell leaves its field out; a cell that is not what its field holds stays as it stands in the file, so that
    /// the form's check reports it.
    pub fn record<'c>(&self, cell: impl Fn(usize) -> Option<&'c str>) -> Value {
        let mut data = Map::with_capacity(self.columns.len());
        for column in &self.columns {
            if let Some(value) = cell(column.index)
                .map(str::trim)
                .filter(|c| !c.is_empty())
                .and_then(|c| column.value(c))
            {
                data.insert(column.field.clone(), value);
            }
        }
        Value::Object(data)
    }

    /// The header index of the column that fills a field, so that a row error can name the column.
    pub fn column_of(&self, field: &str) -> Option<usize> {
        self.columns
            .iter()
            .find(|c| c.field == field)
            .map(|c| c.index)
    }
}

impl MappedColumn {
    fn new(index: usize, field: &str, kind: FieldKind, declared: Option<&ColumnMapping>) -> Self {
        let rules = declared.map(|c| c.rules.as_slice()).unwrap_or_default();
        Self {
            index,
            field: field.to_owned(),
            kind,
            values: declared
                .map(|c| c.values.clone().into_iter().collect())
                .unwrap_or_default(),
            // Lint has compiled every pattern once already.
            rules: rules
                .iter()
                .filter_map(|r| Some((Regex::new(&r.pattern).ok()?, r.value.clone())))
                .collect(),
            separator: declared
                .and_then(|c| c.separator.clone())
                .unwrap_or_else(|| LIST_SEPARATOR.to_owned()),
        }
    }

    fn value(&self, cell: &str) -> Option<Value> {
        let cell = if self.rules.is_empty() {
            self.values.get(cell).map_or(cell, String::as_str)
        } else {
            self.rules
                .iter()
                .find(|(pattern, _)| pattern.is_match(cell))
                .map(|(_, value)| value.as_str())?
        };
        Some(match self.kind {
            FieldKind::List(kind) => {
                let items = cell
                    .split(self.separator.as_str())
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::Array(items.map(|item| scalar(item, kind)).collect())
            }
            FieldKind::Text => scalar(cell, ItemKind::Text),
            FieldKind::Integer => scalar(cell, ItemKind::Integer),
            FieldKind::Number => scalar(cell, ItemKind::Number),
            FieldKind::Boolean => scalar(cell, ItemKind::Boolean),
        })
    }
}

fn scalar(cell: &str, kind: ItemKind) -> Value {
    let parsed = match kind {
        ItemKind::Text => None,
        ItemKind::Integer => cell.parse::<i64>().ok().map(Value::from),
        ItemKind::Number => cell
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map(Value::Number),
        ItemKind::Boolean => match cell.to_lowercase().as_str() {
            "true" | "yes" | "sim" | "1" => Some(Value::Bool(true)),
            "false" | "no" | "não" | "nao" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
    };
    parsed.unwrap_or_else(|| Value::String(cell.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kits::Kits;

    fn check(header: &[&str], row: &[&str], expected: Value) -> RowMapper {
        let kit = Kits::embedded()
            .unwrap()
            .get("software-catalog", "")
            .unwrap();
        let form = EntityForm::compile(&kit.entities["packages"], &kit.taxonomies).unwrap();
        let mapping = form.entity.import_mappings.first();
        let mapper = RowMapper::new(&form, mapping, header.iter().copied());
        assert_eq!(mapper.record(|i| row.get(i).copied()), expected);
        mapper
    }

    #[test]
    fn a_header_names_columns_in_any_case_or_fields_by_key() {
        let mapper = check(
            &["\u{feff}package", "section", "Colour"],
            &["redis", "database", "red"],
            json!({"name": "redis", "section": "database"}),
        );
        assert_eq!(mapper.ignored_headers(), ["Colour"]);
        assert_eq!(
            (mapper.column_of("name"), mapper.column_of("tags")),
            (Some(0), None)
        );
        let mapper = check(&["Section"], &["web"], json!({"section": "web"}));
        assert_eq!(mapper.missing_fields(), ["name"]);
    }

    #[test]
    fn a_field_that_is_named_directly_is_not_derived_as_well() {
        check(
            &["name", "Maintainer", "maintainer_role"],
            &["redis", "Debian Redis Team <x@y.z>", "vendor"],
            json!({"name": "redis", "maintainer": "Debian Redis Team <x@y.z>", "maintainer_role": "vendor"}),
        );
    }

    #[test]
    fn a_cell_that_does_not_fit_stays_for_the_form_to_report() {
        check(
            &["Package", "Installed-Size", "Tag", "Summary"],
            &["redis", "many", "a, ,b", "  "],
            json!({"name": "redis", "installed_size": "many", "tags": ["a", "b"]}),
        );
    }
}
