//! Every table, as every runtime role, in every context: what the policy promises is what happens. Tables and rows come from the live catalogue, so that a
//! new table is covered without a new test, or the test says what it lacks.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use testkit::TestDb;

use campaign::Extent;

use super::attempts::{Attempt, Attempts, Context, Promise, Rights, code, run, with_reference};
use super::catalogue::{Table, tables};
use super::rows::{Generator, Owner, insert};
use super::{SERVICES, whole_database};

/// A database full of generated rows of two tenants.
pub struct Filled {
    pub database: TestDb,
    pub admin: PgConnection,
    pub tables: BTreeMap<String, Table>,
    pub a: Owner,
    pub b: Owner,
}

impl Filled {
    pub async fn new() -> Self {
        let database = whole_database().await;
        let mut admin = database.admin().await;
        let tables = tables(&mut admin).await;
        let (a, b) = (Owner::new("tenant a"), Owner::new("tenant b"));
        let mut generator = Generator::new(&tables);
        generator.fill(&mut admin, &[a.clone(), b.clone()]).await;
        let problems = generator.problems.join("\n");
        assert!(problems.is_empty(), "{problems}");
        Self {
            database,
            admin,
            tables,
            a,
            b,
        }
    }

    /// Rows and their digest, of every table.
    pub async fn digests(&mut self, whose: &str) -> BTreeMap<String, (i64, String)> {
        let mut digests = BTreeMap::new();
        for table in self.tables.values() {
            let filter = if table.has_tenant { whose } else { "true" };
            let sql = format!(
                "select count(*), md5(coalesce(string_agg(r, '|' order by r), '')) from (select t::text as r from {} t where {filter}) as rows",
                table.name
            );
            let digest = sqlx::query_as(AssertSqlSafe(sql))
                .fetch_one(&mut self.admin)
                .await
                .unwrap();
            digests.insert(table.name.clone(), digest);
        }
        digests
    }

