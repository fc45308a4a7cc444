//! What a runtime role tries on a table, and what the policy promises about each try.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::catalogue::Table;
use super::rows::{Generator, Owner, Row, insert};

/// The tenant setting during a try.
#[derive(Clone, Debug)]
pub enum Context {
    Of(Owner),
    /// Never set on this connection.
    Unset,
    /// What a finished transaction leaves behind.
    Empty,
    Garbage,
    Nil,
}

impl Context {
    pub fn set(&self) -> String {
        let value = match self {
            Self::Unset => return String::new(),
            Self::Of(owner) => owner.id.as_str(),
            Self::Empty => "",
            Self::Garbage => "no uuid",
            Self::Nil => "00000000-0000-0000-0000-000000000000",
        };
        format!("; set local app.tenant_id = '{value}'")
    }

    /// With what every statement on a tenant's table fails in this context.
    fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Unset | Self::Empty => Some("42501"),
            Self::Garbage => Some("22P02"),
            Self::Of(_) | Self::Nil => None,
        }
    }
}

/// What must come of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    Rows(u64),
    /// As many rows, or the word that other rows refer to them.
    RowsUnlessReferred(u64),
    /// One row, or the word that everybody's table has it already.
    RowUnlessTaken,
    Refused(&'static str),
}

pub struct Attempt {
    pub what: &'static str,
    pub sql: String,
    pub promise: Promise,
}

/// What a role may do with a table.
pub struct Rights {
    pub select: bool,
    pub insert: bool,
    pub delete: bool,
    /// Columns that it may change.
    pub update: Vec<String>,
}

impl Rights {
    pub async fn of(admin: &mut PgConnection, role: &str, table: &str) -> Self {
        let sql = format!(
            "select has_table_privilege('{role}', t, 'select'), has_table_privilege('{role}', t, 'insert'), has_table_privilege('{role}', t, 'delete'), \
                    array(select a.attname::text from pg_attribute a where a.attrelid = t and a.attnum > 0 and not a.attisdropped \
                          and has_column_privilege('{role}', t, a.attnum, 'update')) \
             from (select '{table}'::regclass::oid as t) as x"
        );
        let (select, insert, delete, update) = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_one(admin)
            .await
            .unwrap();
        Self {
            select,
            insert,
            delete,
            update,
        }
    }

    /// Any at all.
    pub fn any(&self) -> bool {
        self.select || self.insert || self.delete || !self.update.is_empty()
    }
}

/// The tries of one role on one table.
pub struct Attempts<'a> {
    pub table: &'a Table,
    pub rights: &'a Rights,
    /// Row level security binds the role here.
    pub is_bound: bool,
    /// Rows that the role should see in a context of its own.
    pub visible: u64,
    pub owner: Option<&'a Owner>,
    pub other: &'a Owner,
    pub context: &'a Context,
    pub generator: &'a Generator<'a>,
    list: Vec<Attempt>,
}

impl<'a> Attempts<'a> {
    #[expect(clippy::too_many_arguments, reason = "the dimensions of the matrix")]
    pub fn new(
        table: &'a Table,
        rights: &'a Rights,
        is_bound: bool,
        visible: u64,
        other: &'a Owner,
        context: &'a Context,
        generator: &'a Generator<'a>,
    ) -> Self {
        let owner = match context {
            Context::Of(owner) => Some(owner),
            _ => None,
        };
        Self {
            table,
            rights,
            is_bound,
            visible,
            owner,
            other,
            context,
            generator,
            list: Vec::new(),
        }
    }

    /// All of them.
    pub fn all(mut self) -> Vec<Attempt> {
        self.reading();
        self.inserting();
        self.changing();
        self.removing();
        self.merging();
        self.structure();
        self.list
    }

    fn add(&mut self, what: &'static str, is_granted: bool, sql: String, promise: Promise) {
        let promise = match self.context.refusal() {
            _ if !is_granted => Promise::Refused("42501"),
            Some(code) if self.is_bound => Promise::Refused(code),
            _ => promise,
        };
        self.list.push(Attempt { what, sql, promise });
    }

