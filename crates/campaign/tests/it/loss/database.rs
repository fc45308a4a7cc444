//! PostgreSQL restarted and killed under load.

use std::time::Duration;

use campaign::load::{Call, Caller, Outcome};
use campaign::{Extent, FleetPlan, PrivatePostgres};
use kernel::Clock;
use reqwest::StatusCode;

use super::scene::{Scene, plan};

/// How long callers work between two mishaps.
const WORK: Duration = Duration::from_secs(2);
/// A pool notices, reconnects and prepares its statements again; a debug build beside compilers needs its time.
const RECOVERY: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_the_database() {
    let extent = Extent::of_this_run();
    let server = PrivatePostgres::start();
    let on_it = FleetPlan {
        database: Some(server.url.clone()),
        ..plan()
    };
    let scene = Scene::open(on_it, extent).await;
    let anybody = Caller::patient(&scene.fleet.base_url, &scene.tally);
    for _ in 0..extent.pick(1, 10) {
        // sleeps because callers are to be in the middle of their work
        tokio::time::sleep(WORK).await;
        server.restart();
        recovered(&anybody, extent, "after a restart").await;
        // sleeps because callers are to be in the middle of their work
        tokio::time::sleep(WORK).await;
        server.kill();
        server.go_on();
        recovered(&anybody, extent, "after kill -9").await;
    }
    scene
        .reckon(Duration::from_secs(extent.pick(120, 600)))
        .await;
}

/// Waits until a sign-in, which reads and writes, is decided again. Until then nothing but 503 and 504 is heard.
pub async fn recovered(anybody: &Caller, extent: Extent, what: &str) {
    let login =
        serde_json::json!({"email": "admin@example.com", "password": campaign::ADMIN_PASSWORD});
    let clock = Clock::system();
    let since = clock.instant();
    let signing_in = async {
        while !matches!(
            anybody
                .once(&Call::post("/v1/auth/login", login.clone()))
                .await,
            Outcome::Known(StatusCode::OK, _)
        ) {
            // sleeps because the pools reconnect meanwhile
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(RECOVERY, signing_in).await;
    assert!(done.is_ok(), "nobody can sign in {what}");
    let ms = (clock.instant() - since).as_millis();
    extent.tell(&format!("{what}, ms until a sign-in"), ms);
}
