//! Valid rows for every table, made from what the catalogue says about it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::catalogue::{Column, Table};

/// Where type, default, check and foreign key do not say enough: table, column, SQL. Reviewed data; a table that cannot be filled asks for a line here.
const HINTS: &[(&str, &str, &str)] = &[
    // One model for all, as a search over the vectors of one model wants it.
    ("search.embeddings", "embedding_model", "'model'"),
    ("search.chunks", "content", "'a shared word'"),
    (
        "search.chunks",
        "tsv",
        "to_tsvector('english', 'a shared word')",
    ),
];

/// Rows of a table for one owner, at most.
const ROWS: usize = 2;

/// Whose a row is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub label: String,
    /// The id as an SQL literal.
    pub id: String,
}

impl Owner {
    pub fn new(label: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, label.as_bytes());
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        Self {
            label: label.to_owned(),
            id: id.to_string(),
        }
    }

    /// Nobody yet: has the parents that a row of `table` needs, and no such row.
    pub fn newcomer(table: &str) -> Self {
        Self::new(&format!("newcomer to {table}"))
    }
}

/// A row as column and SQL expression.
pub type Row = Vec<(String, String)>;

/// Makes rows and puts them in place, parents first.
pub struct Generator<'a> {
    pub tables: &'a BTreeMap<String, Table>,
    done: BTreeSet<(String, Owner, usize)>,
    /// What could not be filled, and what to do about it.
    pub problems: Vec<String>,
}

impl<'a> Generator<'a> {
    pub fn new(tables: &'a BTreeMap<String, Table>) -> Self {
        Self {
            tables,
            done: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// How many different rows one owner can have.
    pub fn capacity(&self, table: &Table) -> usize {
        let variety = |name: &String| {
            if name == "tenant_id" {
                return 1;
            }
            let parent = table
                .foreign_keys
                .iter()
                .find(|key| key.columns.contains(name) && key.target != table.name);
            match parent {
                Some(key) => self.capacity(&self.tables[&key.target]),
                None => table
                    .column(name)
                    .words
                    .len()
                    .checked_sub(1)
                    .map_or(ROWS, |n| n + 1),
            }
        };
        let of_unique = |columns: &Vec<String>| columns.iter().map(variety).max().unwrap_or(ROWS);
        table
            .uniques
            .iter()
            .map(of_unique)
            .min()
            .unwrap_or(ROWS)
            .min(ROWS)
    }

    /// The `n`th row of an owner; rows of tables without tenants belong to everybody.
    pub fn row(&self, table: &Table, owner: &Owner, n: usize) -> Row {
        let owner = owner_in(table, owner);
        let mut row = Vec::new();
        for column in &table.columns {
            if let Some(value) = self.value(table, column, &owner, n) {
                row.push((column.name.clone(), value));
            }
        }
        row
    }

    fn value(&self, table: &Table, column: &Column, owner: &Owner, n: usize) -> Option<String> {
        if column.name == "tenant_id" {
            return Some(format!("'{}'", owner.id));
        }
        let hint = HINTS
            .iter()
            .find(|(t, c, _)| *t == table.name && *c == column.name);
        if let Some((.., sql)) = hint {
            return Some((*sql).to_owned());
        }
        let key = table
            .foreign_keys
            .iter()
            .find(|key| key.columns.contains(&column.name));
        if let Some(key) = key {
            let target = &self.tables[&key.target];
            let place = key.columns.iter().position(|c| *c == column.name)?;
            let parent = self.row(target, owner, n % self.capacity(target));
            let there = &key.target_columns[place];
            return parent.into_iter().find(|(c, _)| c == there).map(|(_, v)| v);
        }
        if !column.is_needed {
            return None;
        }
        if !column.words.is_empty() {
            return Some(format!("'{}'", column.words[n % column.words.len()]));
        }
        let text = format!("{}.{} {} {n}", table.name, column.name, owner.label);
        Some(literal(&column.type_name, &text, n))
    }

    /// Puts a row in place unless it is there, and before it what it refers to.
    pub async fn put(&mut self, admin: &mut PgConnection, table: &Table, owner: &Owner, n: usize) {
        let owner = owner_in(table, owner);
        if !self.done.insert((table.name.clone(), owner.clone(), n)) {
            return;
        }
        self.put_parents(admin, table, &owner, n).await;
        let insert = insert(&table.name, &self.row(table, &owner, n));
        if let Err(error) = admin.execute(AssertSqlSafe(insert.clone())).await {
            self.problems.push(format!(
                "{}: the generated row is refused: {error}; add a line to HINTS in database/rows.rs ({insert})",
                table.name
            ));
        }
    }

    /// What the row refers to, without the row.
    pub async fn put_parents(
        &mut self,
        admin: &mut PgConnection,
        table: &Table,
        owner: &Owner,
        n: usize,
    ) {
        for key in &table.foreign_keys {
            let target = &self.tables[&key.target];
            let n = n % self.capacity(target);
            Box::pin(self.put(admin, target, owner, n)).await;
        }
    }

    /// Two rows of each table for each owner, or as many as there can be.
    pub async fn fill(&mut self, admin: &mut PgConnection, owners: &[Owner]) {
        let tables = self.tables;
        for table in tables.values().filter(|table| !table.is_partition) {
            for owner in owners {
                for n in 0..self.capacity(table) {
                    self.put(admin, table, owner, n).await;
                }
            }
            self.put_parents(admin, table, &Owner::newcomer(&table.name), 0)
                .await;
        }
    }
}

/// Tables without tenants have one owner for all.
fn owner_in(table: &Table, owner: &Owner) -> Owner {
    let is_newcomer = *owner == Owner::newcomer(&table.name);
    if table.has_tenant || is_newcomer {
        owner.clone()
    } else {
        Owner::new("everybody")
    }
}

pub fn insert(table: &str, row: &Row) -> String {
    let columns: Vec<&str> = row.iter().map(|(column, _)| column.as_str()).collect();
    let values: Vec<&str> = row.iter().map(|(_, value)| value.as_str()).collect();
    format!(
        "insert into {table} ({}) values ({})",
        columns.join(", "),
        values.join(", ")
    )
}

/// A value of a type, different for different texts where the type has room for it.
fn literal(type_name: &str, text: &str, n: usize) -> String {
    let text = text.to_lowercase();
    match type_name {
        "uuid" => format!("md5('{text}')::uuid"),
        "text" => format!("'{text}'"),
        "bytea" => format!("decode(md5('{text}'), 'hex')"),
        "boolean" => "false".to_owned(),
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" => {
            n.to_string()
        }
        "timestamp with time zone" => {
            format!("'2026-01-01 00:00:00Z'::timestamptz + interval '{n} hours'")
        }
        "date" => format!("'2026-01-01'::date + {n}"),
        "json" | "jsonb" => format!("'{{\"canary\": \"{text}\"}}'"),
        "text[]" => format!("array['{text}']"),
        "uuid[]" => format!("array[md5('{text}')::uuid]"),
        "tsvector" => format!("to_tsvector('simple', '{text}')"),
        "ext.halfvec(384)" => "array_fill(1::real, array[384])::ext.halfvec".to_owned(),
        // The insert then fails, and the report names the table, the column's type and this file.
        other => format!(
            "'no value is known for the type {}'",
            other.replace('\'', "")
        ),
    }
}
