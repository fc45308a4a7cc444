//! Servers of the proof's own that are really stopped, killed and emptied while somebody writes. In the campaign alone: a broker needs many
//! seconds for each start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use campaign::{Extent, Platform, PrivateServer, Surroundings};
use db::{Outbox, Republish};
use kernel::Clock;
use serde_json::json;
use sqlx::AssertSqlSafe;
use stack::demo::Client;

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
/// How long the broker is away.
const AWAY: Duration = Duration::from_secs(60);

/// Creates records one after the other until told to stop; every acknowledged one is counted, and a refusal ends the proof.
async fn write(
    client: Client,
    running: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    lane: usize,
) {
    let mut n = 0;
    while running.load(Ordering::SeqCst) {
        let record = json!({"data": {"name": format!("written-{lane}-{n}"), "section": "web"}});
        client.post(RECORDS, &record).await.unwrap();
        acknowledged.fetch_add(1, Ordering::SeqCst);
        n += 1;
        // sleeps because the proof is about what is lost, not about load
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// With one byte Redis refuses every write, with zero none (<https://redis.io/docs/latest/develop/reference/eviction/>).
async fn limit_memory(redis: &PrivateServer, bytes: &str) {
    let client = redis::Client::open(redis.url.as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut wish = redis::cmd("CONFIG");
    let wish = wish.arg("SET").arg("maxmemory").arg(bytes);
    let () = wish.query_async(&mut connection).await.unwrap();
}

async fn count(platform: &Platform, what: &str) -> usize {
    let sql = AssertSqlSafe(format!("select count(*) from {what}"));
    let rows: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut platform.db.admin().await)
        .await
        .unwrap();
    usize::try_from(rows).unwrap()
}

/// Waits until a count is reached, for as long as it grows; answers how long that took.
async fn reaches(platform: &Platform, what: &str, wanted: usize) -> Duration {
    let clock = Clock::system();
    let started = clock.instant();
    let (mut most, mut moved) = (0, started);
    loop {
        let there = count(platform, what).await;
        if there >= wanted {
            assert_eq!(there, wanted, "{what}: once each");
            return started.elapsed();
        }
        if there > most {
            (most, moved) = (there, clock.instant());
        }
        // The longest pause of a retry that an outage of a minute leads to.
        let patience = Duration::from_secs(90);
        assert!(moved.elapsed() < patience, "{what}: {there} of {wanted}");
        // sleeps because other processes catch up meanwhile
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What happens to the brokers, one after the other, while somebody writes.
async fn mishaps(platform: &Platform, rabbit: &mut PrivateServer, redis: &mut PrivateServer) {
    let pause = async || {
        // sleeps because writing goes on for a while between two mishaps
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    pause().await;
    limit_memory(redis, "1").await;
    pause().await;
    limit_memory(redis, "0").await;
    pause().await;
    redis.kill();
    pause().await;
    redis.start().await;
    pause().await;
    rabbit.kill();
    rabbit.start().await;
    pause().await;
    rabbit.fill_disk();
    // Longer than a connection lives that is not heard.
    for _ in 0..10 {
        pause().await;
    }
    let waiting = count(platform, "niche.outbox").await;
    assert!(waiting > 50, "the broker takes nothing, but {waiting} wait");
    rabbit.free_disk();
    pause().await;
    rabbit.stop();
    // sleeps because the broker is away for so long
    tokio::time::sleep(AWAY).await;
    rabbit.start().await;
    pause().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_and_caches_that_restart_lose_nothing_and_refuse_nobody() {
    let extent = Extent::of_this_run();
    if extent == Extent::Short {
        return;
    }
    let (mut rabbit, mut redis) = (
        PrivateServer::rabbitmq().await,
        PrivateServer::redis().await,
    );
    let mut surroundings = Surroundings::default();
    surroundings.amqp.url = rabbit.url.clone().into();
    surroundings.redis.url = redis.url.clone().into();
    surroundings.redis.timeout = Duration::from_millis(200);
    let platform = Platform::start_in(surroundings).await;
    let resident = platform.settle("Olga", "Casa Azul").await;
    let niche = json!({"kit": "software-catalog"});
    resident.client.post("/v1/niches", &niche).await.unwrap();

    let running = Arc::new(AtomicBool::new(true));
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writing = futures::future::join_all((0..4).map(|lane| {
        let client = resident.client.clone();
        write(
            client,
            Arc::clone(&running),
            Arc::clone(&acknowledged),
            lane,
        )
    }));
    let drill = async {
        mishaps(&platform, &mut rabbit, &mut redis).await;
        running.store(false, Ordering::SeqCst);
    };
    let (_, ()) = tokio::join!(writing, drill);
    let written = acknowledged.load(Ordering::SeqCst);
    extent.tell("records acknowledged during the drill", written);
    assert_eq!(count(&platform, "niche.records").await, written);
    let indexed = reaches(&platform, "search.documents", written).await;
    let audited = "tenant.audit_logs where action = 'records.create'";
    reaches(&platform, audited, written).await;
    extent.tell(
        "all of it indexed after",
        format!("{} ms", indexed.as_millis()),
    );

    // A broker that comes back without its disk: everything of the last hour is published again and has no second effect.
    rabbit.stop();
    rabbit.wipe();
    resident
        .client
        .post(RECORDS, &json!({"data": {"name": "without-a-broker"}}))
        .await
        .unwrap();
    rabbit.start().await;
    let again = republish(&platform).await;
    extent.tell("events published again to an empty broker", again);
    reaches(&platform, "search.documents", written + 1).await;
    reaches(&platform, audited, written + 1).await;
    platform.stop().await;
}

async fn republish(platform: &Platform) -> u64 {
    let mut events = 0;
    for service in ["auth", "tenant", "niche", "search"] {
        let outbox = Outbox::connect(&platform.db.config_of(service)).unwrap();
        let wanted = Republish {
            since: Clock::system().now() - Duration::from_secs(3600),
            ..Republish::default()
        };
        events += outbox.republish(&wanted).await.unwrap();
    }
    events
}
