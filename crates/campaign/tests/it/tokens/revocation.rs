//! How long an access token outlives its revocation, at two gateways that are processes of their own.

use std::sync::Arc;
use std::time::Duration;

use campaign::{Extent, FleetPlan};
use futures::future::join_all;
use reqwest::StatusCode;
use testkit::Proxy;

use super::town::Town;

/// What a revocation may take at worst, whatever is out of order.
const WORST: Duration = Duration::from_secs(5);
/// What 99 of 100 may take when nothing is.
const USUAL: Duration = Duration::from_secs(1);
/// The time from a silence to the request that asks again, and back.
const SLACK: Duration = Duration::from_secs(1);

fn tell(extent: Extent, what: &str, sorted: &[Duration]) -> Duration {
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
    extent.tell(
        what,
        format!(
            "{} samples: p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}",
            sorted.len()
        ),
    );
    p99
}

/// SECURITY A-8: each kind of revocation reaches both gateways, with Redis and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_is_refused_by_every_gateway() {
    let extent = Extent::of_this_run();
    let redis = Arc::new(Proxy::to_redis().await);
    let plan = FleetPlan {
        redis: Some(Arc::clone(&redis)),
        ..FleetPlan::default()
    };
    let mut town = Town::open(plan).await;
    let latencies = town.rounds(extent.pick(5, 200)).await;
    let p99 = tell(extent, "revocation at two gateways", &latencies);
    assert!(
        latencies.iter().all(|latency| *latency <= WORST),
        "{latencies:?}"
    );
    if extent == Extent::Long {
        assert!(p99 <= USUAL, "p99 is {p99:?}");
    }
    redis.cut();
    let latencies = town.rounds(extent.pick(2, 100)).await;
    tell(extent, "the same without Redis", &latencies);
    assert!(
        latencies.iter().all(|latency| *latency <= WORST),
        "{latencies:?}"
    );
}

/// Auth hangs or is gone: after five seconds nobody is let in, and nobody is told that the credential is bad.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_auth_nobody_is_let_in_for_long() {
    let extent = Extent::of_this_run();
    let mut town = Town::open(FleetPlan::default()).await;
    for outage in 0..extent.pick(1, 6) {
        let token = town.open_session().await;
        for gateway in ["gateway-1", "gateway-2"] {
            town.admitted(gateway, &token).await;
        }
        let is_gone = outage % 2 == 1;
        if is_gone {
            town.fleet.kill("auth").await;
        } else {
            town.fleet.signal("auth", "STOP");
        }
        let span = WORST + Duration::from_secs(4);
        let watch = async |gateway: &str| town.last_admission(gateway, &token, span).await;
        let seen = join_all(["gateway-1", "gateway-2"].map(watch)).await;
        for (last, refusals) in &seen {
            extent.tell("last admission without auth", format!("{last:.1?}"));
            assert!(*last <= WORST + SLACK, "a token was let in after {last:?}");
            assert!(!refusals.is_empty(), "the gateway refuses");
            assert!(
                refusals
                    .iter()
                    .all(|status| *status == StatusCode::SERVICE_UNAVAILABLE),
                "{refusals:?}"
            );
        }
        if is_gone {
            town.fleet.spawn("auth");
        } else {
            town.fleet.signal("auth", "CONT");
        }
        town.fleet.wait_ready("auth").await;
        for gateway in ["gateway-1", "gateway-2"] {
            town.admitted(gateway, &token).await;
        }
    }
}
