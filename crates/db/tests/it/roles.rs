//! A process that could see through row level security does not start.

use std::time::Duration;

use db::{Config, Db};
use kernel::{Clock, Code, Ids};
use sqlx::{AssertSqlSafe, Executor as _};
use testkit::TestDb;

use crate::probe::{database, in_tenant};

async fn connect(config: &Config) -> kernel::Result<Db> {
    Db::connect(config, Ids::random(Clock::system()), Clock::system()).await
}

async fn refusal(database: &TestDb, url: String) -> String {
    let config = Config {
        url: url.into(),
        ..database.config()
    };
    let error = connect(&config).await.err().expect("the role is unfit");
    assert_eq!(error.code(), Code::Internal);
    error.chain()
}

#[tokio::test]
async fn superuser_and_owner_are_refused_and_the_message_says_what_to_do() {
    let database = database().await;
    let text = refusal(&database, database.admin_url()).await;
    assert!(
        text.contains("is superuser") && text.contains("connect as <service>_app"),
        "{text}"
    );
    let text = refusal(&database, database.url("probe_owner")).await;
    assert!(text.contains("owns tables"), "{text}");
    assert!(!text.contains("testkit"), "no password in {text}");
}

/// The relay reads every tenant's events by a policy of its own; as another role it would read everything else, too.
#[tokio::test]
async fn the_relays_role_is_examined_as_well() {
    let database = database().await;
    for (url, problem) in [
        (database.admin_url(), "is superuser"),
        (database.url("probe_owner"), "owns tables"),
    ] {
        let config = Config {
            relay_url: url.clone().into(),
            ..database.config()
        };
        let text = connect(&config).await.err().unwrap().chain();
        assert!(text.contains(problem), "{text}");
        // The examination at the start does not help when the role is changed later.
        let relay = db::Outbox::connect(&config).unwrap();
        let shutdown = runtime::Shutdown::new();
        let lead = relay.lead(&shutdown);
        let lead = tokio::time::timeout(Duration::from_millis(300), lead).await;
        assert!(lead.is_err(), "a relay leads although its role {problem}");
    }
}

/// Roles belong to the whole server, so this one has its own name and nothing else uses it.
#[tokio::test]
async fn a_member_of_a_bypassing_role_is_refused_also_when_it_becomes_one_later() {
    let database = database().await;
    let mut admin = database.admin().await;
    let name = format!("probe_member_{}", crate::probe::id().simple());
    let create = format!(
        "create role {name} login password 'testkit'; grant usage on schema probe, app to {name}; grant connect on database {} to {name}",
        database.name()
    );
    admin
        .execute(sqlx::raw_sql(AssertSqlSafe(create)))
        .await
        .unwrap();
    let config = Config {
        url: database.url(&name).into(),
        ..database.config()
    };
    let db = connect(&config).await.unwrap();
    // Between start and first request.
    admin
        .execute(AssertSqlSafe(format!("grant probe_definer to {name}")))
        .await
        .unwrap();
    let error = db
        .tenant(&in_tenant(testkit::TENANT_A))
        .await
        .err()
        .unwrap();
    assert!(
        error.chain().contains("BYPASSRLS through probe_definer"),
        "{}",
        error.chain()
    );
    let text = refusal(&database, database.url(&name)).await;
    assert!(
        text.contains("has BYPASSRLS through probe_definer"),
        "{text}"
    );
    // The roles of PostgreSQL itself own nothing and bypass nothing, and yet read all that is global, or run programs.
    let exchange = format!("revoke probe_definer from {name}; grant pg_read_all_data to {name}");
    admin
        .execute(sqlx::raw_sql(AssertSqlSafe(exchange)))
        .await
        .unwrap();
    let text = refusal(&database, database.url(&name)).await;
    assert!(
        text.contains("has the rights of pg_read_all_data"),
        "{text}"
    );
    db.close().await;
    let drop_role = format!(
        "revoke all on database {} from {name}; drop owned by {name}; drop role {name}",
        database.name()
    );
    admin
        .execute(sqlx::raw_sql(AssertSqlSafe(drop_role)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tenant_table_without_protection_stops_the_start() {
    let database = database().await;
    let mut owner = database.role("probe_owner").await;
    owner
        .execute("create table probe.careless (tenant_id uuid not null, id uuid primary key)")
        .await
        .unwrap();
    let config = database.config();
    let error = connect(&config).await.err().unwrap();
    assert!(
        error.chain().contains("probe.careless") && error.chain().contains("app.protect"),
        "{}",
        error.chain()
    );
    owner
        .execute("alter table probe.careless enable row level security")
        .await
        .unwrap();
    assert!(connect(&config).await.is_err(), "enabled is not forced");
    owner
        .execute("select app.protect('probe.careless')")
        .await
        .unwrap();
    connect(&config).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_no_reason_to_end() {
    let database = database().await;
    let config = Config {
        url: "postgres://probe_app:testkit@127.0.0.1:1/none"
            .to_owned()
            .into(),
        ..database.config()
    };
    let db = connect(&config).await.unwrap();
    let error = db.ping().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        db.tenant(&in_tenant(testkit::TENANT_A))
            .await
            .err()
            .unwrap()
            .code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn a_connection_string_that_cannot_be_read_is_told_without_being_repeated() {
    let database = database().await;
    let text = refusal(&database, "mysql://probe_app:geheim@host/none".to_owned()).await;
    assert!(
        text.contains("not a PostgreSQL connection string") && !text.contains("geheim"),
        "{text}"
    );
}
