//! Every method of every service, called straight at its port.

use std::collections::BTreeSet;

use campaign::Extent;
use chrono::TimeDelta;
use proto::auth::v1::session_service_client::SessionServiceClient;
use proto::auth::v1::{GetMeRequest, ResolveContextRequest};
use proto::policy::{Access, MethodPolicy};
use serde_json::json;
use uuid::Uuid;

use super::forgeries;
use super::inside::{Inside, Lines, SERVICES, TOKEN, line};
use super::scene::{Scene, guarded};
use super::workshop::assert_distinct;

/// The control, and with it the replay: the very tokens that every method has just taken are worth nothing a minute later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genuine_token_opens_every_method_for_a_minute() {
    let scene = Scene::open().await;
    let inside = Inside::of(&scene);
    let methods = guarded();
    plain_headers_beside_a_genuine_token_are_ignored(&scene, &inside).await;
    let tokens: Vec<String> = methods
        .iter()
        .map(|policy| inside.model(policy).genuine())
        .collect();
    for (policy, token) in methods.iter().zip(&tokens) {
        assert_eq!(
            inside.call(policy, &line(token)).await,
            None,
            "{}",
            policy.path
        );
    }
    scene.clock.advance(TimeDelta::seconds(59));
    for (policy, token) in methods.iter().zip(&tokens) {
        assert_eq!(
            inside.call(policy, &line(token)).await,
            None,
            "{} after 59 s",
            policy.path
        );
    }
    scene.clock.advance(TimeDelta::seconds(1));
    for (policy, token) in methods.iter().zip(&tokens) {
        inside
            .refused(
                policy,
                "replayed after a minute",
                &line(token),
                "TOKEN_EXPIRED",
            )
            .await;
    }
    scene.close().await;
}

/// SECURITY 2.8: forged, expired, foreign and misdirected tokens, and plain headers, at each method of each service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_forged_token_opens_a_method_of_any_service() {
    let extent = Extent::of_this_run();
    let scene = Scene::open().await;
    let inside = Inside::of(&scene);
    let methods = guarded();
    let before = scene.digest().await;
    let mut attempts = 0;
    for policy in &methods {
        let model = inside.model(policy);
        let forgeries = model.forgeries();
        assert_distinct(
            forgeries
                .iter()
                .map(|(what, token, _)| (what.as_str(), token.as_str())),
        );
        assert!(forgeries.len() >= 100, "only {}", forgeries.len());
        for (what, token, code) in &forgeries {
            inside.refused(policy, what, &line(token), code).await;
        }
        let doubled = vec![(TOKEN, forgeries[0].1.clone()), (TOKEN, model.genuine())];
        inside
            .refused(
                policy,
                "a false token before the genuine one",
                &doubled,
                "INVALID_TOKEN",
            )
            .await;
        attempts += forgeries.len() + 1;
        attempts += misdirected(&inside, policy).await;
        attempts += plain_headers(&inside, policy).await;
    }
    assert_eq!(scene.digest().await, before, "no handler has done anything");
    let services: BTreeSet<&str> = methods.iter().map(|policy| policy.service).collect();
    extent.tell("gRPC services", services.len());
    extent.tell("methods that ask for a token", methods.len());
    extent.tell("calls refused", attempts);
    scene.close().await;
}

/// Genuine tokens at places that they are not for.
async fn misdirected(inside: &Inside<'_>, policy: &MethodPolicy) -> usize {
    let kind = |internal: bool| {
        let other = guarded().into_iter().find(|other| {
            (other.access == Access::Internal) == internal && other.owner == policy.owner
        });
        other.map(|other| inside.model(other).genuine())
    };
    let mut attempts = 0;
    if policy.access != Access::Internal {
        let token = inside
            .scene
            .peer("gateway", policy.owner)
            .service_token(None, None, "r");
        inside
            .refused(policy, "a service token", &line(token), "INVALID_TOKEN")
            .await;
        return attempts + 1;
    }
    if let Some(token) = kind(false) {
        inside
            .refused(policy, "a context token", &line(token), "INVALID_TOKEN")
            .await;
        attempts += 1;
    }
    for callee in SERVICES.iter().filter(|callee| **callee != policy.owner) {
        let token = inside
            .scene
            .peer(policy.callers[0], callee)
            .service_token(None, None, "r");
        inside
            .refused(
                policy,
                &format!("a service token for {callee}"),
                &line(token),
                "INVALID_TOKEN",
            )
            .await;
        attempts += 1;
    }
    for caller in SERVICES
        .iter()
        .filter(|caller| !policy.callers.contains(caller))
    {
        let token = inside
            .scene
            .peer(caller, policy.owner)
            .service_token(None, None, "r");
        inside
            .forbidden(
                policy,
                &format!("a service token of {caller}"),
                &line(token),
            )
            .await;
        attempts += 1;
    }
    attempts
}

