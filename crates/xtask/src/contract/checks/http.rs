//! How HTTP reaches a method: the gateway builds its routes from this, so what it cannot bind is refused here.

use std::collections::BTreeMap;

use prost_reflect::{Cardinality, FieldDescriptor, Kind};

use super::Problem;
use crate::contract::surface::{Method, Route, Surface, fits_a_query};

fn routes(surface: &Surface) -> impl Iterator<Item = (&Method, &Route)> {
    surface
        .methods
        .iter()
        .flat_map(|method| method.routes.iter().map(move |route| (method, route)))
}

/// Every method but the INTERNAL ones is reachable over HTTP.
pub fn mapping_is_declared(surface: &Surface) -> Vec<Problem> {
    let reachable = |method: &&Method| {
        method
            .policy
            .as_ref()
            .is_some_and(|policy| policy.access != "INTERNAL")
    };
    surface
        .methods
        .iter()
        .filter(reachable)
        .filter(|method| method.routes.is_empty())
        .map(|method| {
            Problem::of_method(
                method,
                "mapping-is-declared",
                "declare `option (google.api.http)`, or the access INTERNAL",
            )
        })
        .collect()
}

/// A path starts with `/`, consists of plain words and `{field}` variables, and each variable is a scalar field of the request.
pub fn template_is_sound(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "template-is-sound";
    let mut found = Vec::new();
    for (method, route) in routes(surface) {
        let is_plain = |segment: &str| {
            !segment.is_empty()
                && segment
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
        };
        let is_sound = |segment: &str| match segment.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').is_some_and(is_plain),
            None => is_plain(segment),
        };
        let Some(rest) = route.path.strip_prefix('/') else {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("path `{}` must start with `/`", route.path),
            ));
            continue;
        };
        for segment in rest.split('/').filter(|segment| !is_sound(segment)) {
            let text = format!(
                "segment `{segment}` of `{}` is neither a lower-case word nor `{{field}}`",
                route.path
            );
            found.push(Problem::of_method(method, RULE, text));
        }
        for variable in route.variables() {
            match method.descriptor.input().get_field_by_name(variable) {
                None => {
                    let text = format!(
                        "path variable `{variable}` is no field of {}",
                        method.descriptor.input().full_name()
                    );
                    found.push(Problem::of_method(method, RULE, text));
                }
                Some(field) if !is_scalar(&field) => {
                    found.push(Problem::of_method(
                        method,
                        RULE,
                        format!("path variable `{variable}` must be a single text or number"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    found
}

fn is_scalar(field: &FieldDescriptor) -> bool {
    field.cardinality() != Cardinality::Repeated
        && !matches!(field.kind(), Kind::Message(_) | Kind::Bytes | Kind::Enum(_))
}

/// `body` is `*` or a message field that the path does not bind; GET and DELETE have none.
pub fn body_is_sound(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "body-is-sound";
    let mut found = Vec::new();
    for (method, route) in routes(surface) {
        let body = route.body.as_str();
        if matches!(route.verb, "GET" | "DELETE") {
            if !body.is_empty() {
                found.push(Problem::of_method(
                    method,
                    RULE,
                    format!("{} has no body", route.verb),
                ));
            }
        } else if body.is_empty() {
            found.push(Problem::of_method(
                method,
                RULE,
                format!("{} needs `body: \"*\"` or the name of a field", route.verb),
            ));
        } else if body != "*" {
            let field = method.descriptor.input().get_field_by_name(body);
            if field
                .and_then(|field| field.kind().as_message().cloned())
                .is_none()
            {
                found.push(Problem::of_method(
                    method,
                    RULE,
                    format!("body `{body}` is no message field of the request"),
                ));
            }
        }
    }
    found
}

/// Fields that neither path nor body binds come from the query string and must fit there.
pub fn query_can_hold_the_rest(surface: &Surface) -> Vec<Problem> {
    let mut found = Vec::new();
    for (method, route) in routes(surface).filter(|(_, route)| route.body != "*") {
        for field in method.descriptor.input().fields() {
            let bound = route.body == field.name() || route.variables().contains(&field.name());
            if !bound && !fits_a_query(&field) {
                let text = format!(
                    "comes from the query string of {} {}, which cannot hold a message",
                    route.verb, route.path
                );
                found.push(Problem::of_field(&field, "query-can-hold-the-rest", text));
            }
        }
    }
    found
}

/// No two methods answer the same verb and path; the names of variables make no difference.
pub fn routes_are_unique(surface: &Surface) -> Vec<Problem> {
    let mut first: BTreeMap<String, &Method> = BTreeMap::new();
    let mut found = Vec::new();
    for (method, route) in routes(surface) {
        if let Some(other) = first.get(&route.shape()) {
            let text = format!(
                "{} {} is already the route of {}",
                route.verb,
                route.path,
                other.descriptor.full_name()
            );
            found.push(Problem::of_method(method, "routes-are-unique", text));
        } else {
            first.insert(route.shape(), method);
        }
    }
    found
}

/// A stream from the client is an upload into a `google.api.HttpBody`; a stream to the client is read with GET.
pub fn streams_fit_http(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "streams-fit-http";
    let mut found = Vec::new();
    for (method, route) in routes(surface) {
        let descriptor = &method.descriptor;
        if descriptor.is_client_streaming() {
            let body = descriptor.input().get_field_by_name(&route.body);
            let raw = body.and_then(|field| {
                field
                    .kind()
                    .as_message()
                    .map(|message| message.full_name() == "google.api.HttpBody")
            });
            if raw != Some(true) || descriptor.is_server_streaming() {
                let text = "a client stream must have `body` name a google.api.HttpBody field, and one answer";
                found.push(Problem::of_method(method, RULE, text));
            }
        } else if descriptor.is_server_streaming() && route.verb != "GET" {
            found.push(Problem::of_method(
                method,
                RULE,
                "a server stream is served as events and must be a GET",
            ));
        }
    }
    found
}

/// The status is a success, 204 has an empty response, idempotency keys go with writes, and the answer is `data` with `meta`.
pub fn answer_fits_http(surface: &Surface) -> Vec<Problem> {
    const RULE: &str = "answer-fits-http";
    let mut found = Vec::new();
    for method in surface
        .methods
        .iter()
        .filter(|method| !method.routes.is_empty())
    {
        let Some(policy) = &method.policy else {
            continue;
        };
        let output = method.descriptor.output();
        if policy.success_status != 0 && !(200..300).contains(&policy.success_status) {
            found.push(Problem::of_method(
                method,
                RULE,
                "`success_status` must be from 200 to 299",
            ));
        }
        if policy.success_status == 204 && output.fields().len() > 0 {
            found.push(Problem::of_method(
                method,
                RULE,
                "204 has no content, but the response has fields",
            ));
        }
        if policy.idempotency != "IDEMPOTENCY_NONE" && !method.writes() {
            found.push(Problem::of_method(
                method,
                RULE,
                "a GET takes no idempotency key",
            ));
        }
        // Documents whose form a standard fixes live below /.well-known.
        let fixed_form = method
            .routes
            .iter()
            .all(|route| route.path.starts_with("/.well-known/"));
        let raw = output.full_name() == "google.api.HttpBody";
        if !fixed_form && !raw {
            for field in output
                .fields()
                .filter(|field| !matches!(field.name(), "data" | "meta"))
            {
                found.push(Problem::of_field(
                    &field,
                    RULE,
                    "an answer over HTTP has only the members `data` and `meta`",
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check_with, method, service};
    use super::*;

    fn mapped(http: &str, request: &str) -> String {
        service(
            &format!(
                "option (google.api.http) = {{{http}}}; option (tenantry.api.v1.policy) = {{access: PUBLIC rate: DEFAULT}};"
            ),
            request,
        )
    }

    #[test]
    fn only_internal_methods_have_no_mapping() {
        let option = |access: &str| {
            service(
                &format!("option (tenantry.api.v1.policy) = {{access: {access}}};"),
                "",
            )
        };
        check_with(
            &option("PUBLIC"),
            mapping_is_declared,
            &["declare `option (google.api.http)`"],
        );
        check_with(&option("INTERNAL"), mapping_is_declared, &[]);
    }

    #[test]
    fn path_variables_are_scalar_fields() {
        check_with(
            &mapped("get: \"/v1/things/{id}\"", "string id = 1;"),
            template_is_sound,
            &[],
        );
        check_with(
            &mapped("get: \"/v1/things/{id}\"", ""),
            template_is_sound,
            &["`id` is no field of sample.v1.GetThingRequest"],
        );
        check_with(
            &mapped("get: \"/v1/{ids}\"", "repeated string ids = 1;"),
            template_is_sound,
            &["`ids` must be a single"],
        );
        check_with(
            &mapped("get: \"/v1/Things/{id=**}\"", ""),
            template_is_sound,
            &["`Things`", "`{id=**}`", "`id=**` is no field"],
        );
        check_with(
            &mapped("get: \"things\"", ""),
            template_is_sound,
            &["must start with `/`"],
        );
    }

    #[test]
    fn bodies_name_a_message_or_everything() {
        check_with(
            &mapped("post: \"/v1/a\" body: \"*\"", ""),
            body_is_sound,
            &[],
        );
        check_with(
            &mapped(
                "post: \"/v1/a\" body: \"file\"",
                "google.api.HttpBody file = 1;",
            ),
            body_is_sound,
            &[],
        );
        check_with(
            &mapped(
                "post: \"/v1/a\" body: \"fil\"",
                "google.api.HttpBody file = 1;",
            ),
            body_is_sound,
            &["`fil` is no message"],
        );
        check_with(
            &mapped("post: \"/v1/a\"", ""),
            body_is_sound,
            &["POST needs `body"],
        );
        check_with(
            &mapped("get: \"/v1/a\" body: \"*\"", ""),
            body_is_sound,
            &["GET has no body"],
        );
    }

    #[test]
    fn a_query_holds_scalars_lists_and_times() {
        let fields = "repeated string tag = 1; google.protobuf.Timestamp from = 2;";
        check_with(
            &mapped("get: \"/v1/a\"", fields),
            query_can_hold_the_rest,
            &[],
        );
        let nested = "GetThingResponse filter = 1;";
        check_with(
            &mapped("get: \"/v1/a\"", nested),
            query_can_hold_the_rest,
            &["cannot hold a message"],
        );
        check_with(
            &mapped("post: \"/v1/a\" body: \"*\"", nested),
            query_can_hold_the_rest,
            &[],
        );
        check_with(
            &mapped("post: \"/v1/a\" body: \"filter\"", nested),
            query_can_hold_the_rest,
            &[],
        );
    }

    #[test]
    fn the_same_route_twice_is_told() {
        let twice = mapped(
            "get: \"/v1/{a}\" additional_bindings: {get: \"/v1/{b}\"}",
            "string a = 1; string b = 2;",
        );
        check_with(
            &twice,
            routes_are_unique,
            &["GET /v1/{b} is already the route of sample.v1.ThingService.GetThing"],
        );
        let verbs = mapped(
            "get: \"/v1/{a}\" additional_bindings: {delete: \"/v1/{a}\"}",
            "string a = 1;",
        );
        check_with(&verbs, routes_are_unique, &[]);
    }

    #[test]
    fn streams_are_uploads_or_events() {
        let upload = mapped(
            "post: \"/v1/a\" body: \"file\"",
            "google.api.HttpBody file = 1;",
        )
        .replace("(GetThingRequest)", "(stream GetThingRequest)");
        check_with(&upload, streams_fit_http, &[]);
        check_with(
            &upload.replace("body: \"file\"", "body: \"*\""),
            streams_fit_http,
            &["must have `body` name a google.api.HttpBody"],
        );
        let events = mapped("get: \"/v1/a\"", "").replace("returns (", "returns (stream ");
        check_with(&events, streams_fit_http, &[]);
        check_with(
            &events.replace("get: \"/v1/a\"", "post: \"/v1/a\" body: \"*\""),
            streams_fit_http,
            &["must be a GET"],
        );
    }

    #[test]
    fn answers_are_data_and_meta_with_a_fitting_status() {
        check_with(&method("access: PUBLIC"), answer_fits_http, &[]);
        check_with(
            &method("access: PUBLIC success_status: 404"),
            answer_fits_http,
            &["from 200 to 299"],
        );
        check_with(
            &method("access: PUBLIC success_status: 204"),
            answer_fits_http,
            &["204 has no content"],
        );
        check_with(
            &method("access: PUBLIC idempotency: REQUIRED"),
            answer_fits_http,
            &["a GET takes no idempotency key"],
        );
        let bare = method("access: PUBLIC").replace("string data", "string keys");
        check_with(
            &bare,
            answer_fits_http,
            &["only the members `data` and `meta`"],
        );
        check_with(
            &bare.replace("/v1/things", "/.well-known/things"),
            answer_fits_http,
            &[],
        );
    }
}
