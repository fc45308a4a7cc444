//! HTTP to protobuf and back: paths, queries and bodies onto the fields of a request, answers into JSON.
//!
//! Everything that does not fit is gathered and told at once, with the path of each place.
//! Rules such as lengths and patterns are the services' business; here only names and types are checked.

mod body;
pub mod query;
mod scalar;

use kernel::{Error, ErrorCode, Violation};

use proto::json::Selection;

use crate::routes::{BodyRule, Method};
use crate::strict_json::{self, Node, Offence};
use proto::shape::{Form, Kind, Label, Shapes};
use proto::wire;

/// Problems told for one request; more would only make the answer large.
pub const PROBLEMS_MAX: usize = 50;

/// What does not fit, gathered up to [`PROBLEMS_MAX`].
#[derive(Default)]
pub struct Problems(Vec<Violation>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, violation: Violation) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(violation);
        }
    }

    /// Nothing, or the error that tells all of them.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid(self.0))
        }
    }
}

/// The oneofs of a message that have a member already.
#[derive(Default)]
pub struct Seen(u64);

impl Seen {
    /// Whether this is the first member of the oneof.
    pub fn first(&mut self, oneof: usize) -> bool {
        let bit = 1_u64 << (oneof % 64);
        let first = self.0 & bit == 0;
        self.0 |= bit;
        first
    }
}

/// A request's body as it came.
pub enum Body<'b> {
    /// There is none.
    Empty,
    /// JSON, not yet read.
    Json(&'b [u8]),
    /// Any media type, for a method that takes it as it is.
    Raw {
        content_type: &'b str,
        bytes: &'b [u8],
    },
}

/// The parts of an HTTP request that make up a message.
pub struct Parts<'p> {
    /// The path variables as they stand in the path, in the order of the template.
    pub captures: &'p [&'p str],
    /// The query without its question mark.
    pub query: &'p str,
    /// The body.
    pub body: Body<'p>,
    /// `If-Match`.
    pub if_match: Option<&'p str>,
}

/// A request in protobuf.
pub struct Bound {
    /// The encoded message.
    pub message: Vec<u8>,
    /// Which members of the answer's `data` the client wants.
    pub selection: Option<Selection>,
}

/// Binds a request to the message of its method.
pub fn bind(shapes: &Shapes, method: &Method, parts: &Parts<'_>) -> Result<Bound, Error> {
    let mut problems = Problems::default();
    let mut message = Vec::with_capacity(256);
    let input = shapes.get(method.input);
    for (field, raw) in method.captures.iter().zip(parts.captures) {
        query::put_capture(
            &mut message,
            shapes,
            &input.fields[*field],
            raw,
            &mut problems,
        );
    }
    let mut query = query::Query {
        shapes,
        shape: method.input,
        reserved: &method.reserved,
        binds_fields: !matches!(method.body, BodyRule::All),
        problems: &mut problems,
    };
    let extras = query.bind(&mut message, parts.query);
    let selection = select(shapes, method, extras.fields.as_deref(), &mut problems);
    if let Some(header) = parts.if_match {
        bind_version(&mut message, shapes, method, header, &mut problems);
    }
    bind_body(&mut message, shapes, method, parts, &mut problems)?;
    problems.finish()?;
    Ok(Bound { message, selection })
}

fn select(
    shapes: &Shapes,
    method: &Method,
    fields: Option<&str>,
    problems: &mut Problems,
) -> Option<Selection> {
    let target = method.data.map_or(method.output, |(_, shape)| shape);
    match Selection::parse(fields?, shapes, target) {
        Ok(selection) => Some(selection),
        Err(path) => {
            let message = format!("`{path}` is no field of the answer");
            problems.push(
                Violation::new("fields", "request.unknown_field_path", message).with("path", path),
            );
            None
        }
    }
}

fn bind_version(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    method: &Method,
    header: &str,
    problems: &mut Problems,
) {
    let Some(field) = method
        .version
        .map(|index| &shapes.get(method.input).fields[index])
    else {
        return;
    };
    if header.trim() == "*" {
        return;
    }
    // A packed answer carries the same version under a weak mark; it is the version that counts here.
    let version = strong(header)
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match version
        .and_then(|digits| digits.parse::<u32>().ok())
        .filter(|version| i32::try_from(*version).is_ok())
    {
        Some(version) => {
            wire::put_key(out, field.number, wire::VARINT);
            wire::put_varint(out, u64::from(version));
        }
        None => problems.push(Violation::new(
            "If-Match",
            "request.if_match",
            "must be the `ETag` of an earlier answer, such as `\"3\"`",
        )),
    }
}

