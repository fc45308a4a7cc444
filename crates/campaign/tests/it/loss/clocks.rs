//! Processes whose time of day is wrong by minutes, against the table in `data/clocks.md`.

use std::time::Duration;

use campaign::load::{Call, Caller, Outcome};
use campaign::reckoning::House;
use campaign::{ADMIN_PASSWORD, Extent, Fleet};
use kernel::{Clock, Ids};
use serde_json::{Value, json};

use super::scene::{Scene, plan};

const TABLE: &str = include_str!("../../../data/clocks.md");
const OPERATIONS: [&str; 7] = [
    "login",
    "refresh",
    "staff",
    "read",
    "create",
    "search",
    "new tenant",
];
/// How far a clock is off.
const SKEW_S: i64 = 300;
const RECORDS: &str = "/v1/niches/software-catalog/packages/records";

struct Row<'t> {
    process: &'t str,
    seconds: i64,
    is_ready: bool,
    expected: Vec<&'t str>,
}

fn rows() -> Vec<Row<'static>> {
    let mut lines = TABLE.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &'static str| -> Vec<&str> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(str::trim).collect()
    };
    let head = cells(lines.next().expect("the table has a head"));
    assert_eq!(head[3..], OPERATIONS, "one column per operation");
    let rows = lines.skip(1).map(|line| {
        let row = cells(line);
        Row {
            process: row[0],
            seconds: if row[1] == "ahead" { SKEW_S } else { -SKEW_S },
            is_ready: row[2] == "yes",
            expected: row[3..].to_vec(),
        }
    });
    rows.collect()
}

/// Who asks, with sessions of their own.
struct People {
    anybody: Caller,
    owner: Caller,
    /// Renewed by each sign-in, so that no gateway has seen it before.
    staff: Caller,
    refresh_token: String,
}

impl People {
    /// Does it once and says what came of it.
    async fn perform(&mut self, operation: &str) -> String {
        let login = json!({"email": "admin@example.com", "password": ADMIN_PASSWORD});
        let refresh = json!({"refreshToken": self.refresh_token});
        let wish = json!({"data": {"name": unique(), "section": "clocks"}});
        let tenant = json!({"slug": unique(), "name": "Casa Azul", "adminUser": {"email": format!("{}@example.com", unique()), "name": "Olga"}});
        let (who, call) = match operation {
            "login" => (&self.anybody, Call::post("/v1/auth/login", login)),
            "refresh" => (&self.anybody, Call::post("/v1/auth/refresh", refresh)),
            "staff" => (&self.staff, Call::get("/v1/tenants")),
            "read" => (&self.owner, Call::get(format!("{RECORDS}?limit=25"))),
            "create" => (&self.owner, Call::post(RECORDS, wish)),
            "search" => (
                &self.owner,
                Call::post("/v1/search", json!({"query": "clocks"})),
            ),
            "new tenant" => (&self.staff, Call::post("/v1/tenants", tenant)),
            other => panic!("{other} is no operation"),
        };
        match who.once(&call).await {
            Outcome::Known(status, body) if status.is_success() => {
                self.note(operation, &body);
                "ok".to_owned()
            }
            Outcome::Known(status, body) => format!("{status} {body}"),
            Outcome::Unknown(why) if why.starts_with("503") => "503".to_owned(),
            Outcome::Unknown(why) => why,
        }
    }

    fn note(&mut self, operation: &str, body: &Value) {
        if matches!(operation, "login" | "refresh") {
            let text = |name: &str| body["data"][name].as_str().unwrap_or_default().to_owned();
            self.staff = self.anybody.with_token(&text("accessToken"));
            self.refresh_token = text("refreshToken");
        }
    }
}

fn unique() -> String {
    let id = Ids::random(Clock::system()).next().simple().to_string();
    format!("x{}", &id[id.len() - 14..])
}

#[test]
fn every_process_has_a_row_for_each_direction() {
    let known: Vec<(&str, i64)> = rows()
        .iter()
        .map(|row| (row.process, row.seconds))
        .collect();
    for process in [
        "auth",
        "auth-worker",
        "niche",
        "niche-worker",
        "search",
        "search-worker",
        "tenant",
        "tenant-worker",
        "gateway-1",
    ] {
        for seconds in [SKEW_S, -SKEW_S] {
            assert!(known.contains(&(process, seconds)), "{process} {seconds}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_clock_is_wrong_is_left_out_and_corrupts_nothing() {
    let extent = Extent::of_this_run();
    let scene = Scene::open(plan(), extent).await;
    let anybody = Caller::patient(&scene.fleet.base_url, &scene.tally);
    // In a tenant of its own, which is in no books.
    let house = House::open(&scene.fleet, "gamma", &anybody).await;
    let mut people = People {
        owner: house.caller,
        staff: anybody.clone(),
        refresh_token: String::new(),
        anybody,
    };
    assert_eq!(people.perform("login").await, "ok");
    let mut deviations = Vec::new();
    for row in rows() {
        if extent == Extent::Short && !matches!(row.process, "auth" | "niche") {
            continue;
        }
        measure(&scene.fleet, &row, &mut people, extent, &mut deviations).await;
    }
    assert!(deviations.is_empty(), "\n{}", deviations.join("\n"));
    match extent {
        Extent::Short => scene.end().await,
        Extent::Long => scene.reckon(Duration::from_secs(600)).await,
    }
}

/// Lets one process live with a wrong clock, and then with the right one, with which everything is well at once.
async fn measure(
    fleet: &Fleet,
    row: &Row<'_>,
    people: &mut People,
    extent: Extent,
    deviations: &mut Vec<String>,
) {
    let place = format!("{} {} s", row.process, row.seconds);
    assert!(fleet.terminate(row.process).await.success());
    fleet.spawn_at_wrong_time(row.process, row.seconds);
    if row.is_ready {
        fleet.wait_ready(row.process).await;
    } else {
        testkit::eventually("the reason is told", async || {
            fleet
                .log(row.process)
                .contains("compare the clocks")
                .then_some(())
        })
        .await;
        assert!(!fleet.is_ready(row.process).await, "{place}");
    }
    let mut measured = Vec::new();
    for (operation, expected) in OPERATIONS.into_iter().zip(&row.expected) {
        let answer = people.perform(operation).await;
        if !expected.split(" or ").any(|one| one == answer) {
            deviations.push(format!(
                "{place}: {operation} answered {answer}, not {expected}"
            ));
        }
        measured.push(format!("{operation} {answer}"));
    }
    extent.tell(&place, measured.join(", "));
    assert!(fleet.terminate(row.process).await.success(), "{place}");
    fleet.spawn(row.process);
    fleet.wait_ready(row.process).await;
    let working_again = async {
        while !works(people).await {
            // sleeps because processes find each other again meanwhile
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // What holds for every outage; the short form runs beside other tests.
    let recovery = Duration::from_secs(extent.pick(30, 10));
    let done = tokio::time::timeout(recovery, working_again).await;
    assert!(done.is_ok(), "{place}: no recovery in time");
}

async fn works(people: &mut People) -> bool {
    for operation in OPERATIONS {
        if people.perform(operation).await != "ok" {
            return false;
        }
    }
    true
}
