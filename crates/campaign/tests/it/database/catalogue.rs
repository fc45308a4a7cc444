//! What the live catalogue says about the tables of the services.

use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

/// A table of a service, or a partition of one.
pub struct Table {
    /// With its schema, for example `auth.groups`.
    pub name: String,
    pub schema: String,
    pub is_partition: bool,
    pub has_tenant: bool,
    pub columns: Vec<Column>,
    pub foreign_keys: Vec<ForeignKey>,
    /// The columns of each unique index.
    pub uniques: Vec<Vec<String>>,
    pub primary_key: Vec<String>,
}

pub struct Column {
    pub name: String,
    pub type_name: String,
    /// Something has to be given, because neither null nor a default stands in.
    pub is_needed: bool,
    /// The words that an enumeration or a check admits; empty when there is no such limit.
    pub words: Vec<String>,
}

pub struct ForeignKey {
    pub columns: Vec<String>,
    pub target: String,
    pub target_columns: Vec<String>,
}

impl Table {
    pub fn column(&self, name: &str) -> &Column {
        self.columns.iter().find(|c| c.name == name).unwrap()
    }
}

/// Every table in a schema that `app.services` names, by name.
pub async fn tables(admin: &mut PgConnection) -> BTreeMap<String, Table> {
    // Names are printed relative to the search path.
    admin.execute("set search_path = ''").await.unwrap();
    let mut tables = BTreeMap::new();
    let rows: Vec<(String, String, bool)> = all(
        admin,
        "select c.oid::regclass::text, n.nspname::text, c.relispartition from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         join app.services s on s.name = n.nspname where c.relkind in ('r', 'p') and c.relname <> 'migrations'",
    )
    .await;
    for (name, schema, is_partition) in rows {
        let table = Table {
            columns: columns(admin, &name).await,
            foreign_keys: foreign_keys(admin, &name).await,
            uniques: uniques(admin, &name, false).await,
            primary_key: uniques(admin, &name, true).await.pop().unwrap_or_default(),
            has_tenant: false,
            is_partition,
            schema,
            name: name.clone(),
        };
        let has_tenant = table.columns.iter().any(|c| c.name == "tenant_id");
        tables.insert(
            name,
            Table {
                has_tenant,
                ..table
            },
        );
    }
    tables
}

async fn all<T>(admin: &mut PgConnection, sql: &str) -> Vec<T>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    sqlx::query_as(AssertSqlSafe(sql.to_owned()))
        .fetch_all(admin)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn columns(admin: &mut PgConnection, table: &str) -> Vec<Column> {
    let rows: Vec<(String, String, bool, Vec<String>)> = all(
        admin,
        &format!(
            "select a.attname::text, format_type(a.atttypid, a.atttypmod), \
                    a.attnotnull and not a.atthasdef and a.attidentity = '' and a.attgenerated = '', \
                    array(select e.enumlabel::text from pg_enum e where e.enumtypid = a.atttypid order by e.enumsortorder) \
             from pg_attribute a where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum"
        ),
    )
    .await;
    let checks: Vec<(String, String)> = all(
        admin,
        &format!(
            "select a.attname::text, pg_get_constraintdef(c.oid) from pg_constraint c \
             join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum] \
             where c.contype = 'c' and c.conrelid = '{table}'::regclass"
        ),
    )
    .await;
    rows.into_iter()
        .map(|(name, type_name, is_needed, labels)| {
            let check = checks.iter().find(|(column, _)| *column == name);
            let words = match check {
                Some((_, definition)) if labels.is_empty() => words_of(definition),
                _ => labels,
            };
            Column {
                name,
                type_name,
                is_needed,
                words,
            }
        })
        .collect()
}

/// The words in `CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text])))`.
fn words_of(definition: &str) -> Vec<String> {
    let quoted = definition.split('\'').collect::<Vec<_>>();
    quoted
        .chunks(2)
        .filter_map(|pair| match pair {
            [_, word] => Some((*word).to_owned()),
            _ => None,
        })
        .collect()
}

async fn foreign_keys(admin: &mut PgConnection, table: &str) -> Vec<ForeignKey> {
    let names = |columns: &str, of: &str| {
        format!(
            "array(select a.attname::text from unnest({columns}) with ordinality k (n, o) \
             join pg_attribute a on a.attrelid = {of} and a.attnum = k.n order by k.o)"
        )
    };
    let rows: Vec<(Vec<String>, String, Vec<String>)> = all(
        admin,
        &format!(
            "select {}, c.confrelid::regclass::text, {} from pg_constraint c \
             where c.contype = 'f' and c.conparentid = 0 and c.conrelid = '{table}'::regclass order by c.conname",
            names("c.conkey", "c.conrelid"),
            names("c.confkey", "c.confrelid"),
        ),
    )
    .await;
    rows.into_iter()
        .map(|(columns, target, target_columns)| ForeignKey {
            columns,
            target,
            target_columns,
        })
        .collect()
}

async fn uniques(admin: &mut PgConnection, table: &str, only_primary: bool) -> Vec<Vec<String>> {
    let rows: Vec<(Vec<String>,)> = all(
        admin,
        &format!(
            "select array(select a.attname::text from generate_series(0, i.indnkeyatts - 1) as o \
                          join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[o] order by o) \
             from pg_index i where i.indisunique and (i.indisprimary or not {only_primary}) and i.indrelid = '{table}'::regclass"
        ),
    )
    .await;
    rows.into_iter().map(|(columns,)| columns).collect()
}
