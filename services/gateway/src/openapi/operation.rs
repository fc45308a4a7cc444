//! Methods as operations.

use prost_reflect::{Kind, MessageDescriptor};
use proto::policy::{Access, Idempotency, Rate};
use serde_json::{Map, Value, json};

use super::schema::{Schemas, Side};
use super::{examples, limit_sentence, rules, texts};
use crate::routes::{Answer, BodyRule, Method, Table, Verb};
use crate::transcode::query::takes_text;

/// The path with the names of JSON: `/v1/tenants/{tenantId}`.
pub fn path(method: &Method) -> String {
    let request = method.descriptor.input();
    let segments = method.template.split('/').map(|segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match name.and_then(|name| request.get_field_by_name(name)) {
            Some(field) => format!("{{{}}}", field.json_name()),
            None => segment.to_owned(),
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// `Session` for `auth.v1.SessionService`.
pub fn tag(method: &Method) -> String {
    let service = method.descriptor.parent_service();
    service
        .name()
        .strip_suffix("Service")
        .unwrap_or(service.name())
        .to_owned()
}

/// Describes one method.
pub fn describe(table: &Table, method: &Method, schemas: &mut Schemas) -> Value {
    let policy = method.policy;
    let comment = texts::of(&method.descriptor.parent_file(), method.descriptor.path());
    let mut operation = Map::new();
    operation.insert(
        "operationId".to_owned(),
        format!("{}_{}", tag(method), method.descriptor.name()).into(),
    );
    operation.insert("tags".to_owned(), json!([tag(method)]));
    operation.insert(
        "summary".to_owned(),
        comment.summary.trim_end_matches('.').into(),
    );
    operation.insert(
        "description".to_owned(),
        description(method, &comment.description).into(),
    );
    let parameters = parameters(table, method, schemas);
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = request_body(table, method, schemas) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation.insert("responses".to_owned(), responses(method, schemas).into());
    if policy.access == Access::Public {
        operation.insert("security".to_owned(), json!([]));
    }
    if let Some(action) = policy.permission {
        operation.insert("x-tool-action".to_owned(), action.into());
    }
    if let Some(meter) = policy.meter {
        operation.insert("x-meter".to_owned(), meter.into());
    }
    operation.insert(
        "x-access".to_owned(),
        format!("{:?}", policy.access).to_lowercase().into(),
    );
    operation.insert("x-rate-limit".to_owned(), rate_limit(policy.rate));
    operation.insert("x-audited".to_owned(), policy.audited.into());
    Value::Object(operation)
}

fn rate_limit(rate: Rate) -> Value {
    match crate::limits::figures(rate) {
        Some((name, requests, seconds)) => {
            json!({"class": name, "requests": requests, "seconds": seconds})
        }
        None => json!({"class": "unlimited"}),
    }
}

fn description(method: &Method, own: &str) -> String {
    let policy = method.policy;
    let who = match policy.access {
        Access::Public => "Needs no credential.".to_owned(),
        Access::SignedIn => "Needs any credential.".to_owned(),
        Access::Permission => {
            let staff = if policy.platform_too {
                ", or platform staff"
            } else {
                ""
            };
            format!(
                "Needs the permission `{}` in the tenant of the credential{staff}.",
                policy.permission.unwrap_or_default()
            )
        }
        Access::Platform => "For platform staff only.".to_owned(),
        Access::Internal => String::new(),
    };
    let whom = match policy.rate {
        Rate::Default | Rate::Expensive => " per caller",
        Rate::Automation => " per tenant",
        Rate::Unlimited => "",
        _ => " per address",
    };
    let limit = format!("Limit: {}{whom}.", limit_sentence(policy.rate));
    let key = match policy.idempotency {
        Idempotency::None => "",
        Idempotency::Accepted => " Takes `Idempotency-Key`.",
        Idempotency::Required => " Demands `Idempotency-Key`.",
    };
    let own = if own.is_empty() {
        String::new()
    } else {
        format!("{own}\n\n")
    };
    format!("{own}{who} {limit}{key}")
}

fn parameters(table: &Table, method: &Method, schemas: &mut Schemas) -> Vec<Value> {
    let request = method.descriptor.input();
    let input = table.shapes.get(method.input);
    let mut parameters = Vec::new();
    for (index, field) in request.fields().enumerate() {
        let is_path = method.captures.contains(&index);
        let in_query = !is_path
            && !matches!(method.body, BodyRule::All)
            && !method.reserved.iter().any(|name| name == field.name())
            && takes_text(&table.shapes, &input.fields[index]);
        if !is_path && !in_query {
            continue;
        }
        let mut schema = schemas.field(&field, Side::Request);
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        let mut parameter =
            json!({"name": field.json_name(), "in": if is_path { "path" } else { "query" }});
        if let Some(description) = description {
            parameter["description"] = description;
        }
        if is_path || rules::of(&field).required {
            parameter["required"] = true.into();
        }
        parameter["schema"] = schema;
        if field.is_list() {
            parameter["style"] = "form".into();
            parameter["explode"] = true.into();
        }
        parameters.push(parameter);
    }
    let refer = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
    if method.answer == Answer::Json && method.policy.success_status != 204 && method.data.is_some()
    {
        parameters.push(selection(method));
    }
    match method.policy.idempotency {
        Idempotency::None => {}
        Idempotency::Accepted => parameters.push(refer("IdempotencyKey")),
        Idempotency::Required => {
            let schema =
                json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"});
            parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": true, "schema": schema}));
        }
    }
    if method.version.is_some() {
        parameters.push(refer("IfMatch"));
    }
    if method.etag.is_some() && method.verb == Verb::Get {
        parameters.push(refer("IfNoneMatch"));
    }
    if method.policy.access != Access::Public {
        parameters.push(refer("TenantId"));
    }
    parameters.push(refer("AcceptLanguage"));
    parameters
}

/// How deep the members of `data` are listed by name. Deeper ones are taken too.
const LISTED_DEPTH: usize = 3;

/// The parameter `fields` with the names that it takes.
fn selection(method: &Method) -> Value {
    let (mut names, mut patterns) = (Vec::new(), Vec::new());
    if let Some(data) = method.descriptor.output().get_field_by_name("data")
        && let Kind::Message(message) = data.kind()
    {
        list_members(&message, "", 1, &mut names, &mut patterns);
    }
    let some: Vec<&String> = names.iter().take(2).collect();
    let mut items = json!({"type": "string", "enum": names});
    if !patterns.is_empty() {
        let patterns = patterns.iter().map(|pattern| json!({"pattern": pattern}));
        let enumerated = [json!({"enum": names})];
        items = json!({"type": "string", "anyOf": enumerated.into_iter().chain(patterns).collect::<Vec<_>>()});
    }
    json!({
        "name": "fields", "in": "query", "style": "form", "explode": false,
        "description": "The members of `data` (of each element, in a list) to answer, with commas; a dot goes into a member.",
        "schema": {"type": "array", "minItems": 1, "items": items},
        "examples": {"some": {"value": some}},
    })
}

fn list_members(
    message: &MessageDescriptor,
    prefix: &str,
    depth: usize,
    names: &mut Vec<String>,
    patterns: &mut Vec<String>,
) {
    for field in message.fields() {
        let name = format!("{prefix}{}", field.json_name());
        names.push(name.clone());
        let Kind::Message(inner) = field.kind() else {
            continue;
        };
        if inner.full_name() == "google.protobuf.Struct" {
            patterns.push(format!("^{}\\.[^,]+$", name.replace('.', "\\.")));
        } else if !inner.full_name().starts_with("google.")
            && !field.is_map()
            && depth < LISTED_DEPTH
        {
            list_members(&inner, &format!("{name}."), depth + 1, names, patterns);
        }
    }
}

fn request_body(table: &Table, method: &Method, schemas: &mut Schemas) -> Option<Value> {
    let request = method.descriptor.input();
    let limit = format!("At most {} bytes.", method.policy.body_bytes_max);
    match method.body {
        BodyRule::None => None,
        BodyRule::All => {
            let mut schema = schemas.object(&request, &method.reserved, Side::Request);
            let is_required = schema.get("required").is_some();
            if schema.get("properties").is_none() {
                schema["maxProperties"] = 0.into();
            }
            let mut media = json!({"schema": schema});
            if let Some(example) = examples::of(&request, &method.reserved) {
                media["example"] = example;
            }
            let mut content = Map::from_iter([("application/json".to_owned(), media.clone())]);
            if method.verb == Verb::Patch {
                content.insert("application/merge-patch+json".to_owned(), media);
            }
            Some(json!({"required": is_required, "description": limit, "content": content}))
        }
        BodyRule::Field(index) => {
            let field =
                request.get_field_by_name(&table.shapes.get(method.input).fields[index].name)?;
            let schema = schemas.field(&field, Side::Request);
            Some(
                json!({"required": rules::of(&field).required, "description": limit, "content": {"application/json": {"schema": schema}}}),
            )
        }
        BodyRule::Raw(_) => Some(json!({
            "required": true,
            "description": format!("The file itself, streamed. {limit}"),
            "content": {"text/csv": {"schema": {"type": "string"}}, "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        })),
    }
}

fn responses(method: &Method, schemas: &mut Schemas) -> Map<String, Value> {
    let policy = method.policy;
    let mut responses = Map::new();
    responses.insert(policy.success_status.to_string(), success(method, schemas));
    if method.etag.is_some() && method.verb == Verb::Get {
        responses.insert(
            "304".to_owned(),
            json!({"description": "Nothing has changed since the version in `If-None-Match`."}),
        );
    }
    let has_body = !matches!(method.body, BodyRule::None);
    let failures = [
        ("400", "BadRequest", true),
        ("401", "Unauthorized", true),
        ("403", "Forbidden", true),
        ("404", "NotFound", true),
        ("408", "RequestTimeout", has_body),
        ("409", "Conflict", method.verb != Verb::Get),
        ("413", "PayloadTooLarge", has_body),
        ("415", "UnsupportedMediaType", has_body),
        (
            "422",
            "UnprocessableContent",
            policy.idempotency != Idempotency::None,
        ),
        ("429", "TooManyRequests", policy.rate != Rate::Unlimited),
        ("500", "InternalError", true),
        ("503", "Unavailable", true),
        ("504", "Timeout", true),
    ];
    for (status, name, applies) in failures {
        if applies {
            responses.insert(
                status.to_owned(),
                json!({"$ref": format!("#/components/responses/{name}")}),
            );
        }
    }
    responses
}

fn success(method: &Method, schemas: &mut Schemas) -> Value {
    let policy = method.policy;
    let refer = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    let mut headers = Map::from_iter([("X-Request-Id".to_owned(), refer("X-Request-Id"))]);
    if policy.rate != Rate::Unlimited {
        headers.insert("RateLimit".to_owned(), refer("RateLimit"));
        headers.insert("RateLimit-Policy".to_owned(), refer("RateLimit-Policy"));
    }
    if method.etag.is_some() {
        headers.insert("ETag".to_owned(), refer("ETag"));
    }
    if policy.idempotency != Idempotency::None {
        headers.insert(
            "Idempotency-Replayed".to_owned(),
            refer("Idempotency-Replayed"),
        );
    }
    let words = match policy.success_status {
        201 => "Created.",
        202 => "Accepted; the work goes on.",
        204 => "Done; there is nothing to say.",
        _ => "Success.",
    };
    let mut response = json!({"description": words, "headers": headers});
    if policy.success_status == 204 {
        return response;
    }
    let output = method.descriptor.output();
    response["content"] = match method.answer {
        Answer::Json => {
            json!({"application/json": {"schema": schemas.reference(&output, Side::Envelope)}})
        }
        Answer::Events => {
            response["description"] =
                "Server-Sent Events. The last one has the name `end`, `error` (its `data` is a problem) or `reconnect`; the others have none, which makes them a `message`.".into();
            // Before OpenAPI 3.2 the schema of an event stream is that of one event.
            json!({"text/event-stream": {"schema": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "pattern": "^[0-9]+$"},
                    "event": {"type": "string", "enum": ["message", "end", "error", "reconnect"]},
                    "retry": {"type": "integer", "minimum": 0},
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "contentSchema": {"anyOf": [
                            schemas.reference(&output, Side::Envelope),
                            {"$ref": "#/components/schemas/Problem"},
                            {"type": "object", "maxProperties": 0},
                        ]},
                    },
                },
            }}})
        }
        Answer::Raw | Answer::RawStream => {
            json!({"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}})
        }
    };
    response
}
