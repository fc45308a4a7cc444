//! A queue that somebody purges or deletes while events sit in it: the outbox publishes them again on command.

use std::time::Duration;

use campaign::{Extent, Platform, Surroundings};
use db::{Outbox, Republish};
use kernel::Clock;
use serde_json::json;
use sqlx::AssertSqlSafe;
use stack::demo::Client;
use testkit::eventually;

use super::broker::RawBroker;

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

/// Makes every row of a table cost the consumer that writes it so much time, so that events sit in its queue, until [`hurry_up`].
async fn slow_down(platform: &Platform, table: &str, seconds: f32) {
    run(
        platform,
        format!(
            "create table public.pace (seconds real not null); insert into public.pace values ({seconds}); \
             create function public.slow() returns trigger language plpgsql as $$ \
               begin perform pg_sleep((select seconds from public.pace)); return new; end $$; \
             grant usage on schema public to public; grant select on public.pace to public; \
             grant execute on function public.slow() to public; \
             create trigger slow before insert on {table} for each row execute function public.slow()"
        ),
    )
    .await;
}

/// Without a lock on the table, for which a consumer would give up its attempt.
async fn hurry_up(platform: &Platform) {
    run(platform, "update public.pace set seconds = 0".to_owned()).await;
}

async fn run(platform: &Platform, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut platform.db.admin().await)
        .await
        .unwrap();
}

async fn count(platform: &Platform, what: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {what}")))
        .fetch_one(&mut platform.db.admin().await)
        .await
        .unwrap()
}

async fn create_records(client: &Client, count: usize) {
    let names: Vec<String> = (0..count).map(|n| format!("package-{n}")).collect();
    for names in names.chunks(4) {
        let created = names.iter().map(async |name| {
            let record = json!({"data": {"name": name, "section": "web"}});
            client.post(RECORDS, &record).await.unwrap();
        });
        futures::future::join_all(created).await;
    }
}

async fn everything_is_published(platform: &Platform) {
    eventually("the outbox is empty", async || {
        (count(platform, "niche.outbox").await == 0).then_some(())
    })
    .await;
}

/// What `niche republish --last 1h` does.
async fn republish(platform: &Platform) -> u64 {
    let outbox = Outbox::connect(&platform.db.config_of("niche")).unwrap();
    let since = Clock::system().now() - Duration::from_secs(3600);
    let wanted = Republish {
        since,
        ..Republish::default()
    };
    outbox.republish(&wanted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_queue_is_filled_again_and_everything_has_its_effect_once() {
    let extent = Extent::of_this_run();
    let records = extent.pick(80, 400);
    let mut surroundings = Surroundings::default();
    // Every entry in hand has its connection: none is put off because another one is slow.
    let connections = ("TENANT_DB_POOL_MAX".to_owned(), "20".to_owned());
    surroundings.settings.push(connections);
    let raw = RawBroker::connect(&surroundings.amqp).await;
    let platform = Platform::start_in(surroundings).await;
    let resident = platform.settle("Olga", "Casa Azul").await;
    let niche = json!({"kit": "software-catalog"});
    resident.client.post("/v1/niches", &niche).await.unwrap();
    slow_down(&platform, "tenant.audit_logs", 3.0).await;
    create_records(&resident.client, records).await;
    everything_is_published(&platform).await;
    let purged = raw.purge("tenant.audit").await;
    assert!(purged > 0, "events sat in the queue");
    hurry_up(&platform).await;

    let created = "tenant.audit_logs where action = 'records.create'";
    eventually("what was in hand is stored", async || {
        (raw.depth("tenant.audit").await == 0).then_some(())
    })
    .await;
    assert!(
        count(&platform, created).await < records as i64,
        "the purge took {purged} entries away"
    );
    let again = republish(&platform).await;
    extent.tell("events purged", purged);
    extent.tell("events published again", again);
    eventually("every entry is stored", async || {
        (count(&platform, created).await == records as i64).then_some(())
    })
    .await;
    everything_is_published(&platform).await;
    eventually("every event is dealt with", async || {
        let waiting = raw.depth("tenant.audit").await + raw.depth("search.records").await;
        (waiting == 0).then_some(())
    })
    .await;
    assert_eq!(count(&platform, created).await, records as i64, "once each");
    assert_eq!(count(&platform, "search.documents").await, records as i64);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_declared_and_filled_again() {
    let extent = Extent::of_this_run();
    let records = extent.pick(24, 200);
    let surroundings = Surroundings::default();
    let raw = RawBroker::connect(&surroundings.amqp).await;
    let platform = Platform::start_in(surroundings).await;
    let resident = platform.settle("Olga", "Casa Azul").await;
    let niche = json!({"kit": "software-catalog"});
    resident.client.post("/v1/niches", &niche).await.unwrap();
    slow_down(&platform, "search.documents", 1.0).await;
    create_records(&resident.client, records).await;
    everything_is_published(&platform).await;
    let lost = raw.delete("search.records").await;
    assert!(lost > 0, "events sat in the queue");
    hurry_up(&platform).await;
    let again = republish(&platform).await;
    extent.tell("events deleted with their queue", lost);
    extent.tell("events published again", again);
    eventually("every record is in the index", async || {
        (count(&platform, "search.documents").await == records as i64).then_some(())
    })
    .await;
    let found = resident
        .client
        .post(
            "/v1/search",
            &json!({"query": "package-7", "mode": "keyword"}),
        )
        .await
        .unwrap();
    assert!(!found["data"].as_array().unwrap().is_empty(), "{found}");
    platform.stop().await;
}
