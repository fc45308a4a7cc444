//! What still works while something is away (the outage matrix), seen by a client.

mod broker;
mod imports;
mod matrix;
mod observed;
mod poison;
mod queues;
mod restarts;
mod stage;
mod stopping;
mod throughput;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use testkit::Proxy;

use campaign::{Platform, Surroundings};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_requests_go_on_and_events_follow_later() {
    let broker = Proxy::to_amqp().await;
    broker.cut();
    let platform = Platform::start_in(Surroundings {
        amqp: testkit::amqp_through(&broker),
        ..Default::default()
    })
    .await;
    let admin = platform.sign_in_as_admin().await;
    let owner = json!({"email": "olga@example.com", "name": "Olga"});
    admin
        .post(
            "/v1/tenants",
            &json!({"slug": "casa-azul", "name": "Casa Azul", "adminUser": owner}),
        )
        .await
        .unwrap();
    let log = admin.get("/v1/audit-logs").await.unwrap();
    assert_eq!(
        log["data"],
        json!([]),
        "nobody can have stored an entry yet"
    );

    broker.restore();
    // The consumers declare their queues one after the other and look for what they have missed, which takes its time on a busy machine.
    let caught_up = async {
        while admin.get("/v1/audit-logs").await.unwrap()["data"] == json!([]) {
            // sleeps because a worker catches up meanwhile
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), caught_up)
        .await
        .expect("the audit log catches up");
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_requests_go_on_and_revocation_holds() {
    let redis = Proxy::to_redis().await;
    let platform = Platform::start_in(Surroundings {
        redis: testkit::redis_through(&redis),
        ..Default::default()
    })
    .await;
    redis.cut();
    let admin = platform.sign_in_as_admin().await;
    assert_eq!(admin.status("/v1/tenants").await.unwrap(), StatusCode::OK);
    admin.post("/v1/auth/logout", &json!({})).await.unwrap();
    testkit::eventually("the session is over", async || {
        (admin.status("/v1/tenants").await.unwrap() == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_silent_broker_a_write_is_not_held_up() {
    let broker = Proxy::to_amqp().await;
    let platform = Platform::start_in(Surroundings {
        amqp: testkit::amqp_through(&broker),
        ..Default::default()
    })
    .await;
    broker.stall();
    let admin = platform.sign_in_as_admin().await;
    let owner = json!({"email": "olga@example.com", "name": "Olga"});
    admin
        .post(
            "/v1/tenants",
            &json!({"slug": "casa-azul", "name": "Casa Azul", "adminUser": owner}),
        )
        .await
        .unwrap();
    broker.restore();
    platform.stop().await;
}
