//! How fast an outbox that has grown during an outage drains.

use std::time::Duration;

use campaign::Extent;
use db::{AuditEntry, Db, Outbox};
use events::Broker;
use kernel::{Clock, Ids};
use testkit::{TENANT_A, TestDb};

/// What SECURITY.md 2.11 asks of the time after an outage of the broker.
const EVENTS_PER_SECOND: f64 = 1_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_has_grown_drains_fast() {
    let extent = Extent::of_this_run();
    let (transactions, events) = extent.pick((4, 250), (40, 500));
    let clock = Clock::system();
    let database = TestDb::new("tenant", &tenant::MIGRATOR).await;
    let config = db::Config {
        // What is proved here is the broker's side; the machine may be busy.
        acquire_timeout: Duration::from_secs(20),
        ..database.config()
    };
    let db = Db::connect(&config, Ids::random(clock.clone()), clock.clone())
        .await
        .unwrap();
    for _ in 0..transactions {
        let ctx = testkit::context().tenant(TENANT_A).build();
        let mut tx = db.tenant(&ctx).await.unwrap();
        for n in 0..events {
            tx.audit(AuditEntry::new("records.create", "record", n))
                .unwrap();
        }
        tx.commit().await.unwrap();
    }
    let broker = Broker::connect(testkit::amqp(), clock.clone()).unwrap();
    events::declare(&broker, &tenant::events_used::audit_queue())
        .await
        .unwrap();
    let outbox = Outbox::connect(&config).unwrap();
    let started = clock.instant();
    let published = events::flush(&outbox, &broker).await.unwrap();
    let rate = published as f64 / started.elapsed().as_secs_f64();
    assert_eq!(published, transactions * events);
    extent.tell("events published a second", format!("{rate:.0}"));
    if extent == Extent::Long {
        assert!(rate >= EVENTS_PER_SECOND, "{rate:.0} events a second");
    }
}
