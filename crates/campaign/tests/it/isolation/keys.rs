//! What stands in Redis belongs to a tenant or to a listed space, and no answer comes from another tenant's.

use kernel::TenantId;
use redis::AsyncCommands as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::wire::HttpRequest;
use super::world::{SHARED_WORD, World};

pub async fn each_tenant_gets_its_own_answer_and_every_key_names_its_tenant(world: &World) {
    let a = world
        .principal("A", world.a.owner, Some(world.a.tenant_id))
        .await;
    let b = world
        .principal("B", world.b.owner, Some(world.b.tenant_id))
        .await;
    let mut asked = 0;
    for request in questions(world).await {
        // In both orders: whoever comes second must not get what is left of the first.
        let first = world.http(&a, request.clone()).await;
        let second = world.http(&b, request.clone()).await;
        let third = world.http(&a, request.clone()).await;
        asked += 1;
        assert_eq!(
            first.json()["data"],
            third.json()["data"],
            "{}",
            request.target
        );
        for (answer, other) in [(&first, &world.b), (&second, &world.a)] {
            for id in [
                other.tenant_id.to_string(),
                other.owner.to_string(),
                other.record.clone(),
                other.import.clone(),
            ] {
                assert!(
                    !answer.body.contains(&id),
                    "{} has {id} of the other tenant: {}",
                    request.target,
                    answer.body
                );
            }
        }
    }
    let search = |answer: &Value| -> Vec<String> {
        answer["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["title"].as_str().unwrap().to_owned())
            .collect()
    };
    let question = json!({"query": SHARED_WORD, "limit": 100});
    let (ours, theirs) = (
        world.post(&a, "/v1/search", question.clone()).await,
        world.post(&b, "/v1/search", question).await,
    );
    assert!(
        search(&ours).len() > 2 && search(&ours).iter().all(|title| title.starts_with("alpha")),
        "{ours}"
    );
    assert!(
        search(&theirs).len() > 2
            && search(&theirs)
                .iter()
                .all(|title| title.starts_with("bruma")),
        "{theirs}"
    );

    let keys = keys_of(world).await;
    assert!(!keys.is_empty(), "rate limits at least are in Redis");
    let foreign: Vec<&String> = keys.iter().filter(|key| !is_scoped(key)).collect();
    assert!(
        foreign.is_empty(),
        "keys without a tenant and outside of `Keys::GLOBAL_SPACES`: {foreign:?}"
    );
    campaign::Extent::of_this_run().tell("questions asked by both tenants", asked);
    campaign::Extent::of_this_run().tell("keys in Redis", keys.len());
}

/// Every read of the contract that can be asked in the same words in both tenants.
async fn questions(world: &World) -> Vec<HttpRequest> {
    let mut questions = Vec::new();
    for method in methods().into_iter().filter(Method::is_public) {
        let is_read =
            method.policy.http[0].verb == "GET" || method.name() == "SearchService/Search";
        let is_about_one = method.fixture.request.to_string().contains('{')
            && method.fixture.request.to_string().contains("\"{");
        let is_platform = method.policy.access == proto::policy::Access::Platform;
        if is_read && !is_about_one && !is_platform {
            questions.push(HttpRequest::of(
                &method,
                &world.fill(&method.fixture.request, &world.a).await,
            ));
        }
    }
    questions
}

/// The keys of this platform, without the prefix that tells tests apart.
async fn keys_of(world: &World) -> Vec<String> {
    let client = redis::Client::open(world.redis.url.expose_secret()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}*", world.redis.prefix);
    let mut found: Vec<String> = Vec::new();
    let mut keys = connection.scan_match::<_, String>(&pattern).await.unwrap();
    while let Some(key) = keys.next_item().await {
        found.push(key.unwrap()[world.redis.prefix.len()..].to_owned());
    }
    found
}

fn is_scoped(key: &str) -> bool {
    if cache::Keys::GLOBAL_SPACES
        .iter()
        .any(|space| key.starts_with(space))
    {
        return true;
    }
    let tenant = key.strip_prefix("t:").and_then(|rest| rest.split_once(':'));
    tenant.is_some_and(|(tenant, _)| tenant.parse::<TenantId>().is_ok())
}