    pub async fn count(&mut self, table: &str, condition: &str) -> u64 {
        let sql = format!("select count(*) from {table} where {condition}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut self.admin)
            .await
            .unwrap();
        u64::try_from(count).unwrap()
    }
}

/// The queue of events, which the relay reads and empties for all tenants.
fn is_relayed(table: &Table) -> bool {
    table.name.ends_with(".outbox") || table.name.ends_with(".outbox_published")
}

#[derive(Default)]
struct Tally {
    tables: usize,
    tries: usize,
    broken: Vec<String>,
}

impl Tally {
    fn judge(&mut self, whom: &str, attempt: &Attempt, outcome: &Result<u64, String>) {
        self.tries += 1;
        if !attempt.promise.is_kept_by(outcome) {
            self.broken.push(format!(
                "{whom}: {}: promised {:?}, came {outcome:?}: {}",
                attempt.what, attempt.promise, attempt.sql
            ));
        }
    }
}

#[tokio::test]
async fn every_table_keeps_its_promise_to_every_role_in_every_context() {
    let mut filled = Filled::new().await;
    let before = filled.digests("true").await;
    let empty: Vec<&String> = filled
        .tables
        .values()
        .filter(|table| !table.is_partition && before[&table.name].0 == 0)
        .map(|table| &table.name)
        .collect();
    assert!(empty.is_empty(), "no rows in {empty:?}");
    let mut tally = Tally::default();
    for (service, _) in SERVICES {
        for kind in ["app", "relay"] {
            let role = format!("{service}_{kind}");
            let mut session = filled.database.role(&role).await;
            // An unset setting reads as null only on a connection that never had one.
            let mut fresh = filled.database.role(&role).await;
            let names: Vec<String> = filled.tables.keys().cloned().collect();
            for name in names {
                try_table(
                    &mut filled,
                    &role,
                    [&mut session, &mut fresh],
                    &name,
                    &mut tally,
                )
                .await;
            }
        }
    }
    tally.tables = filled.tables.len();
    assert!(tally.broken.is_empty(), "{}", tally.broken.join("\n"));
    assert_eq!(filled.digests("true").await, before);
    let extent = Extent::of_this_run();
    extent.tell("database matrix: tables", tally.tables);
    extent.tell("database matrix: tries", tally.tries);
    assert!(tally.tables > 50 && tally.tries > 5_000);
}

async fn try_table(
    filled: &mut Filled,
    role: &str,
    [session, fresh]: [&mut PgConnection; 2],
    name: &str,
    tally: &mut Tally,
) {
    let rights = Rights::of(&mut filled.admin, role, name).await;
    let (a, b) = (filled.a.clone(), filled.b.clone());
    let mut contexts = vec![(Context::Of(a.clone()), &b, 0)];
    let (mut all, has_rights) = (0, rights.any());
    // Whoever has no rights at all is refused before any policy is asked, so one context says it.
    if has_rights {
        all = filled.count(name, "true").await;
        contexts[0].2 = count_of(filled, name, &a).await;
        let of_b = count_of(filled, name, &b).await;
        contexts.extend([
            (Context::Unset, &b, 0),
            (Context::Of(b.clone()), &a, of_b),
            (Context::Empty, &b, 0),
            (Context::Garbage, &a, 0),
            (Context::Nil, &b, 0),
        ]);
    }
    let table = &filled.tables[name];
    let is_bound = table.has_tenant && !(role.ends_with("_relay") && is_relayed(table));
    let generator = Generator::new(&filled.tables);
    for (context, other, own) in contexts {
        let visible = if is_bound { own } else { all };
        let attempts = Attempts::new(
            table, &rights, is_bound, visible, other, &context, &generator,
        );
        let connection = if matches!(context, Context::Unset) {
            &mut *fresh
        } else {
            &mut *session
        };
        let whom = format!("{role} in {context:?}");
        for attempt in attempts.all() {
            let outcome = run(connection, &context, &attempt).await;
            tally.judge(&whom, &attempt, &outcome);
        }
        copy(
            connection,
            &context,
            &whom,
            (table, &rights, is_bound, visible),
            tally,
        )
        .await;
    }
    if is_bound && rights.insert {
        let (context, attempts) = references(table, &generator, &b, &rights);
        for attempt in attempts {
            let outcome = run(session, &context, &attempt).await;
            tally.judge(role, &attempt, &outcome);
        }
    }
}

async fn count_of(filled: &mut Filled, name: &str, owner: &Owner) -> u64 {
    if filled.tables[name].has_tenant {
        let condition = format!("tenant_id = '{}'", owner.id);
        filled.count(name, &condition).await
    } else {
        0
    }
}

/// COPY knows no row level security when it writes, so PostgreSQL refuses it; when it reads, it reads like SELECT.
async fn copy(
    connection: &mut PgConnection,
    context: &Context,
    whom: &str,
    (table, rights, is_bound, visible): (&Table, &Rights, bool, u64),
    tally: &mut Tally,
) {
    let begin = format!("begin{}", context.set());
    let refusal = match context {
        _ if !rights.select => Some("42501"),
        Context::Unset | Context::Empty if is_bound => Some("42501"),
        Context::Garbage if is_bound => Some("22P02"),
        _ => None,
    };
    let out = Attempt {
        what: "copy to",
        sql: format!("copy (select * from {}) to stdout", table.name),
        promise: refusal.map_or(Promise::Rows(visible), Promise::Refused),
    };
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(begin.clone())))
        .await
        .unwrap();
    // The driver's function for COPY loses count of the server's messages when it is refused, so it serves only where it is not.
    let copied = match out.promise {
        Promise::Refused(_) => refused_copy(connection, &out.sql).await,
        _ => lines_copied(connection, &out.sql).await,
    };
    let copied = copied.map_err(|error| code(&error));
    connection.execute("rollback").await.unwrap();
    tally.judge(whom, &out, &copied);
    if rights.insert && !table.has_tenant {
        return;
    }
    let into = Attempt {
        what: "copy from",
        sql: format!("copy {} from stdin", table.name),
        promise: Promise::Refused(if rights.insert { "0A000" } else { "42501" }),
    };
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(begin)))
        .await
        .unwrap();
    let copied = refused_copy(connection, &into.sql).await;
    connection.execute("rollback").await.unwrap();
    tally.judge(whom, &into, &copied.map_err(|error| code(&error)));
}

