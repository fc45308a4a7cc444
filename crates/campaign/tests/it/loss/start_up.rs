//! In whatever order the processes come.

use campaign::{Fleet, FleetPlan};

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_becomes_ready() {
    let fleet = Fleet::start(FleetPlan::default()).await;
    let admin = fleet.sign_in_as_admin().await;
    assert!(admin.status("/v1/tenants").await.unwrap().is_success());
    for name in fleet.names() {
        println!(
            "{name} {} {} MiB",
            fleet.pid(&name),
            fleet.resident_bytes(&name) >> 20
        );
    }
    for name in fleet.names() {
        let status = fleet.terminate(&name).await;
        assert!(status.success(), "{name}: {status}");
    }
}
