//! Members that a client must not set are refused by name in every object of every body, and nothing is stored.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::contract::{Method, methods};
use super::people::Principal;
use super::wire::{HttpRequest, escaped};
use super::world::World;

/// What attackers add to bodies, in both spellings.
const MEMBERS: [&str; 20] = [
    "tenantId",
    "tenant_id",
    "id",
    "role",
    "roles",
    "status",
    "plan",
    "packageKeys",
    "createdAt",
    "created_at",
    "updatedAt",
    "updated_at",
    "version",
    "isAdmin",
    "is_admin",
    "deletedAt",
    "deleted_at",
    "platformRole",
    "permissions",
    "__proto__",
];

pub async fn members_that_a_client_must_not_set_are_refused_by_name(world: &World) {
    let owner = world
        .principal("owner", world.a.owner, Some(world.a.tenant_id))
        .await;
    let staff = world.principal("staff", world.staff, None).await;
    let nobody = Principal::nobody();
    let form = fields_of_the_form(world, &owner).await;
    let mut attempts = Vec::new();
    for method in methods().into_iter().filter(Method::is_public) {
        let message = world.fill(&method.fixture.request, &world.a).await;
        let caller = match method.policy.access {
            proto::policy::Access::Public => &nobody,
            proto::policy::Access::Platform => &staff,
            _ => &owner,
        };
        attempts.extend(
            attempts_at(&method, &message, &form)
                .into_iter()
                .map(|attempt| (method.clone(), caller, attempt)),
        );
    }
    world.rest().await;
    let before = world.digests(None).await;
    for (method, caller, (request, path)) in &attempts {
        let answer = world.http(caller, request.clone()).await;
        let at = format!("{} with {path}", method.name());
        assert_eq!(answer.status, 400, "{at}: {}", answer.body);
        let fields = answer.json()["error"]["details"]["fields"].clone();
        let is_named = fields
            .as_array()
            .is_some_and(|fields| fields.iter().any(|field| field["field"] == path.as_str()));
        assert!(is_named, "{at} is not named: {}", answer.body);
    }
    world.rest().await;
    world
        .assert_unchanged(None, &before, "refused requests")
        .await;
    campaign::Extent::of_this_run().tell("members refused by name", attempts.len());
}

/// One request for each member in each object of the body and in the query, with the path by which the answer must name it.
fn attempts_at(method: &Method, message: &Value, form: &[String]) -> Vec<(HttpRequest, String)> {
    let plain = HttpRequest::of(method, message);
    let mut attempts = Vec::new();
    let input = method.descriptor.input();
    for member in MEMBERS
        .iter()
        .filter(|member| !declares(&input, member) || method.policy.http[0].body == "*")
    {
        let separator = if plain.target.contains('?') { '&' } else { '?' };
        let target = format!("{}{separator}{}=1", plain.target, escaped(member));
        attempts.push((
            HttpRequest {
                target,
                ..plain.clone()
            },
            (*member).to_owned(),
        ));
    }
    let Some((media_type, bytes)) = plain
        .body
        .as_ref()
        .filter(|(media_type, _)| media_type == "application/json")
    else {
        return attempts;
    };
    let body: Value = serde_json::from_slice(bytes).unwrap();
    let bound: Vec<String> = input
        .fields()
        .map(|field| field.json_name().to_owned())
        .filter(|name| body.get(name).is_none() && message.get(name).is_some())
        .collect();
    let mut injected = Vec::new();
    inject(&body, &Shape::Message(input), "", form, &mut injected);
    for name in bound {
        let mut copy = body.clone();
        copy[name.as_str()] = message[name.as_str()].clone();
        injected.push((copy, name));
    }
    for (body, path) in injected {
        let request = HttpRequest {
            body: Some((media_type.clone(), body.to_string().into_bytes())),
            ..plain.clone()
        };
        attempts.push((request, path));
    }
    attempts
}

/// The fields that the niche's form declares: a client may set these, whatever they are called.
async fn fields_of_the_form(world: &World, owner: &Principal) -> Vec<String> {
    let config = world.get(owner, "/v1/niches/software-catalog/config").await;
    let properties = config["data"]["entities"][0]["schema"]["properties"]
        .as_object()
        .unwrap()
        .clone();
    properties.into_iter().map(|(name, _)| name).collect()
}

/// What declares the members of an object.
enum Shape {
    Message(MessageDescriptor),
    /// The form of a niche.
    Form,
}

impl Shape {
    fn declares(&self, member: &str, form: &[String]) -> bool {
        match self {
            Self::Message(message) => declares(message, member),
            Self::Form => form.iter().any(|field| field == member),
        }
    }
}

fn declares(message: &MessageDescriptor, member: &str) -> bool {
    message
        .fields()
        .any(|field| field.json_name() == member || field.name() == member)
}

/// Copies of an object with one member more, at any depth.
fn inject(
    object: &Value,
    shape: &Shape,
    path: &str,
    form: &[String],
    found: &mut Vec<(Value, String)>,
) {
    for member in MEMBERS
        .iter()
        .filter(|member| !shape.declares(member, form))
    {
        let mut copy = object.clone();
        copy[*member] = json!("1");
        found.push((copy, format!("{path}{member}")));
    }
    let Shape::Message(message) = shape else {
        return;
    };
    for field in message.fields() {
        let Kind::Message(inner) = field.kind() else {
            continue;
        };
        let name = field.json_name();
        let declared = match inner.full_name() {
            "google.protobuf.Struct" => Shape::Form,
            other if other.starts_with("google.") => continue,
            _ => Shape::Message(inner.clone()),
        };
        let part = match object.get(name) {
            Some(Value::Array(items)) => items[0].clone(),
            Some(part) => part.clone(),
            None => json!({}),
        };
        let place = if field.is_list() {
            format!("{path}{name}[0].")
        } else {
            format!("{path}{name}.")
        };
        let mut parts = Vec::new();
        inject(&part, &declared, &place, form, &mut parts);
        for (part, place) in parts {
            let mut copy = object.clone();
            copy[name] = if field.is_list() { json!([part]) } else { part };
            found.push((copy, place));
        }
    }
}
