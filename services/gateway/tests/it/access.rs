//! Who gets in, and how soon they are out again.

use std::sync::atomic::Ordering;

use kernel::ErrorCode;
use serde_json::json;
use testkit::{ANN, BOB, TENANT_A, context};

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
