//! Relay and consumer end in time, whatever happens to their connections at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use campaign::Extent;
use db::{AuditEntry, Db, Outbox};
use events::{Broker, Delivery, Ladder, Queue};
use kernel::{Clock, Error, Ids, RequestContext};
use runtime::{Shutdown, Tasks};
use testkit::{Proxy, TENANT_A, TestDb};

/// Half of what a process has for its end, and far more than the longest exchange that is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens to the connections around the stop.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Nothing,
    Cut,
    Silence,
    /// In the middle of a message.
    Severed(i64),
    CutAndBack,
    SilenceAndBack,
}

const MISHAPS: [Mishap; 8] = [
    Mishap::Nothing,
    Mishap::Cut,
    Mishap::Silence,
    Mishap::Severed(700),
    Mishap::Severed(9_000),
    Mishap::CutAndBack,
    Mishap::SilenceAndBack,
    Mishap::Severed(30),
];

impl Mishap {
    async fn happen(self, proxy: &Proxy) {
        match self {
            Self::Nothing => {}
            Self::Cut | Self::CutAndBack => proxy.cut(),
            Self::Silence | Self::SilenceAndBack => proxy.stall(),
            Self::Severed(bytes) => proxy.cut_after(bytes),
        }
    }
}

/// The numbers of a run, different for each and known when it fails.
fn dice(seed: u64, sides: u64) -> u64 {
    // SplitMix64: short, and good enough to spread moments.
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)) % sides
}

async fn emit(db: &Db, count: usize) {
    let ctx: RequestContext = testkit::context().tenant(TENANT_A).build();
    let mut tx = db.tenant(&ctx).await.unwrap();
    for n in 0..count {
        tx.audit(AuditEntry::new("records.create", "record", n))
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// One life of a relay and a consumer under traffic, ended at a random moment around a mishap. Answers how long the end took.
async fn life(database: &TestDb, db: &Db, round: u64) -> Duration {
    let clock = Clock::system();
    let mishap = MISHAPS[dice(round, MISHAPS.len() as u64) as usize];
    let proxy = Proxy::to_amqp().await;
    let broker = Broker::connect(testkit::amqp_through(&proxy), clock.clone()).unwrap();
    let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
    let outbox = Outbox::connect(&database.config()).unwrap();
    tasks.spawn(
        "relay",
        events::relay(outbox, broker.clone(), shutdown.clone()),
    );
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let ladder = Ladder::of([50, 100, 200].map(Duration::from_millis));
    let queue = Queue::new("tenant.stopping", ["audit.recorded"]).ladder(ladder);
    let handler = move |_: Delivery| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            // Half of them are on their way into a retry queue or among the dead letters at any moment.
            match n % 4 {
                0 => Err(Error::unavailable("test", "again")),
                1 => Err(Error::internal("never")),
                _ => Ok(()),
            }
        }
    };
    tasks.spawn(
        "consumer",
        events::consume(broker.clone(), queue, shutdown.clone(), handler),
    );
    emit(db, 200).await;
    // sleeps because the moment of the mishap is what is varied
    tokio::time::sleep(Duration::from_millis(dice(round + 1_000, 900))).await;
    mishap.happen(&proxy).await;
    // sleeps because so is the moment of the stop after it
    tokio::time::sleep(Duration::from_millis(dice(round + 2_000, 120))).await;
    let started = clock.instant();
    shutdown.begin();
    if matches!(mishap, Mishap::CutAndBack | Mishap::SilenceAndBack) {
        // sleeps because the way comes back while the end is under way
        tokio::time::sleep(Duration::from_millis(dice(round + 3_000, 400))).await;
        proxy.restore();
    }
    assert!(
        tasks.drain(PATIENCE).await,
        "round {round}, {mishap:?}: {:?} still live after {} events",
        tasks.alive(),
        seen.load(Ordering::SeqCst)
    );
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_and_consumer_end_in_time_whatever_their_connections_do() {
    let extent = Extent::of_this_run();
    let (lanes, rounds) = extent.pick((4, 2), (8, 40));
    let lanes = (0..lanes).map(async |lane: u64| {
        let database = TestDb::new("tenant", &tenant::MIGRATOR).await;
        let clock = Clock::system();
        let config = db::Config {
            // What is proved here is the broker's side; the machine may be busy.
            acquire_timeout: Duration::from_secs(20),
            ..database.config()
        };
        let db = Db::connect(&config, Ids::random(clock.clone()), clock)
            .await
            .unwrap();
        let mut longest = Duration::ZERO;
        for round in 0..rounds {
            longest = longest.max(life(&database, &db, lane * 1_000 + round).await);
        }
        longest
    });
    let longest = futures::future::join_all(lanes).await;
    let longest = longest.into_iter().max().unwrap_or_default();
    extent.tell("the longest end", format!("{} ms", longest.as_millis()));
}