fn strong(header: &str) -> &str {
    let tag = header.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn bind_body(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    method: &Method,
    parts: &Parts<'_>,
    problems: &mut Problems,
) -> Result<(), Error> {
    let input = shapes.get(method.input);
    match (&parts.body, method.body) {
        (
            Body::Raw {
                content_type,
                bytes,
            },
            BodyRule::Raw(index),
        ) => {
            put_http_body(out, input.fields[index].number, content_type, bytes);
            Ok(())
        }
        (Body::Json(bytes), BodyRule::All) => {
            let node = strict_json::parse(bytes).map_err(malformed)?;
            body::Encoder {
                shapes,
                reserved: &method.reserved,
                problems,
            }
            .top(out, method.input, &node);
            check_version(method, shapes, &node, parts.if_match, problems);
            put_update_mask(out, shapes, method, &node);
            Ok(())
        }
        (Body::Json(bytes), BodyRule::Field(index)) => {
            let node = strict_json::parse(bytes).map_err(malformed)?;
            let spot = body::Spot {
                value: &node,
                path: body::Path::Root,
            };
            body::Encoder {
                shapes,
                reserved: &[],
                problems,
            }
            .field(out, &input.fields[index], spot);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The header and the body may both say which version a change is based on; then they must agree.
fn check_version(
    method: &Method,
    shapes: &Shapes,
    node: &Node<'_>,
    if_match: Option<&str>,
    problems: &mut Problems,
) {
    let (Some(index), Some(header), Node::Object(members)) = (method.version, if_match, node)
    else {
        return;
    };
    let name = &shapes.get(method.input).fields[index].json;
    let Some((_, Node::Number(version))) = members.iter().find(|(key, _)| key == name) else {
        return;
    };
    if header.trim() != "*" && strong(header).trim_matches('"') != *version {
        problems.push(Violation::new(
            &**name,
            "request.if_match_conflict",
            "contradicts the header If-Match",
        ));
    }
}

/// Fills the mask of a merge patch from the members that are present. Of a form (`google.protobuf.Struct`) also its members.
fn put_update_mask(out: &mut Vec<u8>, shapes: &Shapes, method: &Method, node: &Node<'_>) {
    let (Some(index), Node::Object(members)) = (method.mask, node) else {
        return;
    };
    let input = shapes.get(method.input);
    wire::put_nested(out, input.fields[index].number, |out| {
        for (key, value) in members {
            let Some(field) = input.by_json(key) else {
                continue;
            };
            if method
                .version
                .is_some_and(|version| input.fields[version].number == field.number)
            {
                continue;
            }
            wire::put_bytes(out, 1, field.name.as_bytes());
            let is_form = field
                .kind
                .message()
                .is_some_and(|id| shapes.get(id).form == Form::Struct);
            if let (true, Node::Object(inner)) = (is_form, value) {
                for (name, _) in inner {
                    wire::put_bytes(out, 1, format!("{}.{name}", field.name).as_bytes());
                }
            }
        }
    });
}

/// Writes a `google.api.HttpBody`.
pub fn put_http_body(out: &mut Vec<u8>, number: u32, content_type: &str, bytes: &[u8]) {
    wire::put_nested(out, number, |out| {
        if !content_type.is_empty() {
            wire::put_bytes(out, 1, content_type.as_bytes());
        }
        wire::put_bytes(out, 2, bytes);
    });
}

/// Reads a `google.api.HttpBody`: media type and content.
pub fn read_http_body(message: &[u8]) -> (&str, &[u8]) {
    let (mut content_type, mut data): (&[u8], &[u8]) = (b"", b"");
    for (number, raw) in wire::Fields(message) {
        match (number, raw) {
            (1, wire::Raw::Bytes(bytes)) => content_type = bytes,
            (2, wire::Raw::Bytes(bytes)) => data = bytes,
            _ => {}
        }
    }
    (std::str::from_utf8(content_type).unwrap_or_default(), data)
}

fn malformed(offence: Offence) -> Error {
    let violation = Violation::new(offence.path, offence.rule, offence.message);
    Error::new(
        ErrorCode::MalformedRequest,
        "request.malformed",
        "the body is not the JSON that this method takes",
    )
    .with_violations(vec![violation])
}

/// Turns the path of a rule that a service found broken into the names of JSON: `filters[0].facet_key` to `filters[0].facetKey`.
///
/// What stands within a form keeps its name, because the form's own names are the client's.
pub fn json_path(shapes: &Shapes, method: &Method, path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut shape = Some(method.input);
    for part in path.split('.') {
        if !out.is_empty() {
            out.push('.');
        }
        let (name, index) = part.find('[').map_or((part, ""), |at| part.split_at(at));
        let field = shape.and_then(|id| shapes.get(id).by_name(name));
        match field {
            Some(field) => {
                out.push_str(&field.json);
                shape = match (field.kind, field.label) {
                    (Kind::Message(id), label) if !matches!(label, Label::Map(_)) => Some(id),
                    _ => None,
                };
            }
            None => {
                out.push_str(name);
                shape = None;
            }
        }
        out.push_str(index);
    }
    out
}
