//! What stands in Redis belongs to a tenant or to a listed space, and no answer comes from another tenant's.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;

use futures::StreamExt as _;
use kernel::TenantId;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::wire::HttpRequest;
use super::world::{SHARED_WORD, World, patiently};

pub async fn each_tenant_gets_its_own_answer_and_every_key_names_its_tenant(world: &World) {
    let seen: Mutex<BTreeSet<String>> = Mutex::default();
    let asking = async {
        each_tenant_gets_its_own_answer(world).await;
        // What was counted in the gateway is told within seconds.
        patiently("both people and both tenants are counted", || async {
            (seen.lock().unwrap().len() >= 4).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = watch(world, &seen) => panic!("Redis stopped telling what it is asked"),
        () = asking => {}
    }
    let keys = seen.into_inner().unwrap();
    let foreign: Vec<&String> = keys.iter().filter(|key| !is_scoped(key)).collect();
    assert!(
        foreign.is_empty(),
        "keys without a tenant and outside of `Keys::GLOBAL_SPACES`: {foreign:?}"
    );
    campaign::Extent::of_this_run().tell("keys in Redis", keys.len());
}

async fn each_tenant_gets_its_own_answer(world: &World) {
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

    campaign::Extent::of_this_run().tell("questions asked by both tenants", asked);
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

/// Notes every key of this platform that Redis is asked for, without the prefix that tells tests apart. Most live for milliseconds, so looking at
/// what is there would miss them.
async fn watch(world: &World, seen: &Mutex<BTreeSet<String>>) {
    let client = redis::Client::open(world.redis.url.expose_secret()).unwrap();
    let monitor = client.get_async_monitor().await.unwrap();
    let mut lines = pin!(monitor.into_on_message::<String>());
    while let Some(line) = lines.next().await {
        // Each argument stands in quotation marks.
        let keys = line
            .split('"')
            .filter_map(|part| part.strip_prefix(&world.redis.prefix));
        seen.lock().unwrap().extend(keys.map(str::to_owned));
    }
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