    /// A statement about the other tenant's rows: none of them is there.
    fn foreign(&mut self, what: &'static str, is_granted: bool, sql: String) {
        if self.is_bound {
            self.add(what, is_granted, sql, Promise::Rows(0));
        }
    }

    fn name(&self) -> &'a str {
        &self.table.name
    }

    fn of_other(&self) -> String {
        format!("tenant_id = '{}'", self.other.id)
    }

    fn reading(&mut self) {
        let (t, can, visible) = (self.name(), self.rights.select, self.visible);
        let other = self.of_other();
        let sql = format!("select * from {t}");
        self.add("select", can, sql, Promise::Rows(visible));
        self.foreign(
            "select foreign",
            can,
            format!("select * from {t} where {other}"),
        );
        if let Some(owner) = self.owner {
            let sql = format!("select * from {t} where tenant_id <> '{}'", owner.id);
            self.foreign("select all but own", can, sql);
        }
        let can_lock = can && !self.rights.update.is_empty();
        let sql = format!("select 1 from {t} where {other} for update");
        self.foreign("select for update", can_lock, sql);
    }

    fn inserting(&mut self) {
        let (t, rights) = (self.name(), self.rights);
        let can_return = rights.insert && rights.select;
        let newcomer = self.generator.row(self.table, &Owner::newcomer(t), 0);
        let plain = insert(t, &newcomer);
        // For a bound role the newcomer is a stranger, too.
        let promise = if self.is_bound {
            Promise::Refused("42501")
        } else {
            Promise::RowUnlessTaken
        };
        let returning = format!("{plain} returning *");
        self.add("insert", rights.insert, plain, promise.clone());
        self.add("insert returning", can_return, returning, promise);
        if !self.is_bound {
            return;
        }
        let there = self.generator.row(self.table, self.other, 0);
        let there = insert(t, &there);
        let denied = || Promise::Refused("42501");
        // Not 23505: whether the row exists is none of the caller's business.
        self.add(
            "insert what is there",
            rights.insert,
            there.clone(),
            denied(),
        );
        let nothing = format!("{there} on conflict do nothing");
        self.add(
            "upsert foreign, or nothing",
            rights.insert,
            nothing,
            denied(),
        );
        if let Some(column) = rights.update.first() {
            let key = self.table.primary_key.join(", ");
            let upsert = |row: &str| {
                format!("{row} on conflict ({key}) do update set {column} = excluded.{column}")
            };
            self.add("upsert foreign", can_return, upsert(&there), denied());
            if let Some(owner) = self.owner {
                let own = insert(t, &self.generator.row(self.table, owner, 0));
                self.add("upsert own", can_return, upsert(&own), Promise::Rows(1));
            }
        }
    }

    fn changing(&mut self) {
        let (t, rights) = (self.name(), self.rights);
        let column = rights.update.first().map_or("tenant_id", String::as_str);
        if !self.table.has_tenant && rights.update.is_empty() {
            return;
        }
        let (can, other) = (!rights.update.is_empty() && rights.select, self.of_other());
        let sql = format!("update {t} set {column} = {column}");
        let visible = Promise::Rows(self.visible);
        self.add("update", can, sql.clone(), visible.clone());
        self.add(
            "update returning",
            can,
            format!("{sql} returning *"),
            visible,
        );
        self.foreign("update foreign", can, format!("{sql} where {other}"));
        if self.table.has_tenant {
            let sql = format!("update {t} set tenant_id = '{}'", self.other.id);
            self.add("move to another tenant", false, sql, Promise::Rows(0));
        }
    }

    fn removing(&mut self) {
        let (t, rights) = (self.name(), self.rights);
        let can = rights.delete && rights.select;
        let visible = || Promise::RowsUnlessReferred(self.visible);
        let (plain, returning) = (visible(), visible());
        self.add("delete", rights.delete, format!("delete from {t}"), plain);
        let sql = format!("delete from {t} returning *");
        self.add("delete returning", can, sql, returning);
        let sql = format!("delete from {t} where {}", self.of_other());
        self.foreign("delete foreign", can, sql);
    }

    fn merging(&mut self) {
        let (t, rights) = (self.name(), self.rights);
        let from = |condition: &str| format!("merge into {t} using (select 1) as s on {condition}");
        let (all, foreign, none) = (from("true"), from(&self.of_other()), from("false"));
        // MERGE that reads no column is not filtered but refused at the first foreign row; nothing of ours uses it.
        let seen = if self.table.has_tenant {
            from(&format!("{t}.tenant_id is not null"))
        } else {
            all.clone()
        };
        if let Some(column) = rights.update.first() {
            let can = rights.select;
            let update = format!("when matched then update set {column} = {t}.{column}");
            let visible = Promise::Rows(self.visible);
            self.add("merge update", can, format!("{all} {update}"), visible);
            self.foreign("merge update foreign", can, format!("{foreign} {update}"));
        }
        let can = rights.delete && rights.select;
        let delete = "when matched then delete";
        let visible = Promise::RowsUnlessReferred(self.visible);
        self.add("merge delete", can, format!("{seen} {delete}"), visible);
        if self.is_bound && can {
            let sql = format!("{all} {delete}");
            self.add("merge delete unseen", can, sql, Promise::Refused("42501"));
        }
        self.foreign("merge delete foreign", can, format!("{foreign} {delete}"));
        if self.is_bound {
            let row = self.generator.row(self.table, &Owner::newcomer(t), 0);
            let values = insert("", &row).replacen("insert into  ", "insert ", 1);
            let sql = format!("{none} when not matched then {values}");
            self.add(
                "merge insert foreign",
                rights.insert,
                sql,
                Promise::Refused("42501"),
            );
        }
    }

    /// Nobody but the owner, in any context.
    fn structure(&mut self) {
        let t = self.name();
        let mut list = vec![
            ("truncate", format!("truncate {t} cascade")),
            (
                "disable",
                format!("alter table {t} disable row level security"),
            ),
            ("drop", format!("drop table {t}")),
        ];
        if self.table.has_tenant {
            list.push(("drop policy", format!("drop policy t on {t}")));
        }
        for (what, sql) in list {
            self.add(what, false, sql, Promise::Rows(0));
        }
    }
}

