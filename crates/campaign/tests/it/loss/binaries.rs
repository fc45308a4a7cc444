//! What each binary weighs: its size, its memory when idle, and how long it takes to be ready.

use std::time::Duration;

use campaign::{Build, Extent, Fleet, FleetPlan};

/// Starts of each; the median is told.
const STARTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn every_binary_is_small_and_soon_ready() {
    let extent = Extent::of_this_run();
    let fleet = Fleet::start(FleetPlan {
        gateways: 1,
        build: extent.pick(Build::Faulty, Build::Shipped),
        ..Default::default()
    })
    .await;
    extent.tell(
        "binary",
        "MiB on disk | MiB in memory when idle | ms from its start to its readiness",
    );
    for name in fleet.names() {
        let mut starts = Vec::new();
        for _ in 0..extent.pick(1, STARTS) {
            assert!(fleet.terminate(&name).await.success(), "{name}");
            fleet.spawn(&name);
            starts.push(fleet.wait_ready(&name).await);
        }
        starts.sort();
        // sleeps because memory is to be looked at when the start is over
        tokio::time::sleep(Duration::from_millis(extent.pick(10, 2_000))).await;
        let bytes = std::fs::metadata(fleet.binary(&name)).unwrap().len();
        let memory = fleet.resident_bytes(&name);
        extent.tell(
            &name,
            format!(
                "{:.1} | {:.1} | {}",
                bytes as f64 / 1048576.0,
                memory as f64 / 1048576.0,
                starts[starts.len() / 2].as_millis()
            ),
        );
        assert!(memory < 300 << 20, "{name} takes {memory} bytes when idle");
    }
}
