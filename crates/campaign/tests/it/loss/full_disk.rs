//! PostgreSQL on a disk that is full for a while.

use std::time::Duration;

use campaign::load::{Call, Caller, Tally};
use campaign::{Extent, FleetPlan, PrivatePostgres};
use reqwest::StatusCode;

use super::database::recovered;
use super::scene::{Scene, plan};

const RECORDS: &str = "/v1/niches/software-catalog/packages/records";
/// How long callers work between two mishaps, and while the disk is full.
const WORK: Duration = Duration::from_secs(2);
/// So many refusals show that the disk is full for several callers.
const REFUSALS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let extent = Extent::of_this_run();
    let server = PrivatePostgres::start_on_a_disk_that_fills();
    let on_it = FleetPlan {
        database: Some(server.url.clone()),
        ..plan()
    };
    let scene = Scene::open(on_it, extent).await;
    let anybody = Caller::patient(&scene.fleet.base_url, &scene.tally);
    let owner = &scene.houses[0].caller;
    for _ in 0..extent.pick(1, 10) {
        // sleeps because callers are to be in the middle of their work
        tokio::time::sleep(WORK).await;
        server.fill_disk();
        refused(&scene.tally).await;
        for _ in 0..extent.pick(2, 20) {
            let (status, body) = owner.known(&Call::get(format!("{RECORDS}?limit=25"))).await;
            assert_eq!(status, StatusCode::OK, "reads need no room: {body}");
        }
        if extent == Extent::Long {
            // sleeps because workers, too, are to meet the full disk
            tokio::time::sleep(WORK).await;
        }
        server.free_disk();
        recovered(&anybody, extent, "after the disk was full").await;
    }
    match extent {
        Extent::Short => scene.end().await,
        Extent::Long => scene.reckon(Duration::from_secs(600)).await,
    }
}

/// Waits until so many calls were refused: the first ones still find room in the pages that a table has.
async fn refused(tally: &Tally) {
    let before = tally.unknown();
    testkit::eventually("callers are refused", async || {
        (tally.unknown() >= before + REFUSALS).then_some(())
    })
    .await;
}
