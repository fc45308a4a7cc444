//! Requests made from the description, and how they are damaged.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{Contract, Operation};

/// A request in parts, so that one part can be damaged.
#[derive(Clone)]
pub struct Plan {
    path: BTreeMap<String, String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    media_type: String,
    body: Vec<u8>,
}

/// What takes the place of a part.
const DAMAGES: [&str; 12] = [
    "",
    " ",
    "null",
    "-1",
    "%00",
    "' or 1=1 --",
    "\u{1F600}",
    "99999999999999999999",
    "../../etc",
    "{{7*7}}",
    "a,b,,c",
    "1e400",
];

impl Plan {
    pub fn sound(
        contract: &Contract,
        operation: &Operation<'_>,
        known: &BTreeMap<&str, String>,
        turn: usize,
    ) -> Self {
        let mut plan = Self {
            path: BTreeMap::new(),
            query: Vec::new(),
            headers: Vec::new(),
            media_type: String::new(),
            body: Vec::new(),
        };
        for parameter in operation.described["parameters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let parameter = contract.resolve(parameter);
            let name = parameter["name"].as_str().unwrap();
            let value = known
                .get(name)
                .cloned()
                .unwrap_or_else(|| plain(&contract.value(&parameter["schema"], turn)));
            match parameter["in"].as_str().unwrap() {
                "path" => drop(plan.path.insert(name.to_owned(), value)),
                "query" if name != "cursor" && turn.is_multiple_of(2) => {
                    plan.query.push((name.to_owned(), value))
                }
                "header" if turn.is_multiple_of(3) => plan.headers.push((name.to_owned(), value)),
                _ => {}
            }
        }
        let bodies = operation.bodies();
        if let Some((media_type, media)) = bodies.get(turn % bodies.len().max(1)) {
            plan.media_type = (*media_type).clone();
            plan.body = match media.get("example") {
                Some(example) if turn == 0 => example.to_string().into_bytes(),
                _ if media_type.contains("json") => contract
                    .value(&media["schema"], turn)
                    .to_string()
                    .into_bytes(),
                _ => b"Package,Section\nmpv,video\n".to_vec(),
            };
        }
        plan
    }

    /// The plans that differ from this one in one damaged part.
    pub fn damaged(&self, turn: usize) -> Vec<Self> {
        let damage = |n: usize| DAMAGES[(turn + n) % DAMAGES.len()].to_owned();
        let mut plans = Vec::new();
        let mut change = |apply: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            apply(&mut plan);
            plans.push(plan);
        };
        for (n, name) in self.path.keys().enumerate() {
            change(&|plan| drop(plan.path.insert(name.clone(), damage(n))));
        }
        for n in 0..self.query.len() {
            change(&|plan| plan.query[n].1 = damage(n));
            change(&|plan| plan.query.push(self.query[n].clone()));
        }
        for n in 0..self.headers.len() {
            change(&|plan| plan.headers[n].1 = "damage".to_owned());
        }
        change(&|plan| plan.query.push(("unknown".to_owned(), damage(1))));
        if self.body.is_empty() {
            change(&|plan| plan.body = b"{}".to_vec());
            return plans;
        }
        change(&|plan| plan.media_type = "text/html".to_owned());
        change(&|plan| plan.body.truncate(plan.body.len() / 2));
        change(&|plan| plan.body = damage(2).into_bytes());
        let Ok(Value::Object(members)) = serde_json::from_slice(&self.body) else {
            return plans;
        };
        for (n, name) in members.keys().enumerate() {
            for value in [
                json!(damage(n)),
                json!(null),
                json!([[]]),
                json!({"a": {}}),
                json!(-1.5),
                json!(true),
            ] {
                let mut members = members.clone();
                members.insert(name.clone(), value);
                change(&|plan| plan.body = Value::from(members.clone()).to_string().into_bytes());
            }
            let mut fewer = members.clone();
            fewer.remove(name);
            change(&|plan| plan.body = Value::from(fewer.clone()).to_string().into_bytes());
        }
        plans
    }

    pub fn request(
        &self,
        http: &reqwest::Client,
        base_url: &str,
        operation: &Operation<'_>,
    ) -> RequestBuilder {
        let mut url = reqwest::Url::parse(base_url).unwrap();
        {
            let mut segments = url.path_segments_mut().unwrap();
            segments.clear();
            for segment in operation.path.split('/').skip(1) {
                let name = segment.trim_matches(['{', '}']);
                let text = self.path.get(name).map_or(segment, String::as_str);
                // A path of dots is another path already on the way.
                segments.push(if matches!(text, "." | ".." | "../../etc") {
                    "%2e"
                } else {
                    text
                });
            }
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut request = http.request(operation.method.clone(), url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !self.body.is_empty() {
            request = request
                .header("content-type", &self.media_type)
                .body(self.body.clone());
        }
        request
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
