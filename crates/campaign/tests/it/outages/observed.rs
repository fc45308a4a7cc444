//! What an operator sees of queues: the metrics of real processes, event ids in their logs, and the command that publishes again.

use campaign::{Fleet, FleetPlan};
use serde_json::{Value, json};
use testkit::{Proxy, eventually};

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

/// The sum of a metric over its labels, as far as they contain `label`.
fn sum(page: &str, name: &str, label: &str) -> Option<f64> {
    let mut found = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        if series.split('{').next() == Some(name) && series.contains(label) {
            *found.get_or_insert(0.0) += value.parse::<f64>().unwrap_or(0.0);
        }
    }
    found
}

async fn metrics(fleet: &Fleet, process: &str) -> String {
    let url = format!("{}/metrics", fleet.admin_url(process));
    let client = reqwest::Client::builder().build().unwrap();
    client.get(url).send().await.unwrap().text().await.unwrap()
}

/// Waits until a metric of a process satisfies `wanted`.
async fn shows(
    fleet: &Fleet,
    process: &str,
    (name, label): (&str, &str),
    wanted: impl Fn(f64) -> bool,
) {
    eventually(&format!("{process} shows {name} {label}"), async || {
        let page = metrics(fleet, process).await;
        sum(&page, name, label).filter(|value| wanted(*value))
    })
    .await;
}

/// Through a collector that takes connections and never answers: nothing may wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn queues_are_measured_logged_by_event_and_published_again_by_command() {
    let silent = Proxy::to_amqp().await;
    silent.stall();
    let plan = FleetPlan {
        gateways: 1,
        ..FleetPlan::default()
    };
    let plan = plan
        .with(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            silent.url_of("http://127.0.0.1:4317"),
        )
        .with("TENANTRY_TRACE_RATIO", "1");
    let fleet = Fleet::start(plan).await;
    let resident = fleet.settle("Olga", "Casa Azul").await;
    let niche = json!({"kit": "software-catalog"});
    resident.client.post("/v1/niches", &niche).await.unwrap();
    let record = json!({"data": {"name": "redis", "section": "web"}});
    let record = resident.client.post(RECORDS, &record).await.unwrap();
    let record = record["data"]["id"].as_str().unwrap();

    figures_are_shown(&fleet).await;
    let event = event_about(&fleet, record).await;
    published_again_it_has_one_effect(&fleet).await;

    // A line about an event names it: here of one that the index cannot take.
    sqlx::raw_sql("alter table search.documents add constraint no_mpv check (title <> 'mpv')")
        .execute(&mut fleet.db.admin().await)
        .await
        .unwrap();
    let refused = json!({"data": {"name": "mpv", "section": "video"}});
    let refused = resident.client.post(RECORDS, &refused).await.unwrap();
    let refused = refused["data"]["id"].as_str().unwrap();
    shows(
        &fleet,
        "search-worker",
        ("events_consumed_total", "result=\"dead\""),
        |n| n >= 1.0,
    )
    .await;
    let refused = event_about(&fleet, refused).await;
    assert!(fleet.log("search-worker").contains(&refused), "{refused}");
    assert_ne!(event, refused);
}

async fn figures_are_shown(fleet: &Fleet) {
    let source = "source=\"niche\"";
    shows(fleet, "niche", ("events_published_total", source), |n| {
        n >= 2.0
    })
    .await;
    shows(fleet, "niche", ("events_outbox_backlog", source), |n| {
        n >= 0.0
    })
    .await;
    shows(fleet, "niche", ("events_outbox_lag_seconds", source), |n| {
        n >= 0.0
    })
    .await;
    for (process, queue) in [
        ("search-worker", "queue=\"search.records\""),
        ("search-worker", "queue=\"search.embeddings\""),
        ("tenant-worker", "queue=\"tenant.audit\""),
    ] {
        let seen = |n: f64| n >= 1.0;
        shows(fleet, process, ("events_consumed_total", queue), seen).await;
        shows(
            fleet,
            process,
            ("events_queue_duration_seconds_count", queue),
            seen,
        )
        .await;
        shows(
            fleet,
            process,
            ("events_handler_duration_seconds_count", queue),
            seen,
        )
        .await;
        shows(fleet, process, ("events_dead_letters", queue), |n| n == 0.0).await;
        shows(fleet, process, ("events_queue_depth", queue), |n| n >= 0.0).await;
    }
    let page = metrics(fleet, "search-worker").await;
    assert!(
        sum(&page, "events_consumed_total", "result=\"done\"") >= Some(1.0),
        "{page}"
    );
}

async fn published_again_it_has_one_effect(fleet: &Fleet) {
    let page = metrics(fleet, "search-worker").await;
    let consumed = sum(&page, "events_consumed_total", "search.records").unwrap();
    let command = tokio::process::Command::new(fleet.binary("niche"))
        .args(["republish", "--last", "1h", "--type", "record.created"])
        .envs(fleet.settings("niche"))
        .env("TENANTRY_ADMIN_ADDRESS", "")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&command.stdout).into_owned();
    assert!(command.status.success(), "{said}");
    assert!(
        said.contains("\"events\":1") || said.contains("\"events\":\"1\""),
        "{said}"
    );
    let twice = move |n: f64| n >= consumed + 1.0;
    shows(
        fleet,
        "search-worker",
        ("events_consumed_total", "search.records"),
        twice,
    )
    .await;
    let documents: i64 = sqlx::query_scalar("select count(*) from search.documents")
        .fetch_one(&mut fleet.db.admin().await)
        .await
        .unwrap();
    assert_eq!(documents, 1, "the event came twice and had one effect");
}

/// The id of the event that told of a record.
async fn event_about(fleet: &Fleet, record: &str) -> String {
    let sql = "select envelope from niche.outbox_published where subject = $1 and type = 'record.created'";
    let envelope: Value = sqlx::query_scalar(sql)
        .bind(record)
        .fetch_one(&mut fleet.db.admin().await)
        .await
        .unwrap();
    envelope["id"].as_str().unwrap().to_owned()
}
