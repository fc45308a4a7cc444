//! A rolling restart under load: two replicas of each service and gateway, balancers that heed readiness, and callers for whom nothing may fail.

use std::time::Duration;

use campaign::load::{self, Caller, Ledger, RowsPerImport, Tally};
use campaign::reckoning::{self, House};
use campaign::{Extent, Fleet, FleetPlan};
use kernel::Clock;
use runtime::{Shutdown, Tasks};
use serde_json::json;

/// Several times the balancers' interval between two probes.
const DRAIN_DELAY_MS: u32 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_no_job_is_lost_while_processes_restart() {
    let extent = Extent::of_this_run();
    let plan = FleetPlan {
        replicas: 2,
        ..Default::default()
    };
    let plan = plan
        .with("TENANTRY_DRAIN_DELAY_MS", DRAIN_DELAY_MS)
        .with("AUTH_ACCESS_TTL_S", 3600);
    let fleet = Fleet::start(plan).await;
    let tally = Tally::default();
    let anybody = Caller::strict(&fleet.base_url, &tally);
    let houses = [House::open(&fleet, "gamma", &anybody).await];
    let (stop, tasks) = (Shutdown::new(), Tasks::new());
    let load = begin(&fleet, &houses[0], extent, (&stop, &tasks)).await;

    let clock = Clock::system();
    let began = clock.instant();
    let rounds = extent.pick(1, 20);
    let names = extent.pick(
        vec![
            "gateway-1".to_owned(),
            "niche".to_owned(),
            "niche-worker".to_owned(),
        ],
        fleet.names(),
    );
    for _ in 0..rounds {
        for name in &names {
            fleet.restart(name).await;
        }
    }
    let seconds = (clock.instant() - began).as_secs_f64();
    stop.begin();
    let mut ledger = Ledger::default();
    for caller in load {
        ledger.absorb(caller.await.unwrap());
    }
    extent.tell("processes restarted", rounds * names.len());
    extent.tell("requests", tally.sent());
    extent.tell("requests a second", (tally.sent() as f64 / seconds).round());
    extent.tell("requests that failed", tally.notes().len());
    extent.tell("changes acknowledged", ledger.acknowledged());
    extent.tell("imports", ledger.imports.len());
    let failed = tally.notes().join("\n");
    assert_eq!(failed, "", "requests failed");
    reckoning::close_open(&fleet, &houses, &mut ledger).await;
    let patience = Duration::from_secs(extent.pick(60, 900));
    reckoning::settle(&fleet, &houses, &ledger, patience).await;
}

async fn begin(
    fleet: &Fleet,
    house: &House,
    extent: Extent,
    (stop, tasks): (&Shutdown, &Tasks),
) -> Vec<tokio::task::JoinHandle<Ledger>> {
    let mut running = Vec::new();
    for number in 0..extent.pick(1, 2) {
        let (caller, label) = (house.caller.clone(), format!("{}-{number}", house.label));
        running.push(tasks.spawn("writer", load::keep_writing(caller, label, stop.clone())));
    }
    for _ in 0..extent.pick(2, 4) {
        let own = house.caller.with_own_connections();
        running.push(tasks.spawn("reader", load::keep_reading(own, stop.clone())));
    }
    let (caller, label) = (house.caller.clone(), format!("{}-import", house.label));
    running.push(tasks.spawn(
        "importer",
        load::keep_importing(caller.clone(), label, RowsPerImport(600), stop.clone()),
    ));
    let staff = fleet.sign_in_as_admin().await;
    let admin = caller.with_token(staff.token().unwrap());
    running.push(tasks.spawn(
        "staff",
        load::keep_creating_tenants(admin, "vila".to_owned(), stop.clone()),
    ));
    let login = json!({"email": "admin@example.com", "password": campaign::ADMIN_PASSWORD});
    let session = fleet.client().post("/v1/auth/login", &login).await.unwrap();
    let token = session["data"]["refreshToken"].as_str().unwrap().to_owned();
    running.push(tasks.spawn(
        "session",
        load::keep_refreshing(caller, token, stop.clone()),
    ));
    running
}
