//! Another tenant's id in every place of an id: the answer is that to an id of nothing, to the byte, and nothing of that tenant changes.

use kernel::TenantId;
use serde_json::{Value, json};

use super::contract::{Method, methods, put};
use super::matrix::resolve;
use super::objects::missing;
use super::people::{Credential, Principal};
use super::wire::{HttpAnswer, HttpRequest, RpcAnswer};
use super::world::World;

pub async fn ids_of_another_tenant_are_ids_of_nothing(world: &World, callers: &[Principal]) {
    let before = world.digests(Some(world.b.tenant_id)).await;
    let (mut over_http, mut over_grpc) = (0, 0);
    for method in methods() {
        for (place, kind) in &method.fixture.ids {
            for caller in callers.iter().filter(|caller| is_stranger(caller, kind)) {
                if method.is_public() {
                    compare_http(world, &method, (place, kind), caller).await;
                    over_http += 1;
                }
                let Some(token) = token_of(world, &method, caller).await else {
                    continue;
                };
                compare_rpc(world, &method, (place, kind), &token).await;
                over_grpc += 1;
            }
        }
    }
    world.rest().await;
    world
        .assert_unchanged(Some(world.b.tenant_id), &before, "asking with foreign ids")
        .await;
    let extent = campaign::Extent::of_this_run();
    extent.tell("pairs of a foreign and a missing id over HTTP", over_http);
    extent.tell("pairs of a foreign and a missing id over gRPC", over_grpc);
}

/// Staff may name any tenant and any event; who belongs to B as well may name B.
fn is_stranger(caller: &Principal, kind: &str) -> bool {
    match caller.name.as_str() {
        "staff" => false,
        "staff-in-A" => !matches!(kind, "tenant" | "event"),
        "viewer+B-owner" => kind != "tenant",
        _ => true,
    }
}

/// The context token of a caller. Internal methods are called by those who may, within A; once, in the name of the owner.
async fn token_of(world: &World, method: &Method, caller: &Principal) -> Option<String> {
    match method.policy.callers.first() {
        Some(service) if caller.name == "owner" => {
            let tenant_id = Some(TenantId(world.a.tenant_id));
            Some(world.peer(service, method.policy.owner).service_token(
                tenant_id,
                None,
                "proof-of-isolation",
            ))
        }
        Some(_) => None,
        None => resolve(world, caller).await.ok(),
    }
}

async fn with_id(world: &World, method: &Method, place: &str, id: &str) -> Value {
    let mut message = world.fill(&method.fixture.request, &world.a).await;
    put(&mut message, place, id);
    message
}

async fn compare_http(
    world: &World,
    method: &Method,
    (place, kind): (&str, &str),
    caller: &Principal,
) {
    let foreign = world.b.id_of(kind);
    let message = with_id(world, method, place, &foreign).await;
    let theirs = world.http(caller, HttpRequest::of(method, &message)).await;
    let message = with_id(world, method, place, &missing(kind, &foreign)).await;
    let nothing = world.http(caller, HttpRequest::of(method, &message)).await;
    let at = format!("{} with {place} of B as {}", method.name(), caller.name);
    assert_eq!(theirs.fingerprint(), nothing.fingerprint(), "{at}");
    assert!(
        !theirs.body.contains(&foreign),
        "{at} echoes the id: {}",
        theirs.body
    );
    if caller.name == "owner" {
        assert!(
            shows_nothing(&theirs),
            "{at}: {} {}",
            theirs.status,
            theirs.body
        );
    }
}

/// Not found, or an empty list, or not allowed at all.
fn shows_nothing(answer: &HttpAnswer) -> bool {
    match answer.status {
        404 | 403 => true,
        200 => answer.json()["data"] == json!([]),
        _ => false,
    }
}

