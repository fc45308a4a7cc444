//! The catalogue gate reports every broken protection: each rule has a mutant, made in a transaction that is rolled back.

use std::collections::BTreeSet;

use db::Db;
use db::gate::{Finding, check};
use kernel::{Clock, Ids};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::probe::database;

/// Rule, what it must name, and the mutation.
const MUTANTS: &[(&str, &str, &str)] = &[
    (
        "R0",
        "probe.plans",
        "update app.gate_exceptions set expires_on = '2020-01-01' where object = 'probe.plans'",
    ),
    (
        "R1",
        "probe.plans",
        "delete from app.gate_exceptions where object = 'probe.plans'",
    ),
    (
        "R1",
        "public.stray",
        "create table public.stray (id int); grant select (id) on public.stray to probe_app",
    ),
    (
        "R2",
        "probe.inbox",
        "alter table probe.inbox drop constraint inbox_pkey; alter table probe.inbox alter tenant_id drop not null",
    ),
    (
        "R3",
        "probe.notes",
        "alter table probe.notes disable row level security",
    ),
    (
        "R4",
        "probe.notes",
        "alter table probe.notes no force row level security",
    ),
    (
        "R4",
        "probe.events_by_day_2026",
        "alter table probe.events_by_day_2026 no force row level security",
    ),
    ("R5", "probe.notes", "drop policy t on probe.notes"),
    (
        "R5",
        "probe.notes",
        "drop policy t on probe.notes; create policy t on probe.notes for select using (tenant_id = (select app.tid()))",
    ),
    (
        "R5",
        "probe.notes",
        "alter policy t on probe.notes to probe_relay",
    ),
    (
        "R6",
        "probe.notes",
        "create policy wide on probe.notes for select using (body = 'public')",
    ),
    (
        "R6",
        "probe.notes",
        "alter policy t on probe.notes with check (true)",
    ),
    (
        "R6",
        "probe.notes",
        "create policy relay on probe.notes to probe_relay using (true)",
    ),
    (
        "R6",
        "probe.outbox",
        "alter policy relay on probe.outbox to public",
    ),
    (
        "R6",
        "probe.outbox_published",
        "alter policy relay on probe.outbox_published to probe_app",
    ),
    (
        "R7",
        "probe.all_notes",
        "create view probe.all_notes as select * from probe.notes",
    ),
    (
        "R8",
        "probe.copied",
        "create materialized view probe.copied as select 1 as n; grant select on probe.copied to probe_app",
    ),
    (
        "R9",
        "probe.events_by_day_2026",
        "grant select on probe.events_by_day_2026 to probe_app",
    ),
    (
        "R10",
        "probe.comments",
        "alter table probe.notes add constraint bare unique (id); alter table probe.comments add foreign key (note_id) references probe.notes (id)",
    ),
    (
        "R11",
        "probe.notes_body",
        "create unique index notes_body on probe.notes (body)",
    ),
    (
        "R12",
        "probe.notes_created_at",
        "create index notes_created_at on probe.notes (created_at)",
    ),
    (
        "R13",
        "probe.tenants_with",
        "alter function probe.tenants_with(text) reset search_path",
    ),
    (
        "R13",
        "probe.tenants_with",
        "alter function probe.tenants_with(text) owner to current_user",
    ),
    (
        "R13",
        "probe.tenants_with",
        "grant execute on function probe.tenants_with(text) to public",
    ),
    ("R14", "probe_app", "alter role probe_app bypassrls"),
    ("R14", "probe_relay", "alter role probe_relay superuser"),
    (
        "R14",
        "probe_app",
        "alter table probe.plans owner to probe_app",
    ),
    ("R15", "probe_app", "grant probe_definer to probe_app"),
    ("R15", "probe_app", "grant probe_owner to probe_app"),
    (
        "R16",
        "probe.notes",
        "grant truncate on probe.notes to probe_app",
    ),
    (
        "R16",
        "probe.plans",
        "grant trigger on probe.plans to probe_app",
    ),
    (
        "R17",
        "probe.notes",
        "grant update on probe.notes to probe_app",
    ),
    (
        "R17",
        "probe.notes",
        "grant update (tenant_id) on probe.notes to probe_app",
    ),
    (
        "R18",
        "other.things",
        "create schema other; create table other.things (tenant_id uuid not null); grant select on other.things to probe_app",
    ),
    (
        "R8",
        "probe.copied",
        "create materialized view probe.copied as select 1 as n; grant select (n) on probe.copied to probe_app",
    ),
    (
        "R9",
        "probe.events_by_day_2026",
        "grant select (day) on probe.events_by_day_2026 to probe_app",
    ),
    (
        "R11",
        "probe.notes_body",
        "create unique index notes_body on probe.notes (body) include (tenant_id)",
    ),
    (
        "R11",
        "probe.slugs_pkey",
        "create table probe.slugs (slug text primary key, tenant_id uuid not null); select app.protect('probe.slugs')",
    ),
    (
        "R14",
        "probe_app",
        "grant create on schema probe to probe_app",
    ),
    (
        "R15",
        "probe_relay",
        "grant pg_read_all_data to probe_relay",
    ),
    (
        "R16",
        "probe.notes",
        "grant references (body) on probe.notes to probe_app",
    ),
    (
        "R18",
        "other.things",
        "create schema other; create table other.things (tenant_id uuid not null); grant select (tenant_id) on other.things to probe_app",
    ),
    (
        "R18",
        "other.peek",
        "create schema other; create function other.peek() returns int language sql as $$ select 1 $$",
    ),
];

