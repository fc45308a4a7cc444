//! The OpenAPI 3.1 description of the public API, made from the contract: comments, rules and policies.
//!
//! The same contract always gives the same text, so the committed `openapi.json` shows each change of the public API in review, and a
//! test fails when it is stale.

mod examples;
mod operation;
mod rules;
mod schema;
mod texts;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::limits;
use crate::problem;
use crate::routes::{Table, table};

/// The committed description, which is also what is served.
pub const COMMITTED: &str = include_str!("../openapi.json");

/// Makes the description anew.
pub fn document() -> String {
    let mut text =
        serde_json::to_string_pretty(&value(table())).expect("a JSON value is always writable");
    text.push('\n');
    text
}

/// Prints the description: the command `gateway openapi`.
pub fn print() -> ExitCode {
    match std::io::stdout().lock().write_all(document().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn value(table: &Table) -> Value {
    let mut schemas = schema::Schemas::default();
    let mut paths: std::collections::BTreeMap<String, Map<String, Value>> =
        std::collections::BTreeMap::new();
    for method in &table.methods {
        let path = operation::path(method);
        let operation = operation::describe(table, method, &mut schemas);
        paths
            .entry(path)
            .or_default()
            .insert(method.verb.as_str().to_ascii_lowercase(), operation);
    }
    let mut components = schemas.finish();
    components.insert("Problem".to_owned(), problem_schema());
    components.sort_keys();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Tenantry API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Launch vertical multi-tenant products: sign up, choose a niche, import data, search it.",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "this host"}],
        "tags": tags(table),
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": responses(),
            "headers": headers(),
            "parameters": parameters(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The `accessToken` of a login, valid for 15 minutes and bound to one tenant."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The key of a service account."},
            },
        },
    })
}

const DESCRIPTION: &str = "Successes are `{\"data\": …, \"meta\"?: …}`; failures are `application/problem+json` (RFC 9457) with a stable `error.code`. \
Names are lowerCamelCase, times RFC 3339, ids UUIDs; 64-bit numbers beyond 2^53 are strings. \
An unknown field, a duplicate key or a wrong type in a request is an error that names the place. \
Lists take `limit` and `cursor` and answer `meta.nextCursor` and `meta.hasMore`; `fields=a,b.c` prunes the members of `data`. \
`PATCH` is a merge patch (RFC 7396). Messages come in `en` or `pt-BR` by `Accept-Language`. \
Every answer carries `X-Request-Id`; limited methods carry `RateLimit` and `RateLimit-Policy`.";

fn tags(table: &Table) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for method in &table.methods {
        let service = method.descriptor.parent_service();
        let name = operation::tag(method);
        if !seen.iter().any(|tag| tag["name"] == name) {
            seen.push(json!({"name": name, "description": texts::of(&service.parent_file(), service.path()).whole()}));
        }
    }
    seen
}

/// The failures that operations refer to: name, statuses, example code and message.
const FAILURES: [(&str, &str, &str, &str); 13] = [
    (
        "BadRequest",
        "The request is malformed or breaks rules; `error.details.fields` lists each place.",
        "VALIDATION_ERROR",
        "the request breaks one or more rules",
    ),
    (
        "Unauthorized",
        "There is no credential, or it is not valid.",
        "INVALID_TOKEN",
        "the credential is not valid",
    ),
    (
        "Forbidden",
        "The caller may not do this.",
        "FORBIDDEN_ACTION",
        "you are not allowed to do this",
    ),
    (
        "NotFound",
        "It does not exist, or it is not yours: the two look the same.",
        "NOT_FOUND",
        "there is no such thing",
    ),
    (
        "RequestTimeout",
        "The body did not arrive in time.",
        "REQUEST_TIMEOUT",
        "the body did not arrive in time",
    ),
    (
        "Conflict",
        "Somebody else changed it, it exists already, or its state forbids the action.",
        "CONFLICT",
        "it was changed in the meantime",
    ),
    (
        "PayloadTooLarge",
        "The body is larger than the method takes.",
        "PAYLOAD_TOO_LARGE",
        "the body is larger than this method takes",
    ),
    (
        "UnsupportedMediaType",
        "The body's media type or encoding is not taken.",
        "UNSUPPORTED_MEDIA_TYPE",
        "send the body as application/json",
    ),
    (
        "UnprocessableContent",
        "The idempotency key was used before with another request.",
        "IDEMPOTENCY_KEY_REUSED",
        "the key was used with another request",
    ),
    (
        "TooManyRequests",
        "Too many requests; `Retry-After` says when to try again.",
        "RATE_LIMITED",
        "too many requests; try again in 7 s",
    ),
    (
        "InternalError",
        "Our fault; quote `error.requestId` when you report it.",
        "INTERNAL_ERROR",
        "something went wrong on our side",
    ),
    (
        "Unavailable",
        "A part of the platform is down; try again shortly.",
        "SERVICE_UNAVAILABLE",
        "a part of the service is not available right now; try again shortly",
    ),
    (
        "Timeout",
        "It took too long; try again if the method is idempotent or you sent a key.",
        "DEADLINE_EXCEEDED",
        "it took too long; try again",
    ),
];

