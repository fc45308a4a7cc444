//! Paths and queries to protobuf.

use std::borrow::Cow;

use kernel::Violation;

use super::Problems;
use super::scalar::{self, Expected};
use proto::shape::{Field, Form, Kind, Label, ShapeId, Shapes};
use proto::wire;

/// Parameters of one request. The widest list has nine; repeated facets add twenty.
pub const PARAMETERS_MAX: usize = 100;

/// Undoes percent-encoding; in a query `+` also stands for a space. `None` when the result is no text.
pub fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let special = |b: u8| b == b'%' || b == 0 || (plus_is_space && b == b'+');
    if !text.bytes().any(special) {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = |b: &u8| (*b as char).to_digit(16);
                let high = bytes.get(at + 1).and_then(hex)?;
                let low = bytes.get(at + 2).and_then(hex)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
                at += 3;
            }
            b'+' if plus_is_space => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    // PostgreSQL cannot store a NUL in a text, so none gets past the gateway.
    String::from_utf8(out)
        .ok()
        .filter(|text| !text.contains('\0'))
        .map(Cow::Owned)
}

/// Writes a path variable.
pub fn put_capture(
    out: &mut Vec<u8>,
    shapes: &Shapes,
    field: &Field,
    raw: &str,
    problems: &mut Problems,
) {
    match decode(raw, false) {
        Some(text) => tell(put_text(out, shapes, field, &text), &field.json, problems),
        None => problems.push(Violation::new(
            &*field.json,
            "request.encoding",
            "is not valid percent-encoded UTF-8 text",
        )),
    }
}

/// What a query asks for beside the fields of the message.
#[derive(Default)]
pub struct Extras {
    /// `fields=…`, not yet checked.
    pub fields: Option<String>,
}

/// Binds the parameters of a query to the fields of a message.
pub struct Query<'q> {
    pub shapes: &'q Shapes,
    pub shape: ShapeId,
    /// Names of the contract that the query must not set.
    pub reserved: &'q [String],
    /// Whether fields can be set at all; with a body that takes every field they cannot.
    pub binds_fields: bool,
    pub problems: &'q mut Problems,
}

impl<'q> Query<'q> {
    /// Writes every parameter; a second value for what occurs once is refused.
    pub fn bind(&mut self, out: &mut Vec<u8>, query: &str) -> Extras {
        let mut extras = Extras::default();
        let mut seen = Vec::new();
        for (count, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if count == PARAMETERS_MAX {
                let message = format!("at most {PARAMETERS_MAX} parameters are taken");
                self.problems.push(
                    Violation::new("", "request.parameters", message).with("max", PARAMETERS_MAX),
                );
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                let name = decode(name, true).unwrap_or_default();
                self.problems.push(Violation::new(
                    name,
                    "request.encoding",
                    "is not valid percent-encoded UTF-8 text",
                ));
                continue;
            };
            if name == "fields" {
                if extras.fields.replace(value.into_owned()).is_some() {
                    self.repeated("fields");
                }
                continue;
            }
            self.parameter(out, &name, &value, &mut seen);
        }
        extras
    }

    fn parameter(&mut self, out: &mut Vec<u8>, name: &str, value: &str, seen: &mut Vec<String>) {
        let target = self.target(name);
        let Some((parents, field)) = target else {
            self.problems.push(Violation::new(
                name,
                "request.unknown_parameter",
                "this parameter does not exist",
            ));
            return;
        };
        if field.label != Label::Repeated {
            if seen.iter().any(|known| known == name) {
                self.repeated(name);
                return;
            }
            seen.push(name.to_owned());
        }
        let mut content = Vec::new();
        tell(
            put_text(&mut content, self.shapes, field, value),
            name,
            self.problems,
        );
        // Fields of nested messages are wrapped from the inside out; a decoder merges the parts.
        for number in parents.iter().rev() {
            let inner = std::mem::take(&mut content);
            wire::put_bytes(&mut content, *number, &inner);
        }
        out.extend_from_slice(&content);
    }

    fn repeated(&mut self, name: &str) {
        self.problems.push(Violation::new(
            name,
            "request.repeated_parameter",
            "this parameter may be given once",
        ));
    }

    /// The field that a dotted name leads to, and the numbers of the messages on the way.
    fn target(&self, name: &str) -> Option<(Vec<u32>, &'q Field)> {
        if !self.binds_fields {
            return None;
        }
        let mut shape = self.shapes.get(self.shape);
        let mut parents = Vec::new();
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            let field = shape.by_json(part)?;
            if parents.is_empty() && self.reserved.contains(&field.name) {
                return None;
            }
            if parts.peek().is_none() {
                return takes_text(self.shapes, field).then_some((parents, field));
            }
            let id = field
                .kind
                .message()
                .filter(|_| field.label == Label::Optional)?;
            shape = self.shapes.get(id);
            if shape.form != Form::Plain {
                return None;
            }
            parents.push(field.number);
        }
        None
    }
}

/// Whether one text can set the field: scalars, times, durations and lists of them.
pub fn takes_text(shapes: &Shapes, field: &Field) -> bool {
    if matches!(field.label, Label::Map(_)) {
        return false;
    }
    match field.kind {
        Kind::Message(id) => matches!(
            shapes.get(id).form,
            Form::Timestamp | Form::Duration | Form::Wrapper
        ),
        _ => true,
    }
}

fn put_text(out: &mut Vec<u8>, shapes: &Shapes, field: &Field, text: &str) -> Result<(), Expected> {
    wire::put_key(out, field.number, field.kind.wire_type());
    let mut nested = Ok(());
    match field.kind {
        Kind::Message(id) => {
            wire::put_length_of(out, |out| {
                nested = match shapes.get(id).form {
                    Form::Timestamp => scalar::put_timestamp(out, text),
                    Form::Duration => scalar::put_duration(out, text),
                    _ => {
                        let inner = shapes.get(id).fields[0].kind;
                        wire::put_key(out, 1, inner.wire_type());
                        scalar::put_plain(out, shapes, inner, text)
                    }
                };
            });
            nested
        }
        kind => scalar::put_plain(out, shapes, kind, text),
    }
}

fn tell(result: Result<(), Expected>, name: &str, problems: &mut Problems) {
    if let Err(expected) = result {
        problems.push(Violation::new(
            name,
            expected.rule,
            format!("must be {}", expected.words),
        ));
    }
}
