//! `kill -9`, again and again, at named points and at any moment, while callers write.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campaign::{Extent, Fleet};
use kernel::{Clock, Ids};

use super::points;
use super::scene::{Scene, plan};

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
    let scene = Scene::open(plan(), extent).await;
    let deaths = Arc::new(Deaths::default());
    let killing = (0..KILLERS).map(|number| kill_in_turn(&scene.fleet, number, extent, &deaths));
    futures::future::join_all(killing).await;
    extent.tell("processes killed", deaths.total());
    deaths.tell(extent);
    scene
        .reckon(Duration::from_secs(extent.pick(90, 900)))
        .await;
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