fn responses() -> Map<String, Value> {
    let request_id = "0198c2f0-6f1e-7c3a-9d55-3f1f6f1c2b7a";
    FAILURES
        .iter()
        .map(|(name, description, code, message)| {
            let public = kernel::ErrorCode::parse(code).expect("the examples use public codes");
            let mut error = json!({"code": code, "message": message, "requestId": request_id, "traceId": "0af7651916cd43dd8448eb211c80319c"});
            match *name {
                "BadRequest" => {
                    error["details"] = json!({"fields": [{"field": "email", "rule": "string.email", "message": "must be an e-mail address"}]});
                }
                "Forbidden" => error["details"] = json!({"toolAction": "records.create"}),
                _ => {}
            }
            let example = json!({
                "type": problem::type_of(public), "title": description.split([';', ',', '.']).next(), "status": problem::status_of(public).as_u16(),
                "detail": message, "instance": format!("urn:request:{request_id}"), "error": error,
            });
            let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}});
            if matches!(*name, "TooManyRequests" | "Unavailable" | "Conflict") {
                headers["Retry-After"] = json!({"$ref": "#/components/headers/Retry-After"});
            }
            let content = json!({problem::MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}});
            ((*name).to_owned(), json!({"description": description, "headers": headers, "content": content}))
        })
        .collect()
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string"}, "example": example});
    json!({
        "X-Request-Id": text("The id of the request, for support and for the audit log.", "0198c2f0-6f1e-7c3a-9d55-3f1f6f1c2b7a"),
        "RateLimit": text("Requests left (`r`) and seconds until the limit is whole again (`t`).", "\"default\";r=99;t=1"),
        "RateLimit-Policy": text("The limit: requests (`q`) in a window of seconds (`w`).", "\"default\";q=100;w=60"),
        "ETag": text("The version of the resource, for `If-Match` and `If-None-Match`.", "\"3\""),
        "Idempotency-Replayed": text("`true` when the answer is a stored one.", "true"),
        "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}, "example": 7},
    })
}

fn parameters() -> Value {
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "description": description, "schema": schema});
    json!({
        "IdempotencyKey": header("Idempotency-Key", "Makes a retry safe: the same key and request answer what the first one answered, for at least 24 hours. Another request with the same key answers 422.", json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"})),
        "IfMatch": header("If-Match", "The `ETag` that the change is based on; 409 when it is no longer the present one.", json!({"type": "string", "examples": ["\"3\""]})),
        "IfNoneMatch": header("If-None-Match", "An `ETag` from before; 304 without a body when nothing has changed.", json!({"type": "string", "examples": ["\"3\""]})),
        "AcceptLanguage": header("Accept-Language", "The language of messages: `en` or `pt-BR`.", json!({"type": "string", "examples": ["pt-BR"]})),
        "TenantId": header("X-Tenant-Id", "For service accounts only: must agree with the credential.", json!({"type": "string", "format": "uuid"})),
    })
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = kernel::ErrorCode::ALL
        .iter()
        .map(|code| code.as_str())
        .collect();
    json!({
        "type": "object",
        "description": "A failure: RFC 9457, and the same facts for programs in `error`.",
        "required": ["type", "title", "status", "detail", "instance", "error"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "instance": {"type": "string", "format": "uri", "description": "`urn:request:` and the id of the request."},
            "error": {
                "type": "object",
                "required": ["code", "message", "requestId"],
                "properties": {
                    "code": {"type": "string", "enum": codes},
                    "message": {"type": "string", "description": "Short, safe to show, in the caller's language."},
                    "requestId": {"type": "string"},
                    "traceId": {"type": "string"},
                    "details": {
                        "type": "object",
                        "description": "Facts about the failure, such as `toolAction`.",
                        "properties": {
                            "fields": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["field", "rule", "message"],
                                    "properties": {
                                        "field": {"type": "string", "description": "The place, for example `filters[0].facet`."},
                                        "rule": {"type": "string", "description": "A stable id, for example `string.email`."},
                                        "message": {"type": "string"},
                                    },
                                },
                            },
                        },
                        "additionalProperties": {"type": "string"},
                    },
                },
            },
        },
    })
}

/// The sentence on the limit of a class.
fn limit_sentence(rate: proto::policy::Rate) -> String {
    match limits::figures(rate) {
        Some((_, permits, 60)) => format!("{permits} requests a minute"),
        Some((_, permits, seconds)) => format!("{permits} requests in {} minutes", seconds / 60),
        None => "not limited".to_owned(),
    }
}