/// Nothing but the signed token says who calls.
async fn plain_headers(inside: &Inside<'_>, policy: &MethodPolicy) -> usize {
    let scene = inside.scene;
    let genuine = inside.model(policy).genuine();
    let tenant = scene.tenant_id.to_string();
    let named = vec![
        ("x-tenant-id", tenant.clone()),
        ("tenant-id", tenant.clone()),
        ("x-user-id", scene.user_id.to_string()),
        ("x-forwarded-user", "admin@example.com".to_owned()),
        ("x-permissions", "*".to_owned()),
        ("x-roles", "super_admin".to_owned()),
        ("x-internal", "true".to_owned()),
        (
            "x-forwarded-client-cert",
            "By=spiffe://tenantry/gateway".to_owned(),
        ),
    ];
    let sets: Vec<(&str, Lines)> = vec![
        ("nothing", Vec::new()),
        ("plain names", named),
        (
            "the access token as authorization",
            vec![("authorization", format!("Bearer {}", scene.staff_token))],
        ),
        (
            "the genuine token as authorization",
            vec![("authorization", format!("Bearer {genuine}"))],
        ),
        (
            "the genuine token under another name",
            vec![("x-tenantry-context", genuine.clone())],
        ),
        (
            "the genuine token in binary metadata",
            vec![("tenantry-context-bin", genuine.clone())],
        ),
        (
            "the genuine token as a cookie",
            vec![("cookie", format!("{TOKEN}={genuine}"))],
        ),
        (
            "only the gateway's own token",
            vec![(
                "tenantry-caller",
                scene
                    .peer("gateway", policy.owner)
                    .service_token(None, None, ""),
            )],
        ),
        ("an address", vec![("x-client-ip", "127.0.0.1".to_owned())]),
    ];
    let count = sets.len();
    for (what, lines) in sets {
        inside.refused(policy, what, &lines, "UNAUTHORIZED").await;
    }
    inside
        .refused(policy, "an empty token", &line(""), "INVALID_TOKEN")
        .await;
    count + 1
}

/// Access tokens belong to the public port: no service takes one, genuine or forged, and auth resolves none that is forged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_tokens_open_no_method_and_forged_ones_resolve_to_nobody() {
    let extent = Extent::of_this_run();
    let scene = Scene::open().await;
    let inside = Inside::of(&scene);
    let workshop = scene.workshop().await;
    let forgeries = forgeries::all(&workshop);
    let methods = guarded();
    let share = extent.pick(6, methods.len());
    let mut attempts = 0;
    let before = scene.digest().await;
    for (number, forgery) in forgeries.iter().enumerate() {
        // A genuine context token and a genuine service token are good where they belong.
        if forgery.what == "a context token" || forgery.what == "a service token" {
            continue;
        }
        for step in 0..share {
            let policy = methods[(number + step * 5) % methods.len()];
            inside
                .refused(
                    policy,
                    &forgery.what,
                    &line(&forgery.token),
                    "INVALID_TOKEN",
                )
                .await;
            attempts += 1;
        }
    }
    for policy in &methods {
        inside
            .refused(
                policy,
                "a genuine access token",
                &line(workshop.genuine()),
                "INVALID_TOKEN",
            )
            .await;
    }
    resolve(&scene, &workshop.genuine()).await.unwrap();
    for forgery in &forgeries {
        let is_askable = (1..=8_192).contains(&forgery.token.len());
        let expected = if is_askable {
            forgery.code
        } else {
            "VALIDATION_ERROR"
        };
        let error = resolve(&scene, &forgery.token)
            .await
            .expect_err(&forgery.what);
        assert_eq!(error.error_code().as_str(), expected, "{}", forgery.what);
    }
    assert_eq!(scene.digest().await, before, "nothing has happened");
    extent.tell("calls with access tokens refused", attempts + methods.len());
    extent.tell(
        "forged credentials that auth resolved to nobody",
        forgeries.len(),
    );
    scene.close().await;
}

async fn resolve(scene: &Scene, credential: &str) -> Result<(), kernel::Error> {
    use proto::auth::v1::access_service_client::AccessServiceClient;
    let ctx = kernel::RequestContext::system("gateway", kernel::TenantId::PLATFORM).build();
    let message = ResolveContextRequest {
        credential: credential.to_owned(),
        tenant_header: None,
    };
    let request = scene.peer("gateway", "auth").request(&ctx, message);
    let answer = AccessServiceClient::new(scene.channel("auth"))
        .resolve_context(request)
        .await;
    answer.map(drop).map_err(rpc::from_status)
}

/// Headers beside a genuine token change nothing of what it says.
async fn plain_headers_beside_a_genuine_token_are_ignored(scene: &Scene, inside: &Inside<'_>) {
    let policy = proto::policy::of("/auth.v1.SessionService/GetMe").unwrap();
    let mut model = inside.model(policy);
    model.claims["sub"] = json!(scene.user_id);
    model.claims["perms"] = json!(["records.read"]);
    let mut request = tonic::Request::new(GetMeRequest {});
    let stranger = Uuid::from_u128(0xbad).to_string();
    for (name, value) in [
        (TOKEN, model.genuine()),
        ("x-tenant-id", stranger.clone()),
        ("x-user-id", stranger.clone()),
        ("x-permissions", "*".to_owned()),
        ("x-actor-type", "platform".to_owned()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let me = SessionServiceClient::new(scene.channel("auth"))
        .get_me(request)
        .await
        .unwrap()
        .into_inner()
        .data
        .unwrap();
    assert_eq!(
        (me.id, me.tenant_id),
        (scene.user_id.to_string(), Some(scene.tenant_id.to_string()))
    );
    assert_eq!(
        (me.r#type.as_str(), me.permissions.as_slice()),
        ("user", ["records.read".to_owned()].as_slice())
    );
}
