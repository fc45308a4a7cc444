//! `kill -9`, again and again, at named points and at any moment, while callers write.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campaign::load::{self, Caller, Ledger, RowsPerImport, Tally};
use campaign::reckoning::{self, House};
use campaign::{Extent, Fleet, FleetPlan};
use kernel::{Clock, Ids};
use runtime::{Shutdown, Tasks};
use serde_json::json;

use super::points;

/// How long a process may take until it comes to its point; then it is killed wherever it is.
const POINT_PATIENCE: Duration = Duration::from_secs(15);
/// SIGKILL.
const KILL: i32 = 9;
/// How often each process dies twice in the long form.
const ROUNDS: usize = 10;
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
    let fleet = Fleet::start(plan()).await;
    let tally = Tally::default();
    let anybody = Caller::patient(&fleet.base_url, &tally);
    let houses = [
        House::open(&fleet, "alpha", &anybody).await,
        House::open(&fleet, "beta", &anybody).await,
    ];
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

/// A process, and where its next life is to end; anywhere, when it has no point.
type Death = (String, Option<&'static str>, usize);

/// In the short form those die in whose hands a change is lost most easily, once at each place where that can happen.
fn short_schedule(number: usize) -> Vec<Death> {
    let niche = [
        "db::before_commit",
        "db::after_commit",
        "relay.before_publish",
        "relay.before_confirm",
        "relay.before_delete",
    ];
    let worker = ["db::before_commit", "consumer.before_ack"];
    match number {
        0 => niche
            .map(|point| ("niche".to_owned(), Some(point), 1))
            .into(),
        1 => std::iter::once(("niche-worker".to_owned(), Some("import.between_batches"), 1))
            .chain(worker.map(|point| ("tenant-worker".to_owned(), Some(point), 1)))
            .collect(),
        _ => Vec::new(),
    }
}

/// In the long form every process dies twenty times, at any moment and at one of its points in turn.
fn long_schedule(fleet: &Fleet, number: usize) -> Vec<Death> {
    let names = fleet.names();
    let own: Vec<&String> = names.iter().skip(number).step_by(KILLERS).collect();
    let mut schedule = Vec::new();
    for round in 0..ROUNDS {
        for name in &own {
            let points = points::of(name);
            let point = points.get(round % points.len().max(1)).copied();
            schedule.push(((*name).clone(), point, 1 + round % 3));
        }
    }
    schedule
}

/// Kills every `KILLERS`-th process in turn: once at any moment, and once where its next life comes to its point.
async fn kill_in_turn(fleet: &Fleet, number: usize, extent: Extent, deaths: &Deaths) {
    let schedule = match extent {
        Extent::Short => short_schedule(number),
        Extent::Long => long_schedule(fleet, number),
    };
    let ids = Ids::random(Clock::system());
    for (name, point, nth) in &schedule {
        let random = ids.next().as_u128() % 400;
        // sleeps because the moment of death is to be any moment
        tokio::time::sleep(Duration::from_millis(random as u64)).await;
        fleet.kill(name).await;
        deaths.note(name, "any moment");
        let place = match *point {
            None => None,
            Some(point) => die_at(fleet, name, point, *nth).await,
        };
        if place.is_none() {
            if !fleet.is_running(name) {
                fleet.spawn(name);
            }
            fleet.kill(name).await;
        }
        deaths.note(name, place.unwrap_or("any moment"));
        fleet.spawn(name);
        fleet.wait_ready(name).await;
    }
}

/// Starts a process that dies when it comes to `point` for the `nth` time. Nothing when it does not come there in time; then it lives.
async fn die_at(
    fleet: &Fleet,
    name: &str,
    point: &'static str,
    nth: usize,
) -> Option<&'static str> {
    fleet.spawn_with(name, &[("TENANTRY_KILL_AT", &format!("{point}={nth}"))]);
    let died = tokio::time::timeout(POINT_PATIENCE, fleet.ended(name)).await;
    let status = died.ok()?;
    assert_eq!(
        status.signal(),
        Some(KILL),
        "{name} ended by itself: {status}\n{}",
        fleet.log(name)
    );
    Some(point)
}

/// Sessions outlast the campaign, and a refresh may be repeated for as long as its service may be away.
fn plan() -> FleetPlan {
    FleetPlan::default()
        .with("AUTH_ACCESS_TTL_S", 3600)
        .with("AUTH_REFRESH_RETRY_MS", 60_000)
}
