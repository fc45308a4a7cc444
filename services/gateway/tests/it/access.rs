//! Who gets in, and how soon they are out again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use kernel::ErrorCode;
use proto::auth::v1::AccessChange;
use serde_json::json;
use testkit::{ANN, BOB, TENANT_A, TENANT_B, context, eventually};

use crate::fake::RECORD;
use crate::stage::Stage;

const RECORDS: &str = "/v1/niches/catalog/package/records";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_only_public_methods_answer() {
    let stage = Stage::start().await;
    for method in &gateway::routes::table().methods {
        if method.policy.access == proto::policy::Access::Public {
            continue;
        }
        let path = method.template.replace(['{', '}'], "");
        let got = stage.send(stage.request(method.verb.as_str(), &path)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (401, "UNAUTHORIZED"),
            "{} {path}",
            method.verb.as_str()
        );
        assert_eq!(got.header("www-authenticate"), "Bearer");
    }
    assert_eq!(
        stage
            .send(stage.request("GET", "/.well-known/jwks.json"))
            .await
            .status,
        200
    );
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_comes_in_one_header() {
    let stage = Stage::start().await;
    let get = || stage.request("GET", "/v1/me");
    assert_eq!(stage.send(get().bearer_auth("ann")).await.status, 200);
    assert_eq!(
        stage.send(get().header("x-api-key", "ann")).await.status,
        200
    );
    let got = stage
        .send(get().bearer_auth("ann").header("x-api-key", "ann"))
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (400, "MALFORMED_REQUEST")
    );
    let got = stage.send(get().basic_auth("ann", Some("x"))).await;
    assert_eq!((got.status, got.problem().as_str()), (401, "INVALID_TOKEN"));
    assert!(got.header("www-authenticate").contains("invalid_token"));
    let got = stage.send(get().bearer_auth("stranger")).await;
    assert_eq!((got.status, got.problem().as_str()), (401, "INVALID_TOKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_resolved_once_for_many_requests() {
    let stage = Stage::start().await;
    *stage.fake.resolve_delay.lock().unwrap() = Duration::from_millis(200);
    let got = join_all((0..20).map(|_| stage.send(stage.as_ann("GET", "/v1/me")))).await;
    assert!(got.iter().all(|got| got.status == 200));
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 1);
    // A refusal is remembered too, for a moment.
    for _ in 0..5 {
        assert_eq!(
            stage
                .send(stage.request("GET", "/v1/me").bearer_auth("stranger"))
                .await
                .status,
            401
        );
    }
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

/// The gateway uses a context for six seconds less than it lives, and has it renewed in at least five seconds before that.
const SOON: Duration = Duration::from_millis(10_900);

/// A stage where ann is known and what is known of her ends soon.
async fn soon_forgotten() -> Stage {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 1000.0).await;
    *stage.fake.context_lives.lock().unwrap() = SOON;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    *stage.fake.context_lives.lock().unwrap() = Duration::from_secs(55);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_while_a_caller_is_renewed_and_auth_is_asked_once() {
    let stage = soon_forgotten().await;
    // Whoever waited for that would get a 503.
    *stage.fake.resolve_delay.lock().unwrap() = Duration::from_secs(60);
    let got = join_all((0..20).map(|_| stage.send(stage.as_ann("GET", "/v1/me")))).await;
    assert!(got.iter().all(|got| got.status == 200));
    eventually("auth is asked", || {
        let asked = stage.fake.resolved.load(Ordering::SeqCst);
        async move { (asked == 2).then_some(()) }
    })
    .await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_renewal_is_refused_is_out() {
    let stage = soon_forgotten().await;
    stage.fake.callers.lock().unwrap().remove("ann");
    eventually("ann is out", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move { (stage.send(request).await.status == 401).then_some(()) }
    })
    .await;
    // Once for the first request and once for the renewal: what was known had not ended.
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_takes_the_place_of_what_was_known() {
    let stage = soon_forgotten().await;
    *stage.fake.context_lives.lock().unwrap() = SOON;
    // Each one ends soon in turn and is renewed in turn; what is known for five seconds is renewed once.
    eventually("the renewed are renewed", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move {
            assert_eq!(stage.send(request).await.status, 200);
            (stage.fake.resolved.load(Ordering::SeqCst) >= 10).then_some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_header_goes_to_auth_and_is_part_of_what_is_remembered() {
    let stage = Stage::start().await;
    let get = |tenant: &str| stage.as_ann("GET", "/v1/me").header("x-tenant-id", tenant);
    for tenant in ["t1", "t1", "t2"] {
        assert_eq!(stage.send(get(tenant)).await.status, 200);
    }
    assert_eq!(*stage.fake.tenant_headers.lock().unwrap(), ["t1", "t2"]);
    *stage.fake.resolve_fails.lock().unwrap() = Some(ErrorCode::TenantMismatch);
    let got = stage.send(get("t3")).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (400, "TENANT_MISMATCH")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_access_takes_effect_at_once_and_only_for_whom_it_concerns() {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 1000.0).await;
    let bob = context().user(BOB).tenant(TENANT_B).build();
    stage.fake.callers.lock().unwrap().insert("bob".into(), bob);
    let as_bob = || stage.request("GET", "/v1/me").bearer_auth("bob");
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert_eq!(stage.send(as_bob()).await.status, 200);
    stage.fake.callers.lock().unwrap().remove("ann");
    let got = stage.send(stage.as_ann("GET", "/v1/me")).await;
    assert_eq!(
        got.status,
        200,
        "nothing has been told yet: {} {}",
        got.text,
        stage.fake.resolved.load(Ordering::SeqCst)
    );
    stage.fake.change(AccessChange {
        tenant_id: Some(TENANT_A.to_string()),
        actor_id: Some(ANN.to_string()),
        session_id: None,
    });
    tokio::time::timeout(
        Duration::from_secs(1),
        eventually("ann is out", || {
            let request = stage.as_ann("GET", "/v1/me");
            let stage = &stage;
            async move { (stage.send(request).await.status == 401).then_some(()) }
        }),
    )
    .await
    .expect("a revocation takes effect within a second");
    let before = stage.fake.resolved.load(Ordering::SeqCst);
    assert_eq!(stage.send(as_bob()).await.status, 200);
    assert_eq!(
        stage.fake.resolved.load(Ordering::SeqCst),
        before,
        "bob is still remembered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_of_auth_ends_the_trust_in_what_is_remembered() {
    let stage = Stage::start_with(|config| {
        config.access_silence_max = Duration::from_millis(400);
        config.rate_limit_factor = 1000.0;
    })
    .await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    stage.fake.silent.store(true, Ordering::SeqCst);
    eventually("the gateway is not ready", || {
        let health = stage.process.health.clone();
        async move { (!health.readiness().await.is_ready()).then_some(()) }
    })
    .await;
    // Every request asks now, so a revocation that could not be told still counts.
    let before = stage.fake.resolved.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    }
    assert_eq!(stage.fake.resolved.load(Ordering::SeqCst), before + 3);
    stage.fake.callers.lock().unwrap().clear();
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auth_nobody_with_a_credential_gets_in() {
    let stage =
        Stage::start_with(|config| config.access_silence_max = Duration::from_millis(300)).await;
    assert_eq!(stage.send(stage.as_ann("GET", "/v1/me")).await.status, 200);
    assert!(stage.services.stop(Duration::from_secs(5)).await);
    let got = eventually("the cache is not believed", || {
        let request = stage.as_ann("GET", "/v1/me");
        let stage = &stage;
        async move {
            let got = stage.send(request).await;
            let is_ready = stage.process.health.readiness().await.is_ready();
            (got.status == 503 && !is_ready).then_some(got)
        }
    })
    .await;
    assert_eq!(got.problem(), "SERVICE_UNAVAILABLE");
    assert_eq!(
        stage
            .send(stage.request("GET", "/health/live"))
            .await
            .status,
        200
    );
    let got = stage.send(stage.request("GET", "/health/ready")).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (503, "SERVICE_UNAVAILABLE")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_and_tenants_are_checked_before_a_service_is_asked() {
    let stage = Stage::start().await;
    let known = |name: &str, ctx| {
        stage
            .fake
            .callers
            .lock()
            .unwrap()
            .insert(name.to_owned(), ctx)
    };
    known(
        "viewer",
        context()
            .user(ANN)
            .tenant(TENANT_A)
            .permissions(["records.read"])
            .build(),
    );
    known(
        "homeless",
        context().user(ANN).permissions(["records.read"]).build(),
    );
    known("staff", context().platform(BOB).build());
    let get = |who: &str, path: &str| stage.request("GET", path).bearer_auth(who);
    let one = format!("{RECORDS}/{RECORD}");
    assert_eq!(stage.send(get("viewer", &one)).await.status, 200);
    let got = stage
        .send(
            stage
                .request("POST", RECORDS)
                .bearer_auth("viewer")
                .json(&json!({"data": {}})),
        )
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (403, "FORBIDDEN_ACTION")
    );
    assert_eq!(
        got.json()["error"]["details"]["toolAction"],
        "records.create"
    );
    for who in ["homeless", "staff"] {
        let got = stage.send(get(who, &one)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (403, "TENANT_REQUIRED"),
            "{who}"
        );
    }
    assert_eq!(stage.send(get("homeless", "/v1/me")).await.status, 200);
    let got = stage
        .send(get(
            "viewer",
            "/v1/platform/dead-letters?queue=search.records",
        ))
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (403, "FORBIDDEN_ACTION")
    );
    // Nothing listens behind these: getting that far is the proof.
    for path in [
        "/v1/platform/dead-letters?queue=search.records",
        "/v1/audit-logs",
    ] {
        assert_eq!(stage.send(get("staff", path)).await.status, 503, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_learns_who_asks_and_nothing_that_a_client_makes_up() {
    let stage =
        Stage::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()])
            .await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = stage
        .as_ann("GET", "/v1/me")
        .header("x-forwarded-for", "6.6.6.6, 198.51.100.7")
        .header("x-client-ip", "9.9.9.9")
        .header("tenantry-context", "forged")
        .header("user-agent", "curious/1.0")
        .header("x-request-id", "req-12345678")
        .header("traceparent", parent);
    let got = stage.send(request).await;
    assert_eq!(
        (got.status, got.header("x-request-id")),
        (200, "req-12345678")
    );
    let seen = stage.fake.last();
    assert_eq!(seen.client().ip, Some("198.51.100.7".parse().unwrap()));
    assert_eq!(seen.client().user_agent, "curious/1.0");
    assert_eq!(seen.request_id(), "req-12345678");
    assert_eq!(seen.trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(seen.tenant_id(), Some(TENANT_A));
    let got = stage
        .send(
            stage
                .as_ann("GET", "/v1/me")
                .header("x-request-id", "no good"),
        )
        .await;
    assert_ne!(got.header("x-request-id"), "no good");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_only_believed_from_a_trusted_proxy() {
    let stage = Stage::start().await;
    stage
        .send(
            stage
                .as_ann("GET", "/v1/me")
                .header("x-forwarded-for", "198.51.100.7"),
        )
        .await;
    assert_eq!(
        stage.fake.last().client().ip,
        Some("127.0.0.1".parse().unwrap())
    );
}
