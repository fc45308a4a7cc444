//! What a process has begun it finishes, even when it takes no more.

use std::time::Duration;

use campaign::load::{Call, Caller, Outcome, Tally};
use campaign::reckoning::House;
use campaign::{Fleet, FleetPlan};
use reqwest::StatusCode;
use serde_json::json;

/// Each transaction takes so long, and the command has two of them.
const SLOW: &str = "db::before_commit=sleep(1000)";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_answered_by_processes_that_end() {
    let fleet = Fleet::start(FleetPlan {
        gateways: 1,
        ..Default::default()
    })
    .await;
    let anybody = Caller::patient(&fleet.base_url, &Tally::default());
    let house = House::open(&fleet, "delta", &anybody).await;
    assert!(fleet.terminate("niche").await.success());
    fleet.spawn_with("niche", &[("FAILPOINTS", SLOW)]);
    fleet.wait_ready("niche").await;

    let path = "/v1/niches/software-catalog/packages/records";
    let wish = json!({"data": {"name": "under-way", "section": "web"}});
    let call = Call::post(path, wish).key("under-way");
    let ending = async {
        // sleeps because the request must have reached the service
        tokio::time::sleep(Duration::from_millis(800)).await;
        tokio::join!(
            fleet.terminate("gateway-1"),
            fleet.terminate("niche"),
            fleet.terminate("auth")
        )
    };
    let (outcome, (gateway, niche, auth)) = tokio::join!(house.caller.once(&call), ending);
    let Outcome::Known(status, body) = outcome else {
        panic!(
            "the request was lost: {outcome:?}\n{}",
            fleet.log("gateway-1")
        );
    };
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert!(gateway.success() && niche.success() && auth.success());
    assert_eq!(fleet.ended("gateway-1").await.code(), Some(0));
}