#[tokio::test]
async fn a_migrated_database_passes() {
    let database = database().await;
    assert_eq!(check(&mut database.admin().await).await.unwrap(), []);
    // An owner may ask too, for a job that runs after migrating.
    assert_eq!(
        check(&mut database.role("probe_owner").await)
            .await
            .unwrap(),
        []
    );
}

/// One test for all, since roles belong to the whole server and their mutants must not run side by side.
#[tokio::test]
async fn every_mutant_is_reported() {
    let database = database().await;
    let mut admin = database.admin().await;
    let mut missed = Vec::new();
    for (rule, object, mutation) in MUTANTS {
        let mut transaction = admin.begin().await.unwrap();
        transaction
            .execute(sqlx::raw_sql(AssertSqlSafe((*mutation).to_owned())))
            .await
            .unwrap_or_else(|e| panic!("{mutation}: {e}"));
        let findings = check(&mut transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        let reported = |f: &Finding| f.rule == *rule && f.object == *object;
        if !findings.iter().any(reported) {
            missed.push(format!("{rule} {object}: {mutation} gave {findings:?}"));
        }
    }
    assert!(
        missed.is_empty(),
        "mutants that nobody noticed:\n{}",
        missed.join("\n")
    );
    for n in 1..=18 {
        assert!(
            MUTANTS.iter().any(|(rule, ..)| *rule == format!("R{n}")),
            "R{n} has no mutant"
        );
    }
    assert_eq!(
        check(&mut admin).await.unwrap(),
        [],
        "every mutation was rolled back"
    );
}

/// The rules that a process asks of its own tables before it serves.
const AT_START: [&str; 8] = ["R2", "R3", "R4", "R5", "R6", "R9", "R16", "R17"];

#[tokio::test]
async fn a_process_refuses_to_start_on_every_mutant_that_its_role_can_see() {
    let clock = Clock::system();
    let mut tried = BTreeSet::new();
    for (rule, object, mutation) in MUTANTS {
        // `plans` has no tenants, so nothing of it concerns row level security.
        if !AT_START.contains(rule) || *object == "probe.plans" {
            continue;
        }
        let database = database().await;
        database
            .admin()
            .await
            .execute(sqlx::raw_sql(AssertSqlSafe((*mutation).to_owned())))
            .await
            .unwrap();
        let started = Db::connect(
            &database.config(),
            Ids::random(clock.clone()),
            clock.clone(),
        )
        .await;
        let refusal = started.err().map(|error| error.chain()).unwrap_or_default();
        assert!(
            refusal.contains(&format!("{rule} {object}: ")) && refusal.contains("refusing to run"),
            "{rule} {mutation}: {refusal}"
        );
        tried.insert(*rule);
    }
    assert_eq!(tried, BTreeSet::from(AT_START));
}

#[tokio::test]
async fn an_exception_needs_a_reason() {
    let database = database().await;
    let mut owner = database.role("probe_owner").await;
    let refused = owner
        .execute("select app.except_from_gate('R1', 'probe.x', 'because', '2099-01-01')")
        .await
        .unwrap_err();
    assert_eq!(
        refused.as_database_error().unwrap().code().unwrap(),
        "23514"
    );
}

#[tokio::test]
async fn an_exception_names_an_index_or_its_whole_table_and_ends() {
    let database = database().await;
    let mut owner = database.role("probe_owner").await;
    owner
        .execute("create index notes_created_at on probe.notes (created_at)")
        .await
        .unwrap();
    for object in ["probe.notes_created_at", "probe.notes"] {
        let mut transaction = owner.begin().await.unwrap();
        let except = format!(
            "select app.except_from_gate('R12', '{object}', 'the sweep reads all tenants', '2099-01-01')"
        );
        transaction.execute(AssertSqlSafe(except)).await.unwrap();
        assert_eq!(check(&mut transaction).await.unwrap(), [], "{object}");
        transaction.rollback().await.unwrap();
    }
    let findings = check(&mut owner).await.unwrap();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].object, "probe.notes_created_at");
}
