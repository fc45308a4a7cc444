//! Signals at awkward moments.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use campaign::{Extent, Fleet, FleetPlan};
use kernel::{Clock, Ids};

/// What exit code a second signal leads to.
const IMPATIENT: i32 = 130;
/// SIGTERM, for who has not yet learnt to listen to it.
const TERM: i32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_during_the_start_ends_a_process_in_order() {
    let extent = Extent::of_this_run();
    let fleet = Fleet::prepare(FleetPlan {
        gateways: 1,
        ..Default::default()
    })
    .await;
    let ids = Ids::random(Clock::system());
    for _ in 0..extent.pick(1, 20) {
        for name in fleet.names() {
            fleet.spawn(&name);
            let millis = ids.next().as_u128() % 60;
            // sleeps because the signal is to come at any moment of the start
            tokio::time::sleep(Duration::from_millis(millis as u64)).await;
            let status = fleet.terminate(&name).await;
            assert!(
                status.success() || status.signal() == Some(TERM),
                "{name} after {millis} ms: {status}\n{}",
                fleet.log(&name)
            );
        }
    }
    // Whatever they had begun, they start again.
    for name in fleet.names() {
        fleet.spawn(&name);
    }
    for name in fleet.names() {
        fleet.wait_ready(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_process_at_once() {
    let fleet = Fleet::start(FleetPlan::default().with("TENANTRY_DRAIN_DELAY_MS", 20_000)).await;
    let clock = Clock::system();
    for name in fleet.names() {
        fleet.signal(&name, "TERM");
        testkit::eventually("it says that it drains", async || {
            (!fleet.is_ready(&name).await).then_some(())
        })
        .await;
        let since = clock.instant();
        let status = fleet.terminate(&name).await;
        assert_eq!(
            status.code(),
            Some(IMPATIENT),
            "{name}\n{}",
            fleet.log(&name)
        );
        assert!(clock.instant() - since < Duration::from_secs(5), "{name}");
    }
}
