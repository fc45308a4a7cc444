//! A word in every text of tenant B appears in nothing that A gets, and in nothing that the platform tells of itself.

use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::people::Principal;
use super::wire::{HttpRequest, escaped};
use super::witness;
use super::world::{SHARED_WORD, World};

/// In every text of tenant B and of the suspended tenant, and nowhere else in this process.
const CANARY: &str = "qzcanary";

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_another_tenant_is_in_answers_lines_spans_or_metrics() {
    let is_listening = witness::listen();
    let start = witness::mark();
    let world = World::start_with(CANARY).await;
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let both = world.member_of(world.a.tenant_id, &["admin"]).await;
    world.join(both, world.b.tenant_id, &["owner"]).await;
    let both = world
        .principal("admin+B-owner", both, Some(world.a.tenant_id))
        .await;
    let staff = world
        .principal("staff-in-A", world.staff, None)
        .await
        .naming(&world.a.tenant_id.to_string());
    let requests = requests(&world).await;
    let mut answers = 0;
    for caller in [&owner, &both, &staff] {
        for request in &requests {
            let answer = world.http(caller, request.clone()).await;
            answers += 1;
            // Who belongs to both sees the names of both in the list of their own memberships; staff sees the directory of tenants.
            if may_see_names(caller, request) {
                continue;
            }
            assert!(answer.status < 500, "{}: {}", request.target, answer.body);
            assert!(
                !reveals(&answer.body),
                "{} as {} reveals B: {}",
                request.target,
                caller.name,
                answer.body
            );
            let headers = format!("{:?}", answer.headers);
            assert!(
                !reveals(&headers),
                "{} as {} reveals B: {headers}",
                request.target,
                caller.name
            );
        }
    }
    let metrics = world.platform.process.metrics.render();
    assert!(
        metrics.contains("http_server_request_duration"),
        "nothing was measured"
    );
    assert!(!reveals(&metrics), "a metric reveals B");
    for hidden in [world.a.email.as_str(), campaign::ADMIN_PASSWORD] {
        assert!(!metrics.contains(hidden), "a metric has {hidden}");
    }
    if is_listening {
        let heard = witness::since(start);
        assert!(
            heard.contains("span rpc") && heard.contains("gateway"),
            "nothing was heard"
        );
        silent_about(&heard, &world);
        campaign::Extent::of_this_run().tell("lines and spans heard", heard.lines().count());
    }
    campaign::Extent::of_this_run().tell("answers without a word of B", answers);
    world.platform.stop().await;
}

fn reveals(text: &str) -> bool {
    text.to_lowercase().contains(CANARY)
}

fn may_see_names(caller: &Principal, request: &HttpRequest) -> bool {
    let names = ["/v1/me", "/v1/tenants", "/v1/auth/"];
    caller.name != "owner" && names.iter().any(|start| request.target.starts_with(start))
}

/// Neither a word of B, nor a secret or an address of anybody.
fn silent_about(heard: &str, world: &World) {
    let secrets = [
        CANARY,
        world.a.email.as_str(),
        campaign::ADMIN_PASSWORD,
        "correct horse battery",
        "Bearer ey",
        "eyJhbGciOi",
    ];
    for line in heard.lines() {
        // Lines of other tests in this process are about other worlds; what they must not say is the same.
        for secret in secrets {
            assert!(
                !line.to_lowercase().contains(&secret.to_lowercase()),
                "a line or span tells {secret}: {line}"
            );
        }
    }
}

/// Each method as its fixture has it, and each read with everything that could make it look further than it may.
async fn requests(world: &World) -> Vec<HttpRequest> {
    let mut requests = Vec::new();
    for method in methods()
        .into_iter()
        .filter(|method| method.is_public() && !method.fixture.ends_session)
    {
        let message = world.fill(&method.fixture.request, &world.a).await;
        requests.push(HttpRequest::of(&method, &message));
        for variation in variations(world, &method, &message) {
            requests.push(HttpRequest::of(&method, &variation));
        }
    }
    let words = [
        SHARED_WORD,
        CANARY,
        "qzcanary-b",
        "qzcanary-b-0",
        "zanzibar films",
        "Beta",
        "%",
        "_",
        "*",
        "a OR b",
        "video",
    ];
    for word in words {
        for mode in ["hybrid", "keyword", "vector"] {
            requests.push(HttpRequest::post(
                "/v1/search",
                &json!({"query": word, "mode": mode, "limit": 100}),
            ));
        }
        requests.push(HttpRequest::get(&format!(
            "/v1/tenants?limit=100&q={}",
            escaped(word)
        )));
    }
    // A key that only B has taken is free for A, so no answer tells that it is taken.
    requests.push(HttpRequest::post(
        "/v1/niches/software-catalog/packages/records",
        &json!({"data": {"name": "taken-by-nobody-here"}}),
    ));
    requests
}

/// The same read with the widest limit, each order and status, a facet, and ids of B in its filters.
fn variations(world: &World, method: &Method, message: &Value) -> Vec<Value> {
    if method.policy.http[0].verb != "GET" {
        return Vec::new();
    }
    let mut variations = Vec::new();
    let mut vary = |member: &str, value: Value| {
        if method
            .descriptor
            .input()
            .get_field_by_json_name(member)
            .is_some()
        {
            let mut copy = message.clone();
            if copy.get("limit").is_some() {
                copy["limit"] = json!(100);
            }
            copy[member] = value;
            variations.push(copy);
        }
    };
    vary("limit", json!(100));
    for sort in ["created_at:asc", "created_at:desc"] {
        vary("sort", json!(sort));
    }
    for status in ["active", "suspended", "succeeded", "failed", "queued"] {
        vary("status", json!(status));
    }
    for facet in ["section:video", "section:qzcanary"] {
        vary("facet", json!([facet]));
    }
    vary("actor", json!(world.b.owner.to_string()));
    vary("actor", json!(world.staff.to_string()));
    for action in [
        "records.create",
        "tenants.create",
        "tenants.suspend",
        "memberships.create",
        "imports.create",
    ] {
        vary("action", json!(action));
    }
    vary("entityType", json!("tenant"));
    vary("createdAtFrom", json!("1970-01-01T00:00:00Z"));
    vary("createdAtTo", json!("2999-01-01T00:00:00Z"));
    for (place, kind) in &method.fixture.ids {
        vary(place, json!(world.b.id_of(kind)));
    }
    variations
}
