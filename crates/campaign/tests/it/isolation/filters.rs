//! No parameter of a list reaches beyond the tenant: unknown ones are refused, known ones only narrow.

use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::people::Principal;
use super::wire::{HttpRequest, escaped};
use super::world::World;

/// What a careless list might take for a wider question.
const UNKNOWN: [&str; 10] = [
    "tenantId",
    "tenant_id",
    "tenant",
    "tenantIds",
    "filter[tenantId]",
    "where",
    "$filter",
    "allTenants",
    "scope",
    "facet[]",
];

pub async fn they_narrow_and_never_widen(world: &World) {
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let b = world.b.tenant_id.to_string();
    let mut asked = 0;
    let is_ours =
        |list: &Method| list.is_list() && list.policy.access != proto::policy::Access::Platform;
    for list in methods().into_iter().filter(is_ours) {
        let mut message = world.fill(&list.fixture.request, &world.a).await;
        message["limit"] = json!(100);
        let all = ids_of(world, &list, &owner, &message).await;
        assert!(!all.is_empty(), "{}", list.name());
        let plain = HttpRequest::of(&list, &message);
        for parameter in UNKNOWN {
            let target = format!("{}&{}={b}", plain.target, escaped(parameter));
            let answer = world
                .http(
                    &owner,
                    HttpRequest {
                        target,
                        ..plain.clone()
                    },
                )
                .await;
            assert_eq!(
                answer.status,
                400,
                "{} with {parameter}: {}",
                list.name(),
                answer.body
            );
            asked += 1;
        }
        for (parameter, value) in narrowings(&b) {
            if list
                .descriptor
                .input()
                .get_field_by_json_name(parameter)
                .is_some()
            {
                let target = format!("{}&{parameter}={}", plain.target, escaped(&value));
                let at = format!("{} with {parameter}={value}", list.name());
                shows_no_more(
                    world,
                    &owner,
                    (
                        HttpRequest {
                            target,
                            ..plain.clone()
                        },
                        &at,
                    ),
                    &all,
                )
                .await;
                asked += 1;
            }
        }
    }
    campaign::Extent::of_this_run().tell("parameters tried on lists", asked);
}

async fn shows_no_more(
    world: &World,
    who: &Principal,
    (request, at): (HttpRequest, &str),
    all: &[String],
) {
    let answer = world.http(who, request).await;
    match answer.status {
        200 => {
            let body = answer.json();
            let mut some = body["data"].as_array().unwrap().iter().map(identity);
            assert!(
                some.all(|id| all.contains(&id)),
                "{at} shows more: {}",
                answer.body
            );
        }
        400 => {}
        _ => panic!("{at}: {}", answer.body),
    }
}

/// Values that a careless query would take as more than a value.
fn narrowings(b: &str) -> Vec<(&'static str, String)> {
    let mut tried = Vec::new();
    for parameter in [
        "q",
        "sort",
        "status",
        "facet",
        "actor",
        "action",
        "entityType",
        "createdAtFrom",
        "createdAtTo",
        "cursor",
    ] {
        for value in [
            b.to_owned(),
            format!("' or tenant_id = '{b}"),
            format!("tenant_id:{b}"),
            format!("tenantId:{b}"),
            "%".to_owned(),
            "*".to_owned(),
            "section:video' or '1'='1".to_owned(),
            "created_at:desc, (select 1)".to_owned(),
            "1970-01-01T00:00:00Z".to_owned(),
            "2999-12-31T23:59:59Z".to_owned(),
        ] {
            tried.push((parameter, value));
        }
    }
    tried
}

async fn ids_of(world: &World, list: &Method, who: &Principal, message: &Value) -> Vec<String> {
    let answer = world.http(who, HttpRequest::of(list, message)).await;
    assert_eq!(answer.status, 200, "{}: {}", list.name(), answer.body);
    answer.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(identity)
        .collect()
}

/// What makes a row of a list that row: its id or key, or all of it.
fn identity(row: &Value) -> String {
    let id = row.get("id").or_else(|| row.get("key"));
    id.map_or_else(|| row.to_string(), Value::to_string)
}
