//! From the declaration of a method to everything that a request must know about it.

use anyhow::{Context as _, ensure};
use http::uri::PathAndQuery;
use prost_reflect::MethodDescriptor;
use proto::policy::{Http, MethodPolicy};

use super::{Answer, BodyRule, Method, Verb, variable};
use proto::shape::{Form, Int, Kind, Label, Shape, ShapeId, Shapes};
use proto::wire;

/// Compiles one HTTP binding of a method, or says why it cannot be served.
pub(super) fn method(
    shapes: &mut Shapes,
    method: &MethodDescriptor,
    policy: &'static MethodPolicy,
    rule: &'static Http,
) -> anyhow::Result<Method> {
    let (verb, template) = (Verb::named(rule.verb)?, rule.path);
    ensure!(
        template.starts_with('/'),
        "its path does not start with a slash"
    );
    let (input, output) = (shapes.add(&method.input()), shapes.add(&method.output()));
    let request = shapes.get(input);
    let (captures, mut reserved) = captures(request, template)?;
    let body = body(shapes, request, rule.body, &mut reserved)?;
    let streams_in = method.is_client_streaming();
    ensure!(
        !streams_in || matches!(body, BodyRule::Raw(_)),
        "a streamed request needs a google.api.HttpBody as its body"
    );
    let mask = position(request, "update_mask").filter(|_| verb == Verb::Patch);
    reserved.extend(mask.map(|_| "update_mask".to_owned()));
    let version = position(request, "version").filter(|index| {
        matches!(request.fields[*index].kind, Kind::Int(Int { .. }))
            && !matches!(verb, Verb::Get | Verb::Post)
    });
    let (data, etag) = data_of(shapes, output);
    Ok(Method {
        path: PathAndQuery::from_static(policy.path),
        verb,
        template,
        input,
        output,
        captures,
        reserved,
        body,
        answer: answer(shapes.get(output).form, method.is_server_streaming()),
        streams_in,
        policy,
        version,
        mask,
        data,
        etag,
        descriptor: method.clone(),
    })
}

fn position(request: &Shape, name: &str) -> Option<usize> {
    request.fields.iter().position(|field| field.name == name)
}

/// The fields that the path binds, by index and by name.
fn captures(request: &Shape, template: &str) -> anyhow::Result<(Vec<usize>, Vec<String>)> {
    let mut captures = Vec::new();
    let mut names = Vec::new();
    for name in template.split('/').filter_map(variable) {
        let index = position(request, name)
            .with_context(|| format!("the path variable {name} is no field of the request"))?;
        captures.push(index);
        names.push(name.to_owned());
    }
    Ok((captures, names))
}

fn body(
    shapes: &Shapes,
    request: &Shape,
    rule: &str,
    reserved: &mut Vec<String>,
) -> anyhow::Result<BodyRule> {
    let index = match rule {
        "" => return Ok(BodyRule::None),
        "*" => return Ok(BodyRule::All),
        name => position(request, name)
            .with_context(|| format!("the body field {name} is no field of the request"))?,
    };
    reserved.push(rule.to_owned());
    let is_raw = request.fields[index]
        .kind
        .message()
        .is_some_and(|id| shapes.get(id).form == Form::HttpBody);
    Ok(if is_raw {
        BodyRule::Raw(index)
    } else {
        BodyRule::Field(index)
    })
}

const fn answer(form: Form, streams: bool) -> Answer {
    match (form, streams) {
        (Form::HttpBody, false) => Answer::Raw,
        (Form::HttpBody, true) => Answer::RawStream,
        (_, false) => Answer::Json,
        (_, true) => Answer::Events,
    }
}

/// The number and the shape of `data`.
type Data = (u32, ShapeId);

/// `data` of the answer, and the numbers of `data` and `data.version` when there is one `data` with a version.
fn data_of(shapes: &Shapes, output: ShapeId) -> (Option<Data>, Option<(u32, u32)>) {
    let Some(field) = shapes.get(output).by_name("data") else {
        return (None, None);
    };
    let Some(shape) = field.kind.message() else {
        return (None, None);
    };
    let version = shapes.get(shape).by_name("version");
    let version = version.filter(|version| {
        field.label == Label::Optional && version.kind.wire_type() == wire::VARINT
    });
    (
        Some((field.number, shape)),
        version.map(|version| (field.number, version.number)),
    )
}
