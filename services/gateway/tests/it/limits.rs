//! How often one may call, counted in a real Redis.

use serde_json::json;
use testkit::{ANN, BOB, TENANT_A, context};

use crate::stage::Stage;

fn login(stage: &Stage) -> reqwest::RequestBuilder {
    stage
        .request("POST", "/v1/auth/login")
        .json(&json!({"email": "ana@example.com", "password": "wrong"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_stops_after_five_tries() {
    let stage = Stage::start().await;
    for left in (0..5).rev() {
        let got = stage.send(login(&stage)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (401, "INVALID_CREDENTIALS")
        );
        assert_eq!(got.header("ratelimit-policy"), "\"login\";q=5;w=900");
        assert!(
            got.header("ratelimit")
                .starts_with(&format!("\"login\";r={left};t=")),
            "{}",
            got.header("ratelimit")
        );
    }
    let got = stage.send(login(&stage)).await;
    assert_eq!((got.status, got.problem().as_str()), (429, "RATE_LIMITED"));
    let wait: u64 = got.header("retry-after").parse().unwrap();
    assert!((1..=180).contains(&wait), "{wait}");
    assert_eq!(got.json()["error"]["details"]["seconds"], wait.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_address_gives_no_new_allowance() {
    let stage = Stage::start().await;
    for n in 0..5 {
        stage
            .send(login(&stage).header("x-forwarded-for", format!("198.51.100.{n}")))
            .await;
    }
    assert_eq!(
        stage
            .send(login(&stage).header("x-forwarded-for", "198.51.100.99"))
            .await
            .status,
        429
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_each_client_has_its_own_allowance() {
    let stage =
        Stage::start_with(|config| config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()])
            .await;
    for _ in 0..6 {
        stage
            .send(login(&stage).header("x-forwarded-for", "198.51.100.1"))
            .await;
    }
    assert_eq!(
        stage
            .send(login(&stage).header("x-forwarded-for", "198.51.100.1"))
            .await
            .status,
        429
    );
    assert_eq!(
        stage
            .send(login(&stage).header("x-forwarded-for", "198.51.100.2"))
            .await
            .status,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_counted_each_for_themselves() {
    let stage = Stage::start().await;
    stage
        .fake
        .callers
        .lock()
        .unwrap()
        .insert("bob".into(), context().user(BOB).tenant(TENANT_A).build());
    let mut passed = 0;
    loop {
        let got = stage.send(stage.as_ann("GET", "/v1/me")).await;
        if got.status == 429 {
            break;
        }
        assert_eq!(
            (got.status, got.header("ratelimit-policy")),
            (200, "\"default\";q=100;w=60")
        );
        passed += 1;
        assert!(passed < 200, "the limit never came");
    }
    // The bucket grows back while the test runs: one permit every 600 ms.
    assert!((100..140).contains(&passed), "{passed}");
    assert_eq!(
        stage
            .send(stage.request("GET", "/v1/me").bearer_auth("bob"))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_work_is_limited_more_and_health_is_not() {
    let stage = Stage::start().await;
    let staff = context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(["imports.create"])
        .build();
    stage
        .fake
        .callers
        .lock()
        .unwrap()
        .insert("importer".into(), staff);
    for _ in 0..10 {
        let request = stage
            .request("POST", "/v1/niches/catalog/package/imports")
            .bearer_auth("importer")
            .header("content-type", "text/csv")
            .body("a");
        assert_eq!(stage.send(request).await.status, 202);
    }
    let request = stage
        .request("POST", "/v1/niches/catalog/package/imports")
        .bearer_auth("importer")
        .header("content-type", "text/csv")
        .body("a");
    assert_eq!(stage.send(request).await.status, 429);
    for _ in 0..150 {
        assert_eq!(
            stage
                .send(stage.request("GET", "/health/live"))
                .await
                .status,
            200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_credentials_stops_too() {
    let stage = Stage::start().await;
    let mut refused = 0;
    for n in 0..80 {
        let got = stage
            .send(
                stage
                    .request("GET", "/v1/me")
                    .bearer_auth(format!("guess{n}")),
            )
            .await;
        refused += u32::from(got.status == 429);
    }
    assert!((1..=20).contains(&refused), "{refused}");
    // Whoever has a good credential is not hit by the guesses of a neighbour.
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_process_counts_by_itself() {
    let stage = Stage::start_with(|config| {
        config.cache.url = "redis://127.0.0.1:9/".into();
        config.replicas = 2;
    })
    .await;
    let mut passed = 0;
    for _ in 0..6 {
        passed += u32::from(stage.send(login(&stage)).await.status == 401);
    }
    assert_eq!(passed, 2, "half of five for one of two gateways");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_factor_widens_every_limit() {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 2.0).await;
    for _ in 0..10 {
        assert_eq!(stage.send(login(&stage)).await.status, 401);
    }
    assert_eq!(stage.send(login(&stage)).await.status, 429);
}
