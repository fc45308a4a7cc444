//! Messages compiled for transcoding: what the descriptors say, laid out so that no request asks them anything.
//!
//! Reflection answers every question by name and through a lock-free but indirect graph; at two messages a request that was
//! the largest part of the gateway's time. A [`Shape`] is a flat table, and fields refer to each other by index.

use std::collections::HashMap;

use prost_reflect::{Cardinality, FieldDescriptor, Kind as Declared, MessageDescriptor};

/// The index of a shape within [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeId(u32);

/// Every message that a public method reaches.
#[derive(Default)]
pub struct Shapes {
    all: Vec<Shape>,
    enums: Vec<Vec<(String, i32)>>,
    by_name: HashMap<String, ShapeId>,
}

/// One message.
pub struct Shape {
    /// For example `auth.v1.LoginRequest`.
    pub full_name: String,
    /// How JSON writes it.
    pub form: Form,
    /// In the order of their declaration.
    pub fields: Vec<Field>,
}

/// Messages to which proto3 JSON gives a form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with a member per field.
    Plain,
    /// A time of RFC 3339.
    Timestamp,
    /// Seconds with an `s`.
    Duration,
    /// Paths in camel case, with commas.
    FieldMask,
    /// Any object.
    Struct,
    /// Any value.
    Value,
    /// Any array.
    ListValue,
    /// `google.protobuf.StringValue` and its kin: the bare value or null.
    Wrapper,
    /// Any media type, not JSON.
    HttpBody,
}

/// One field of a message.
pub struct Field {
    /// The number on the wire.
    pub number: u32,
    /// The name in the contract, for example `created_at`.
    pub name: String,
    /// The name in JSON, for example `createdAt`.
    pub json: String,
    /// The JSON name as it is written: quoted, with its colon.
    pub quoted: Vec<u8>,
    /// How often it occurs.
    pub label: Label,
    /// What it holds.
    pub kind: Kind,
    /// The oneof that it belongs to, unless the oneof only marks it as optional.
    pub oneof: Option<usize>,
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Once; an absent one has its default.
    Implicit,
    /// Once or absent.
    Optional,
    /// Any number of times.
    Repeated,
    /// Entries with a key of this kind; `Field::kind` is the kind of the values.
    Map(Kind),
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// Text.
    String,
    /// Bytes, in JSON as base64.
    Bytes,
    /// A real number of 32 bits.
    Float,
    /// A real number of 64 bits.
    Double,
    /// A whole number.
    Int(Int),
    /// A number with a name; the index of [`Shapes::values`].
    Enum(usize),
    /// Another message.
    Message(ShapeId),
}

/// How a whole number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// 32 or 64.
    pub bits: u8,
    /// Whether it may be negative.
    pub signed: bool,
    /// Its coding on the wire.
    pub coding: Coding,
}

/// The codings of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Seven bits a byte.
    Varint,
    /// A varint in which the sign comes last.
    Zigzag,
    /// As many bytes as the number has.
    Fixed,
}

impl Shapes {
    /// The shape behind an id.
    pub fn get(&self, id: ShapeId) -> &Shape {
        &self.all[id.0 as usize]
    }

    /// The id of a message by its full name, if it was added.
    pub fn find(&self, full_name: &str) -> Option<ShapeId> {
        self.by_name.get(full_name).copied()
    }

    /// The values of an enum: name and number.
    pub fn values(&self, id: usize) -> &[(String, i32)] {
        &self.enums[id]
    }

    /// Compiles a message and everything that it reaches, once.
    pub fn add(&mut self, message: &MessageDescriptor) -> ShapeId {
        if let Some(known) = self.by_name.get(message.full_name()) {
            return *known;
        }
        let id = ShapeId(
            u32::try_from(self.all.len()).expect("there are fewer than four billion messages"),
        );
        // The entry comes before the fields, because a message may contain itself.
        self.by_name.insert(message.full_name().to_owned(), id);
        self.all.push(Shape {
            full_name: message.full_name().to_owned(),
            form: form_of(message.full_name()),
            fields: Vec::new(),
        });
        let fields = message.fields().map(|field| self.field(&field)).collect();
        self.all[id.0 as usize].fields = fields;
        id
    }