/// Some refusals come only after the server has begun to copy, and the driver meets them with the next statement.
async fn refused_copy(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    let copied = connection.execute(sqlx::raw_sql(sql)).await;
    connection.execute("rollback").await?;
    Ok(copied?.rows_affected())
}

async fn lines_copied(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    let stream = connection.copy_out_raw(sql).await?;
    let chunks: Vec<_> = stream.try_collect().await?;
    let lines = chunks.iter().flatten().filter(|byte| **byte == b'\n');
    Ok(lines.count() as u64)
}

/// A newcomer's row is taken in the newcomer's context, and not when it refers to a row of somebody else.
fn references(
    table: &Table,
    generator: &Generator<'_>,
    foreign: &Owner,
    rights: &Rights,
) -> (Context, Vec<Attempt>) {
    let newcomer = Owner::newcomer(&table.name);
    let row = generator.row(table, &newcomer, 0);
    let context = Context::Of(newcomer);
    let plain = insert(&table.name, &row);
    let mut attempts = vec![Attempt {
        what: "insert own",
        sql: plain.clone(),
        promise: Promise::Rows(1),
    }];
    if rights.select {
        attempts.push(Attempt {
            what: "insert own returning",
            sql: format!("{plain} returning *"),
            promise: Promise::Rows(1),
        });
    }
    for key in &table.foreign_keys {
        let target = &generator.tables[&key.target];
        if !target.has_tenant || key.columns == ["tenant_id"] {
            continue;
        }
        let parent = generator.row(target, foreign, 0);
        let referring = with_reference(&row, &key.columns, &parent, &key.target_columns);
        // What both refer to may be everybody's, a person for example.
        if BTreeSet::from_iter(&referring) == BTreeSet::from_iter(&row) {
            continue;
        }
        attempts.push(Attempt {
            what: "refer to a foreign row",
            sql: insert(&table.name, &referring),
            promise: Promise::Refused("23503"),
        });
    }
    (context, attempts)
}

/// The subset of the gate that a process asks before it serves, on the schemas as they are; the rules have their mutants in the tests of `db`.
#[tokio::test]
async fn the_gate_passes_on_all_schemas_together() {
    whole_database().await.assert_gate_passes().await;
}

/// Takes one protection off one table at a time, and asks the gate: no table's protection can be lost unseen.
#[tokio::test]
async fn the_gate_reports_every_table_that_loses_a_protection() {
    let database = whole_database().await;
    let mut admin = database.admin().await;
    let tables = tables(&mut admin).await;
    let mut mutants = 0;
    for table in tables.values().filter(|table| table.has_tenant) {
        let (name, role) = (&table.name, format!("{}_app", table.schema));
        for (rule, mutation) in [
            (
                "R2",
                format!(
                    "alter table {name} drop constraint if exists {}_pkey cascade; alter table {name} alter tenant_id drop not null",
                    name.split('.').nth(1).unwrap()
                ),
            ),
            (
                "R3",
                format!("alter table {name} disable row level security"),
            ),
            (
                "R4",
                format!("alter table {name} no force row level security"),
            ),
            ("R5", format!("drop policy t on {name}")),
            ("R6", format!("alter policy t on {name} using (true)")),
            ("R6", format!("alter policy t on {name} with check (true)")),
            ("R16", format!("grant truncate on {name} to {role}")),
            (
                "R17",
                format!("grant update (tenant_id) on {name} to {role}"),
            ),
        ] {
            // Partitions inherit the column's constraint, which their parent has to lose.
            if rule == "R2" && (table.is_partition || name.starts_with("search.")) {
                continue;
            }
            let mut transaction = admin.begin().await.unwrap();
            transaction
                .execute(sqlx::raw_sql(AssertSqlSafe(mutation.clone())))
                .await
                .unwrap_or_else(|error| panic!("{mutation}: {error}"));
            let findings = db::gate::check(&mut transaction).await.unwrap();
            transaction.rollback().await.unwrap();
            assert!(
                findings.iter().any(|f| f.rule == rule && f.object == *name),
                "{mutation}: {findings:?}"
            );
            mutants += 1;
        }
    }
    Extent::of_this_run().tell("database gate: mutants of single tables", mutants);
    assert!(mutants > 200);
}
