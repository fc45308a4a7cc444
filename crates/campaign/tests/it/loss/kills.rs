//! `kill -9`, again and again, at named points and at any moment, while callers write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campaign::load::{self, Caller, Ledger, RowsPerImport, Tally};
use campaign::{Extent, Fleet, FleetPlan};
use kernel::{Clock, Ids};
use runtime::{Shutdown, Tasks};
use serde_json::json;

use super::points;
use super::reckoning::{self, House};

/// How long a process may take until it comes to its point; then it is killed wherever it is.
const POINT_PATIENCE: Duration = Duration::from_secs(15);
/// Deaths at the same time.
const KILLERS: usize = 2;

/// How often each process died, and where.
#[derive(Default)]
struct Deaths(Mutex<BTreeMap<String, BTreeMap<&'static str, u32>>>);

impl Deaths {
    fn note(&self, name: &str, place: &'static str) {
        let mut deaths = self.0.lock().unwrap();
        *deaths
            .entry(name.to_owned())
            .or_default()
            .entry(place)
            .or_default() += 1;
    }

    fn total(&self) -> u32 {
        let deaths = self.0.lock().unwrap();
        deaths.values().flat_map(BTreeMap::values).sum()
    }

    fn tell(&self, extent: Extent) {
        for (name, places) in &*self.0.lock().unwrap() {
            let sum: u32 = places.values().sum();
            extent.tell(&format!("  {name}, {sum} times"), format!("{places:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_whoever_was_killed() {
    let extent = Extent::of_this_run();
    let fleet = Fleet::start(FleetPlan::default().with("AUTH_ACCESS_TTL_S", 3600)).await;
    let tally = Tally::default();
    let houses = houses(&fleet, &tally).await;
    let (stop, tasks) = (Shutdown::new(), Tasks::new());
    let load = begin(&fleet, &houses, extent, (&stop, &tasks)).await;

    let deaths = Arc::new(Deaths::default());
    let killing = (0..KILLERS).map(|number| kill_in_turn(&fleet, number, extent, &deaths));
    futures::future::join_all(killing).await;

    stop.begin();
    let mut ledger = Ledger::default();
    for caller in load {
        ledger.absorb(caller.await.unwrap());
    }
    let open = reckoning::close_open(&fleet, &houses, &mut ledger).await;
    extent.tell("processes killed", deaths.total());
    deaths.tell(extent);
    extent.tell("requests", tally.sent());
    extent.tell("of unknown outcome", tally.unknown());
    extent.tell("left open and repeated at the end", open);
    extent.tell("changes acknowledged", ledger.acknowledged());
    extent.tell("imports", ledger.imports.len());
    let waited = Clock::system();
    let since = waited.instant();
    let patience = Duration::from_secs(extent.pick(90, 900));
    reckoning::settle(&fleet, &houses, &ledger, patience).await;
    extent.tell(
        "seconds until all was at rest",
        (waited.instant() - since).as_secs(),
    );
    assert_eq!(*tally.notes(), Vec::<String>::new(), "answered 500");
}

/// Two customers, each with the niche.
async fn houses(fleet: &Fleet, tally: &Tally) -> Vec<House> {
    let mut houses = Vec::new();
    for label in ["alpha", "beta"] {
        let resident = fleet.settle(label, "house").await;
        let wanted = json!({"kit": "software-catalog"});
        resident.client.post("/v1/niches", &wanted).await.unwrap();
        let token = resident.client.token().unwrap().to_owned();
        houses.push(House {
            label: label.to_owned(),
            tenant_id: resident.tenant_id,
            caller: Caller::patient(&fleet.base_url, tally).with_token(&token),
        });
    }
    houses
}

type Running = Vec<tokio::task::JoinHandle<Ledger>>;

async fn begin(
    fleet: &Fleet,
    houses: &[House],
    extent: Extent,
    (stop, tasks): (&Shutdown, &Tasks),
) -> Running {
    let mut running = Vec::new();
    let rows = RowsPerImport(extent.pick(1_200, 2_400));
    for house in houses {
        let (caller, label) = (house.caller.clone(), house.label.clone());
        running.push(tasks.spawn(
            "writer",
            load::keep_writing(caller.clone(), label.clone(), stop.clone()),
        ));
        running.push(tasks.spawn(
            "importer",
            load::keep_importing(caller, label, rows, stop.clone()),
        ));
    }
    let staff = fleet.sign_in_as_admin().await;
    let anybody = houses[0].caller.clone();
    let admin = anybody.with_token(staff.token().unwrap());
    running.push(tasks.spawn(
        "staff",
        load::keep_creating_tenants(admin, "casa".to_owned(), stop.clone()),
    ));
    let login = json!({"email": "admin@example.com", "password": campaign::ADMIN_PASSWORD});
    let session = fleet.client().post("/v1/auth/login", &login).await.unwrap();
    let token = session["data"]["refreshToken"].as_str().unwrap().to_owned();
    running.push(tasks.spawn(
        "session",
        load::keep_refreshing(anybody, token, stop.clone()),
    ));
    running
}

/// Kills every `KILLERS`-th process in turn: once at a random moment, and once where its next life comes to one of its points.
async fn kill_in_turn(fleet: &Fleet, number: usize, extent: Extent, deaths: &Deaths) {
    let names = fleet.names();
    let own: Vec<&String> = names.iter().skip(number).step_by(KILLERS).collect();
    let ids = Ids::random(Clock::system());
    // In the short form few die: those in whose hands a change is lost most easily.
    let short = ["niche", "niche-worker", "tenant-worker"];
    let victims: Vec<&String> = match extent {
        Extent::Short => own
            .into_iter()
            .filter(|name| short.contains(&name.as_str()))
            .collect(),
        Extent::Long => own.iter().cycle().take(own.len() * 10).copied().collect(),
    };
    for (turn, name) in victims.into_iter().enumerate() {
        let random = ids.next().as_u128() as usize;
        // sleeps because the moment of death is to be any moment
        tokio::time::sleep(Duration::from_millis((random % 400) as u64)).await;
        fleet.kill(name).await;
        deaths.note(name, "any moment");
        let points = points::of(name);
        let point = points[(turn / 5 + random % 2) % points.len()];
        let at = format!("{point}={}", 1 + random % 3);
        fleet.spawn_with(name, &[("TENANTRY_KILL_AT", &at)]);
        let died = tokio::time::timeout(POINT_PATIENCE, fleet.ended(name)).await;
        match died {
            Ok(_) => deaths.note(name, point),
            Err(_) => {
                fleet.kill(name).await;
                deaths.note(name, "any moment");
            }
        }
        fleet.spawn(name);
        fleet.wait_ready(name).await;
    }
}