    fn field(&mut self, field: &FieldDescriptor) -> Field {
        let (label, kind) = if let Some(entry) = map_entry(field) {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            (Label::Map(self.kind(&key)), self.kind(&value))
        } else {
            let label = match field.cardinality() {
                Cardinality::Repeated => Label::Repeated,
                _ if field.supports_presence() => Label::Optional,
                _ => Label::Implicit,
            };
            (label, self.kind(field))
        };
        let json = field.json_name().to_owned();
        let mut quoted = serde_json::to_vec(&json).expect("a name is always valid JSON");
        quoted.push(b':');
        let oneof = field
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| {
                field
                    .parent_message()
                    .oneofs()
                    .position(|other| other == oneof)
                    .expect("a oneof belongs to its message")
            });
        Field {
            number: field.number(),
            name: field.name().to_owned(),
            json,
            quoted,
            label,
            kind,
            oneof,
        }
    }

    fn kind(&mut self, field: &FieldDescriptor) -> Kind {
        let int = |bits, signed, coding| {
            Kind::Int(Int {
                bits,
                signed,
                coding,
            })
        };
        match field.kind() {
            Declared::Bool => Kind::Bool,
            Declared::String => Kind::String,
            Declared::Bytes => Kind::Bytes,
            Declared::Float => Kind::Float,
            Declared::Double => Kind::Double,
            Declared::Int32 => int(32, true, Coding::Varint),
            Declared::Int64 => int(64, true, Coding::Varint),
            Declared::Uint32 => int(32, false, Coding::Varint),
            Declared::Uint64 => int(64, false, Coding::Varint),
            Declared::Sint32 => int(32, true, Coding::Zigzag),
            Declared::Sint64 => int(64, true, Coding::Zigzag),
            Declared::Fixed32 => int(32, false, Coding::Fixed),
            Declared::Fixed64 => int(64, false, Coding::Fixed),
            Declared::Sfixed32 => int(32, true, Coding::Fixed),
            Declared::Sfixed64 => int(64, true, Coding::Fixed),
            Declared::Enum(declared) => {
                self.enums.push(
                    declared
                        .values()
                        .map(|value| (value.name().to_owned(), value.number()))
                        .collect(),
                );
                Kind::Enum(self.enums.len() - 1)
            }
            Declared::Message(message) => Kind::Message(self.add(&message)),
        }
    }
}

fn map_entry(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    field
        .is_map()
        .then(|| field.kind().as_message().cloned())
        .flatten()
}

fn form_of(full_name: &str) -> Form {
    match full_name {
        "google.protobuf.Timestamp" => Form::Timestamp,
        "google.protobuf.Duration" => Form::Duration,
        "google.protobuf.FieldMask" => Form::FieldMask,
        "google.protobuf.Struct" => Form::Struct,
        "google.protobuf.Value" => Form::Value,
        "google.protobuf.ListValue" => Form::ListValue,
        "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.DoubleValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.UInt64Value" => Form::Wrapper,
        "google.api.HttpBody" => Form::HttpBody,
        _ => Form::Plain,
    }
}

impl Shape {
    /// The field with this JSON name.
    pub fn by_json(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.json == name)
    }

    /// The field with this name in the contract.
    pub fn by_name(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Kind {
    /// The message that a field of this kind holds.
    pub const fn message(self) -> Option<ShapeId> {
        if let Self::Message(id) = self {
            Some(id)
        } else {
            None
        }
    }

    /// The wire type of a single value.
    pub const fn wire_type(self) -> u8 {
        match self {
            Self::Bool | Self::Enum(_) => crate::wire::VARINT,
            Self::String | Self::Bytes | Self::Message(_) => crate::wire::BYTES,
            Self::Float => crate::wire::FIXED32,
            Self::Double => crate::wire::FIXED64,
            Self::Int(Int {
                coding: Coding::Fixed,
                bits: 32,
                ..
            }) => crate::wire::FIXED32,
            Self::Int(Int {
                coding: Coding::Fixed,
                ..
            }) => crate::wire::FIXED64,
            Self::Int(_) => crate::wire::VARINT,
        }
    }
}
