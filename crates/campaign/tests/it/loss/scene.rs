//! A fleet in which two tenants write, import and sign in all the time, and the reckoning at the end.

use std::time::Duration;

use campaign::load::{self, Caller, Ledger, RowsPerImport, Tally};
use campaign::reckoning::{self, House};
use campaign::{Extent, Fleet, FleetPlan};
use kernel::Clock;
use runtime::{Shutdown, Tasks};
use serde_json::json;
use tokio::task::JoinHandle;

pub struct Scene {
    pub fleet: Fleet,
    /// What its callers have met.
    pub tally: Tally,
    extent: Extent,
    pub houses: [House; 2],
    stop: Shutdown,
    callers: Vec<JoinHandle<Ledger>>,
}

impl Scene {
    pub async fn open(plan: FleetPlan, extent: Extent) -> Self {
        let fleet = Fleet::start(plan).await;
        let tally = Tally::default();
        let anybody = Caller::patient(&fleet.base_url, &tally);
        let houses = [
            House::open(&fleet, "alpha", &anybody).await,
            House::open(&fleet, "beta", &anybody).await,
        ];
        let stop = Shutdown::new();
        let callers = begin(&fleet, &houses, extent, &stop).await;
        Self {
            fleet,
            tally,
            extent,
            houses,
            stop,
            callers,
        }
    }

    /// The end of a short form that must not wait for the pauses between attempts: nobody was answered 500.
    pub async fn end(self) {
        self.stop.begin();
        for caller in self.callers {
            caller.await.unwrap();
        }
        assert_eq!(*self.tally.notes(), Vec::<String>::new(), "answered 500");
    }

    /// Ends the load and compares the books, for at most so long: everything acknowledged exists once, with all that follows from it.
    pub async fn reckon(self, patience: Duration) {
        self.stop.begin();
        let mut ledger = Ledger::default();
        for caller in self.callers {
            ledger.absorb(caller.await.unwrap());
        }
        let open = reckoning::close_open(&self.fleet, &self.houses, &mut ledger).await;
        let tell = |what: &str, count: u64| self.extent.tell(what, count);
        tell("requests", self.tally.sent());
        tell("of unknown outcome", self.tally.unknown());
        tell("left open and repeated at the end", open as u64);
        self.extent
            .tell("changes acknowledged", ledger.acknowledged());
        tell("imports", ledger.imports.len() as u64);
        let clock = Clock::system();
        let since = clock.instant();
        reckoning::settle(&self.fleet, &self.houses, &ledger, patience).await;
        let rest = clock.instant() - since;
        tell("seconds until all was at rest", rest.as_secs());
        assert_eq!(*self.tally.notes(), Vec::<String>::new(), "answered 500");
    }
}

async fn begin(
    fleet: &Fleet,
    houses: &[House],
    extent: Extent,
    stop: &Shutdown,
) -> Vec<JoinHandle<Ledger>> {
    let tasks = Tasks::new();
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

/// Sessions outlast the campaign, and a refresh may be repeated for as long as its service may be away.
pub fn plan() -> FleetPlan {
    FleetPlan::default()
        .with("AUTH_ACCESS_TTL_S", 3600)
        .with("AUTH_REFRESH_RETRY_MS", 60_000)
}
