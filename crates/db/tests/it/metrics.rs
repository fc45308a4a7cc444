//! What the layer tells about its speed, and what it must not tell.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::{Config, Db};
use kernel::{Clock, Ids, RequestContext};
use runtime::telemetry::{Format, Sink, subscriber};
use testkit::TENANT_A;

use crate::probe::{database, note};

const METHOD: &str = "/tenantry.probe.v1.NoteService/CreateNote";

/// The value of the first line of the Prometheus text that has all of these parts.
fn value(text: &str, parts: &[&str]) -> Option<f64> {
    text.lines()
        .find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

/// One test, because the provider of the metrics belongs to the whole process.
#[tokio::test]
async fn reads_and_transactions_are_measured_and_slow_ones_are_named_without_their_sql() {
    let metrics = runtime::Metrics::new("probe");
    metrics.install_globally();
    let database = database().await;
    let config = Config {
        slow_after: Duration::from_millis(40),
        pool_max: 2,
        ..database.config()
    };
    let clock = Clock::system();
    let db = Db::connect(&config, Ids::random(clock.clone()), clock)
        .await
        .unwrap();
    let written = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&written);
    let sink: Sink = Arc::new(move |line: &[u8]| keep.lock().unwrap().extend_from_slice(line));
    let guard = tracing::subscriber::set_default(subscriber("probe", Format::Json, "info", sink));

    let ctx = testkit::context()
        .user(testkit::ANN)
        .tenant(TENANT_A)
        .with(|b| b.method(METHOD))
        .build();
    note(&db, TENANT_A, "swift").await;
    let logged = || String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(logged(), "", "nothing slow has happened");

    let mut tx = db.tenant(&ctx).await.unwrap();
    sqlx::query("select pg_sleep(0.06), $1 as secret_column")
        .bind("jane.doe@example.com")
        .execute(tx.conn())
        .await
        .unwrap();
    drop(tx);
    let line = line!() + 1;
    let read = db.read(
        &ctx,
        "select 1 as secret_column from pg_sleep(0.06) where $1 <> ''",
    );
    read.bind("jane.doe@example.com")
        .all::<(i32,)>()
        .await
        .unwrap();
    drop(guard);

    let logged = logged();
    let lines: Vec<serde_json::Value> = logged
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{logged}");
    assert!(
        logged.contains(METHOD) && logged.contains(&format!("{}:{line}:", file!())),
        "{logged}"
    );
    for secret in ["jane", "secret_column", "pg_sleep", "select"] {
        assert!(!logged.contains(secret), "{secret} in {logged}");
    }

    figures_of_the_pool(&metrics, &db, &ctx).await;
}

async fn figures_of_the_pool(metrics: &runtime::Metrics, db: &Db, ctx: &RequestContext) {
    let mut held = vec![db.tenant(ctx).await.unwrap()];
    held.push(db.tenant(ctx).await.unwrap());
    let text = metrics.render();
    let of = |parts: &[&str]| value(&text, parts).unwrap_or_else(|| panic!("{parts:?}\n{text}"));
    for operation in ["read", "transaction", "commit"] {
        let label = format!("db_operation_name=\"{operation}\"");
        let series = "db_client_operation_duration_seconds_count{";
        assert!(of(&[series, &label, "db_namespace=\"probe\""]) >= 1.0);
    }
    for operation in ["read", "transaction"] {
        let label = format!("db_operation_name=\"{operation}\"");
        assert!(of(&["db_client_operation_slow_total{", &label]) >= 1.0);
    }
    assert!(of(&["db_client_connection_wait_time_seconds_count{"]) >= 5.0);
    assert!(of(&["db_client_connection_count{", "state=\"used\""]) >= 2.0);
    assert!(of(&["db_client_connection_max{"]) >= 2.0);
    drop(held);
    testkit::eventually("both connections wait again", async || {
        let idle = value(
            &metrics.render(),
            &["db_client_connection_count{", "state=\"idle\""],
        );
        idle.is_some_and(|idle| idle >= 2.0).then_some(())
    })
    .await;
}
