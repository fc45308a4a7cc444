//! Requests made from the published description, sound ones and damaged ones, against the running platform: every answer is one that
//! the description has, with the body that it says.

mod plan;

use std::collections::BTreeMap;

use campaign::Extent;
use jsonschema::Validator;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::input::stage::{House, Stage};

use plan::Plan;

/// Whoever asks, by name.
type Caller<'a> = (&'static str, Option<&'a str>);

/// The published description and validators for what its operations answer.
struct Contract {
    document: Value,
    validators: BTreeMap<String, Validator>,
}

/// An operation of the description.
struct Operation<'d> {
    method: Method,
    path: &'d str,
    described: &'d Value,
}

impl Contract {
    fn published() -> Self {
        let document: Value = serde_json::from_str(gateway::openapi::COMMITTED).unwrap();
        let mut contract = Self {
            document,
            validators: BTreeMap::new(),
        };
        let mut validators = BTreeMap::new();
        for operation in contract.operations() {
            for (status, response) in operation.described["responses"].as_object().unwrap() {
                for (media_type, media) in contract.resolve(response)["content"]
                    .as_object()
                    .into_iter()
                    .flatten()
                {
                    let id = format!("{}-{status}-{media_type}", operation.id());
                    validators.insert(id, contract.validator(&media["schema"]));
                }
            }
        }
        contract.validators = validators;
        contract
    }

    fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, verbs)| {
                verbs
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(move |(verb, described)| Operation {
                        method: verb.to_uppercase().parse().unwrap(),
                        path,
                        described,
                    })
            })
            .collect()
    }

    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// Members that the description does not have are refused too: an answer tells nothing that nobody decided to tell.
    fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        close(&mut root);
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&root)
            .unwrap()
    }

    /// A value that the schema admits; `turn` chooses among several.
    fn value(&self, schema: &Value, turn: usize) -> Value {
        let schema = self.resolve(schema);
        let pick = |list: &Value| {
            list.as_array()
                .and_then(|list| list.get(turn % list.len().max(1)))
                .cloned()
        };
        if let Some(value) = pick(&schema["examples"]).or_else(|| pick(&schema["enum"])) {
            return value;
        }
        if let Some(first) = schema["anyOf"].get(0) {
            return self.value(first, turn);
        }
        match schema["type"].as_str() {
            Some("integer" | "number") => schema["minimum"]
                .as_i64()
                .map_or(json!(turn), |least| json!(least)),
            Some("boolean") => json!(turn.is_multiple_of(2)),
            Some("array") => json!([self.value(&schema["items"], turn)]),
            Some("object") => {
                let mut object = Map::new();
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    object.insert(name.clone(), self.value(inner, turn));
                }
                object.into()
            }
            _ => text(schema, turn).into(),
        }
    }
}

fn text(schema: &Value, turn: usize) -> String {
    match schema["format"].as_str() {
        Some("uuid") => format!("0198c2f0-6f1e-7c3a-9d55-3f1f6f1c{turn:04x}"),
        Some("date-time") => "2026-01-31T12:00:00Z".to_owned(),
        Some("email") => format!("somebody-{turn}@example.com"),
        _ => {
            let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(1)).unwrap();
            "a".repeat(least.max(1))
        }
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("type") == Some(&"object".into())
                && object.contains_key("properties")
                && !object.contains_key("additionalProperties")
            {
                object.insert("additionalProperties".to_owned(), false.into());
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

impl Operation<'_> {
    fn id(&self) -> &str {
        self.described["operationId"].as_str().unwrap()
    }

    /// The media types of the body.
    fn bodies(&self) -> Vec<(&String, &Value)> {
        self.described["requestBody"]["content"]
            .as_object()
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Contract {
    /// What is wrong with the answer to a request.
    async fn objection(
        &self,
        operation: &Operation<'_>,
        request: RequestBuilder,
    ) -> Option<String> {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let what = format!(
            "{} {} {:?}",
            operation.id(),
            request.url(),
            request
                .body()
                .and_then(|body| body.as_bytes())
                .map(String::from_utf8_lossy)
        );
        let response = client.execute(request).await.unwrap();
        let status = response.status().as_u16();
        let media_type = response
            .headers()
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        if status >= 500
            || operation.described["responses"]
                .get(status.to_string())
                .is_none()
        {
            return Some(format!(
                "{what}: the status {status}: {}",
                response.text().await.unwrap()
            ));
        }
        if media_type == "text/event-stream" {
            return None;
        }
        let text = response.text().await.unwrap();
        let id = format!("{}-{status}-{media_type}", operation.id());
        match (self.validators.get(&id), text.is_empty()) {
            (None, true) => None,
            (None, false) => Some(format!("{what}: {status} with {media_type}: {text}")),
            (Some(validator), _) => {
                let body: Value = serde_json::from_str(&text).unwrap();
                let error = validator.iter_errors(&body).next()?;
                Some(format!(
                    "{what}: {status} at {}: {error}",
                    error.instance_path()
                ))
            }
        }
    }
}

fn known(house: &House) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("niche", "software-catalog".to_owned()),
        ("entity", "packages".to_owned()),
        ("kitKey", "software-catalog".to_owned()),
        ("recordId", house.record_id.clone()),
        ("importId", house.import_id.clone()),
        ("tenantId", house.tenant_id.clone()),
        ("X-Tenant-Id", house.tenant_id.clone()),
        ("mapping", "debian-packages".to_owned()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_in_the_published_contract() {
    let extent = Extent::of_this_run();
    let stage = Stage::start(&[]).await;
    let contract = Contract::published();
    let (house, staff) = (stage.house("Ana").await, stage.staff_token().await);
    let known = known(&house);
    let http = reqwest::Client::builder().build().unwrap();
    let callers: [Caller<'_>; 3] = [
        ("owner", Some(&house.token)),
        ("staff", Some(&staff)),
        ("nobody", None),
    ];
    let mut objections = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for turn in 0..extent.pick(1, 12) {
        for operation in contract.operations() {
            // These would end what the other requests need; a tenant and a session of their own is what schemathesis has for them.
            if matches!(operation.id(), "Session_Logout" | "Tenant_SuspendTenant") {
                continue;
            }
            let sound = Plan::sound(&contract, &operation, &known, turn);
            for (who, token) in callers {
                let plans = match who {
                    "nobody" => vec![sound.clone()],
                    _ => [vec![sound.clone()], sound.damaged(turn)].concat(),
                };
                for plan in plans {
                    let mut request = plan.request(&http, &stage.platform.base_url, &operation);
                    if let Some(token) = token {
                        request = request.bearer_auth(token);
                    }
                    *counts.entry(who).or_default() += 1;
                    objections.extend(contract.objection(&operation, request).await);
                }
            }
        }
    }
    for (who, count) in counts {
        extent.tell(who, format!("{count} requests"));
    }
    objections.truncate(20);
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    stage.platform.stop().await;
}