async fn compare_rpc(world: &World, method: &Method, (place, kind): (&str, &str), token: &str) {
    let foreign = world.b.id_of(kind);
    let message = with_id(world, method, place, &foreign).await;
    let theirs = shown(&world.rpc(method, Some(token), &message).await);
    let message = with_id(world, method, place, &missing(kind, &foreign)).await;
    let nothing = shown(&world.rpc(method, Some(token), &message).await);
    assert_eq!(theirs, nothing, "{} with {place} of B", method.name());
}

/// All that a caller sees of an answer.
fn shown(answer: &RpcAnswer) -> String {
    match answer {
        Ok(message) => message.to_string(),
        Err(error) => format!(
            "{:?} {} {} {:?} {:?}",
            error.error_code(),
            error.reason(),
            error.message(),
            error.details(),
            error.violations()
        ),
    }
}

pub async fn the_header_opens_nothing_and_keys_stay_apart(world: &World, callers: &[Principal]) {
    for caller in callers.iter().filter(|caller| {
        !caller.name.starts_with("staff") && !matches!(caller.credential, Credential::None)
    }) {
        for target in [
            "/v1/me",
            "/v1/niches/software-catalog/packages/records",
            "/v1/tenants",
        ] {
            let named = world
                .http(
                    &caller.naming(&world.b.tenant_id.to_string()),
                    HttpRequest::get(target),
                )
                .await;
            let nothing = world
                .http(
                    &caller.naming(&missing("tenant", "")),
                    HttpRequest::get(target),
                )
                .await;
            assert_eq!(
                named.fingerprint(),
                nothing.fingerprint(),
                "{target} as {}",
                caller.name
            );
            assert!(
                named.status == 400 || named.status == 401,
                "{target} as {}: {}",
                caller.name,
                named.body
            );
            let own = world
                .http(
                    &caller.naming(&world.a.tenant_id.to_string()),
                    HttpRequest::get(target),
                )
                .await;
            let bare = world.http(caller, HttpRequest::get(target)).await;
            let is_bound = !matches!(caller.name.as_str(), "tenantless" | "suspended-tenant");
            assert_eq!(
                own.status == bare.status,
                is_bound,
                "{target} as {} naming their own tenant: {}",
                caller.name,
                own.body
            );
        }
    }
    idempotency_keys_stay_apart(world).await;
}

/// One person in two tenants, one key, one body: three effects where there are three scopes, and a replay only within one.
async fn idempotency_keys_stay_apart(world: &World) {
    let both = world.member_of(world.a.tenant_id, &["analyst"]).await;
    world.join(both, world.b.tenant_id, &["analyst"]).await;
    let in_b = world.principal("in B", both, Some(world.b.tenant_id)).await;
    let in_a = world.principal("in A", both, Some(world.a.tenant_id)).await;
    let colleague = world.member_of(world.a.tenant_id, &["analyst"]).await;
    let colleague = world
        .principal("colleague", colleague, Some(world.a.tenant_id))
        .await;
    let body = json!({"data": {"section": "video", "name": "keyed"}});
    let target = "/v1/niches/software-catalog/packages/records";
    let request = HttpRequest::post(target, &body).with("idempotency-key", "one-key-for-all");
    let theirs = world.http(&in_b, request.clone()).await;
    let ours = world.http(&in_a, request.clone()).await;
    for (answer, who) in [(&theirs, "B"), (&ours, "A")] {
        assert_eq!(answer.status, 201, "{who}: {}", answer.body);
        assert!(
            !answer.headers.contains_key("idempotency-replayed"),
            "{who}"
        );
    }
    assert_ne!(theirs.json()["data"]["id"], ours.json()["data"]["id"]);
    let again = world.http(&in_a, request.clone()).await;
    assert_eq!(
        again
            .headers
            .get("idempotency-replayed")
            .map(|value| value.as_bytes()),
        Some(&b"true"[..])
    );
    assert_eq!(again.json(), ours.json());
    // A colleague's key is another key: the name is taken by then, and that is the answer.
    let another = world.http(&colleague, request).await;
    assert_eq!(
        (another.status, another.code().as_str()),
        (409, "DUPLICATE_RESOURCE"),
        "{}",
        another.body
    );
}