/// Runs a statement in a context. What the promise does not let change anything is committed, so that a broken promise shows in the digests.
pub async fn run(
    role: &mut PgConnection,
    context: &Context,
    attempt: &Attempt,
) -> Result<u64, String> {
    let sql = format!("begin{}; {}", context.set(), attempt.sql);
    let done = role.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
    let changes_nothing = matches!(attempt.promise, Promise::Rows(0) | Promise::Refused(_));
    let end = if changes_nothing {
        "commit"
    } else {
        "rollback"
    };
    role.execute(end).await.unwrap();
    done.map(|done| done.rows_affected())
        .map_err(|error| code(&error))
}

pub fn code(error: &sqlx::Error) -> String {
    match error.as_database_error().and_then(|error| error.code()) {
        Some(code) => code.into_owned(),
        None => error.to_string(),
    }
}

impl Promise {
    pub fn is_kept_by(&self, outcome: &Result<u64, String>) -> bool {
        match (self, outcome) {
            (Self::Rows(rows), Ok(done)) => rows == done,
            (Self::RowsUnlessReferred(rows), Ok(done)) => rows == done,
            (Self::RowsUnlessReferred(rows), Err(code)) => *rows > 0 && code == "23503",
            (Self::RowUnlessTaken, Ok(done)) => *done == 1,
            (Self::RowUnlessTaken, Err(code)) => code == "23505",
            (Self::Refused(code), Err(told)) => told == code,
            _ => false,
        }
    }
}

/// A row of `owner` whose reference `columns` are those of `foreign`'s parent.
pub fn with_reference(row: &Row, columns: &[String], parent: &Row, there: &[String]) -> Row {
    let mut row = row.clone();
    for (column, target) in columns.iter().zip(there) {
        if column == "tenant_id" {
            continue;
        }
        let value = parent.iter().find(|(name, _)| name == target).unwrap();
        row.retain(|(name, _)| name != column);
        row.push((column.clone(), value.1.clone()));
    }
    row
}
