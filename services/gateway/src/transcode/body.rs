//! JSON to protobuf: one walk that writes the message and gathers everything that does not fit.

use kernel::Violation;

use super::scalar::{self, Expected};
use super::{Problems, Seen};
use crate::strict_json::Node;
use proto::shape::{Field, Form, Kind, Label, ShapeId, Shapes};
use proto::wire;

/// Where the walk is. A list of borrowed steps, so that a body without problems never builds a path.
#[derive(Clone, Copy)]
pub enum Path<'p> {
    /// The body as a whole.
    Root,
    /// A member.
    Key(&'p Path<'p>, &'p str),
    /// An element.
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// `filters[0].facet`.
    pub fn render(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => {
                let mut path = parent.render();
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                path
            }
            Self::Index(parent, index) => format!("{}[{index}]", parent.render()),
        }
    }
}

/// A value and its place.
#[derive(Clone, Copy)]
pub struct Spot<'s> {
    pub value: &'s Node<'s>,
    pub path: Path<'s>,
}

/// Writes the fields of a message from the members of an object.
///
/// `reserved` are names of the contract that this object must not set: the path binds them, or the gateway fills them.
pub struct Encoder<'e> {
    pub shapes: &'e Shapes,
    pub reserved: &'e [String],
    pub problems: &'e mut Problems,
}

impl Encoder<'_> {
    /// Writes every member of the body's top level.
    pub fn top(&mut self, out: &mut Vec<u8>, shape: ShapeId, node: &Node<'_>) {
        let Node::Object(members) = node else {
            self.wrong(
                &Path::Root,
                scalar::expectation(Kind::Message(shape)),
                node.kind(),
            );
            return;
        };
        let shape = self.shapes.get(shape);
        let mut seen = Seen::default();
        for (key, value) in members {
            let path = Path::Key(&Path::Root, key);
            match shape
                .by_json(key)
                .filter(|field| !self.reserved.contains(&field.name))
            {
                Some(field) => self.member(out, field, Spot { value, path }, &mut seen),
                None => self.unknown(&path),
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, shape: ShapeId, node: &Node<'_>, path: Path<'_>) {
        let Node::Object(members) = node else {
            self.wrong(
                &path,
                scalar::expectation(Kind::Message(shape)),
                node.kind(),
            );
            return;
        };
        let shape = self.shapes.get(shape);
        let mut seen = Seen::default();
        for (key, value) in members {
            let path = Path::Key(&path, key);
            match shape.by_json(key) {
                Some(field) => self.member(out, field, Spot { value, path }, &mut seen),
                None => self.unknown(&path),
            }
        }
    }

    fn member(&mut self, out: &mut Vec<u8>, field: &Field, spot: Spot<'_>, seen: &mut Seen) {
        // Null means absence, except where null is itself a value.
        if *spot.value == Node::Null && !self.takes_null(field) {
            return;
        }
        if field.oneof.is_some_and(|oneof| !seen.first(oneof)) {
            self.problems.push(Violation::new(
                spot.path.render(),
                "request.oneof",
                "only one of the alternatives may be set",
            ));
            return;
        }
        self.field(out, field, spot);
    }

    fn takes_null(&self, field: &Field) -> bool {
        field
            .kind
            .message()
            .is_some_and(|id| self.shapes.get(id).form == Form::Value)
            && field.label == Label::Optional
    }

    /// Writes one field, key included.
    pub fn field(&mut self, out: &mut Vec<u8>, field: &Field, spot: Spot<'_>) {
        let Spot { value, path } = spot;
        match (field.label, value) {
            (Label::Repeated, Node::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.single(
                        out,
                        field.number,
                        field.kind,
                        Spot {
                            value: item,
                            path: Path::Index(&path, index),
                        },
                    );
                }
            }
            (Label::Repeated, other) => {
                self.wrong(
                    &path,
                    Expected {
                        rule: "type.array",
                        words: "an array",
                    },
                    other.kind(),
                );
            }
            (Label::Map(key), Node::Object(members)) => {
                for (name, item) in members {
                    let path = Path::Key(&path, name);
                    wire::put_nested(out, field.number, |out| {
                        wire::put_key(out, 1, key.wire_type());
                        if let Err(expected) = scalar::put_plain(out, self.shapes, key, name) {
                            self.wrong(&path, expected, "string");
                        }
                        self.single(out, 2, field.kind, Spot { value: item, path });
                    });
                }
            }
            (Label::Map(_), other) => {
                self.wrong(
                    &path,
                    Expected {
                        rule: "type.object",
                        words: "an object",
                    },
                    other.kind(),
                );
            }
            (Label::Implicit | Label::Optional, _) => {
                self.single(out, field.number, field.kind, spot)
            }
        }
    }

    fn single(&mut self, out: &mut Vec<u8>, number: u32, kind: Kind, spot: Spot<'_>) {
        let Spot { value, path } = spot;
        let Kind::Message(id) = kind else {
            wire::put_key(out, number, kind.wire_type());
            if let Err(expected) = scalar::put_node(out, self.shapes, kind, value) {
                self.wrong(&path, expected, value.kind());
            }
            return;
        };
        wire::put_nested(out, number, |out| match self.shapes.get(id).form {
            Form::Plain => self.object(out, id, value, path),
            Form::Struct => self.structure(out, value, path),
            Form::Value => self.value(out, value, path),
            Form::ListValue => self.list(out, value, path),
            Form::Timestamp => self.text(
                spot,
                Expected {
                    rule: "type.timestamp",
                    words: "a time",
                },
                |text| scalar::put_timestamp(out, text),
            ),
            Form::Duration => self.text(
                spot,
                Expected {
                    rule: "type.duration",
                    words: "a duration",
                },
                |text| scalar::put_duration(out, text),
            ),
            Form::FieldMask => self.text(
                spot,
                Expected {
                    rule: "type.field_mask",
                    words: "field names joined by commas",
                },
                |text| {
                    put_mask(out, text);
                    Ok(())
                },
            ),
            Form::Wrapper => {
                let inner = self.shapes.get(id).fields[0].kind;
                self.single(out, 1, inner, spot);
            }
            Form::HttpBody => self.wrong(
                &path,
                Expected {
                    rule: "type.body",
                    words: "the raw body",
                },
                value.kind(),
            ),
        });
    }

    fn text(
        &mut self,
        spot: Spot<'_>,
        expected: Expected,
        put: impl FnOnce(&str) -> Result<(), Expected>,
    ) {
        let result = match spot.value {
            Node::String(text) => put(text),
            _ => Err(expected),
        };
        if let Err(expected) = result {
            self.wrong(&spot.path, expected, spot.value.kind());
        }
    }

    fn structure(&mut self, out: &mut Vec<u8>, value: &Node<'_>, path: Path<'_>) {
        let Node::Object(members) = value else {
            self.wrong(
                &path,
                Expected {
                    rule: "type.object",
                    words: "an object",
                },
                value.kind(),
            );
            return;
        };
        for (key, item) in members {
            let path = Path::Key(&path, key);
            wire::put_nested(out, 1, |out| {
                wire::put_bytes(out, 1, key.as_bytes());
                wire::put_nested(out, 2, |out| self.value(out, item, path));
            });
        }
    }

    /// The content of a `google.protobuf.Value`. Null is written as such: within a form it means "remove".
    fn value(&mut self, out: &mut Vec<u8>, value: &Node<'_>, path: Path<'_>) {
        match value {
            Node::Null => out.extend_from_slice(&[0x08, 0]),
            Node::Bool(value) => out.extend_from_slice(&[0x20, u8::from(*value)]),
            Node::String(text) => wire::put_bytes(out, 3, text.as_bytes()),
            Node::Number(literal) => {
                if is_inexact(literal) {
                    self.problems.push(Violation::new(
                        path.render(),
                        "type.integer_range",
                        "whole numbers beyond 2^53 lose digits; send it as a string",
                    ));
                }
                wire::put_key(out, 2, wire::FIXED64);
                let number: f64 = literal.parse().unwrap_or_default();
                out.extend_from_slice(&number.to_le_bytes());
            }
            Node::Object(_) => wire::put_nested(out, 5, |out| self.structure(out, value, path)),
            Node::Array(_) => wire::put_nested(out, 6, |out| self.list(out, value, path)),
        }
    }

    fn list(&mut self, out: &mut Vec<u8>, value: &Node<'_>, path: Path<'_>) {
        let Node::Array(items) = value else {
            self.wrong(
                &path,
                Expected {
                    rule: "type.array",
                    words: "an array",
                },
                value.kind(),
            );
            return;
        };
        for (index, item) in items.iter().enumerate() {
            wire::put_nested(out, 1, |out| {
                self.value(out, item, Path::Index(&path, index))
            });
        }
    }

    fn unknown(&mut self, path: &Path<'_>) {
        self.problems.push(Violation::new(
            path.render(),
            "request.unknown_field",
            "this field does not exist",
        ));
    }

    fn wrong(&mut self, path: &Path<'_>, expected: Expected, got: &'static str) {
        self.problems.push(
            Violation::new(
                path.render(),
                expected.rule,
                format!("must be {}, not {got}", expected.words),
            )
            .with("got", got),
        );
    }
}

/// Whether a double cannot hold a whole number exactly.
fn is_inexact(literal: &str) -> bool {
    const EXACT_MAX: u128 = 1 << 53;
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    digits.len() > 15
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.parse::<u128>().map_or(true, |n| n > EXACT_MAX)
}

/// The content of a `google.protobuf.FieldMask` from its JSON form, `userName,address.zipCode`.
fn put_mask(out: &mut Vec<u8>, text: &str) {
    for path in text.split(',').filter(|path| !path.is_empty()) {
        let mut snake = String::with_capacity(path.len() + 4);
        for c in path.chars() {
            if c.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        wire::put_bytes(out, 1, snake.as_bytes());
    }
}
