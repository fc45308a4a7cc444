//! Protobuf to JSON, straight from the bytes of the answer.
//!
//! Fields with a default are always written, so that clients see every member; an absent optional member is left out.

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};

use super::Selection;
use crate::shape::{Coding, Field, Form, Int, Kind, Label, Shape, ShapeId, Shapes};
use crate::wire::{self, Fields, Raw};

/// Whole numbers up to here are exact as JSON numbers everywhere; beyond, a 64-bit field is written as a string (I-JSON, RFC 7493).
const EXACT_MAX: u64 = 1 << 53;

/// Writes a message as JSON. With a selection, only the wanted members of `data` (or of each of its elements).
pub fn write(
    shapes: &Shapes,
    shape: ShapeId,
    bytes: &[u8],
    selection: Option<&Selection>,
) -> Vec<u8> {
    let mut writer = Writer {
        shapes,
        out: Vec::with_capacity(bytes.len() * 2 + 64),
        slots: Vec::with_capacity(64),
    };
    let root = shapes.get(shape);
    match selection {
        Some(selection) if root.by_name("data").is_some() => {
            let envelope = Selection(
                root.fields
                    .iter()
                    .map(|field| (field.json.clone(), Selection::default()))
                    .collect(),
            );
            writer.envelope(root, bytes, &envelope, selection);
        }
        selection => writer.message(shape, bytes, selection),
    }
    writer.out
}

/// The value of `data.version`, for the `ETag`.
pub fn version_of(bytes: &[u8], data: u32, version: u32) -> Option<u64> {
    let (_, Raw::Bytes(data)) = Fields(bytes).filter(|(number, _)| *number == data).last()? else {
        return None;
    };
    match Fields(data)
        .filter(|(number, _)| *number == version)
        .last()?
    {
        (_, Raw::Number(number)) => Some(number),
        (_, Raw::Bytes(_)) => None,
    }
}

struct Writer<'s> {
    shapes: &'s Shapes,
    out: Vec<u8>,
    /// The fields of the messages in hand, outermost first: number, whether bytes, content. A stack, so that messages share one allocation.
    slots: Vec<(u32, Span)>,
}

/// The content of a field, as offsets into nothing: numbers by value, bytes by address within the message in hand.
#[derive(Clone, Copy)]
enum Span {
    Number(u64),
    Bytes { start: usize, end: usize },
}

/// The message in hand: its bytes, and where its slots begin.
#[derive(Clone, Copy)]
struct Scope<'b> {
    bytes: &'b [u8],
    base: usize,
}

impl Writer<'_> {
    fn envelope(&mut self, root: &Shape, bytes: &[u8], all: &Selection, wanted: &Selection) {
        self.members(root, bytes, Some(all), |name| {
            if name == "data" { Some(wanted) } else { None }
        });
    }

    fn message(&mut self, id: ShapeId, bytes: &[u8], selection: Option<&Selection>) {
        let shape = self.shapes.get(id);
        match shape.form {
            Form::Plain => self.members(shape, bytes, selection, |_| None),
            Form::Timestamp => self.timestamp(bytes),
            Form::Duration => self.duration(bytes),
            Form::FieldMask => self.mask(bytes),
            Form::Struct => self.structure(bytes, selection),
            Form::Value => self.value(bytes, selection),
            Form::ListValue => self.list(bytes),
            Form::Wrapper => {
                let kind = shape.fields[0].kind;
                match Fields(bytes).find(|(number, _)| *number == 1) {
                    Some((_, raw)) => self.single(kind, raw, None),
                    None => self.default(kind),
                }
            }
            // A body of any media type has no place within JSON; no public method declares one there.
            Form::HttpBody => self.out.extend_from_slice(b"null"),
        }
    }

    /// Writes an object. `inner` may hand a selection to a member by name; else the selection of the member counts.
    fn members<'a>(
        &mut self,
        shape: &Shape,
        bytes: &[u8],
        selection: Option<&'a Selection>,
        inner: impl Fn(&str) -> Option<&'a Selection>,
    ) {
        let base = self.slots.len();
        let origin = bytes.as_ptr() as usize;
        for (number, raw) in Fields(bytes) {
            let span = match raw {
                Raw::Number(value) => Span::Number(value),
                Raw::Bytes(part) => {
                    let start = part.as_ptr() as usize - origin;
                    Span::Bytes {
                        start,
                        end: start + part.len(),
                    }
                }
            };
            self.slots.push((number, span));
        }
        self.out.push(b'{');
        let mut first = true;
        for field in &shape.fields {
            let wanted = match selection {
                None => None,
                Some(selection) => match selection.of(&field.json) {
                    None => continue,
                    Some(of) => of,
                },
            };
            let wanted = inner(&field.json).or(wanted);
            self.field(field, Scope { bytes, base }, wanted, &mut first);
        }
        self.out.push(b'}');
        self.slots.truncate(base);
    }

    fn name(&mut self, field: &Field, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(&field.quoted);
    }

    fn field(
        &mut self,
        field: &Field,
        scope: Scope<'_>,
        wanted: Option<&Selection>,
        first: &mut bool,
    ) {
        match field.label {
            Label::Repeated => {
                self.name(field, first);
                self.repeated(field, scope, wanted);
            }
            Label::Map(key) => {
                self.name(field, first);
                self.map(field, key, scope);
            }
            Label::Implicit | Label::Optional => {
                let end = self.slots.len();
                let last = self.slots[scope.base..end]
                    .iter()
                    .rev()
                    .find(|(number, _)| *number == field.number)
                    .map(|(_, span)| *span);
                match last {
                    Some(span) => {
                        self.name(field, first);
                        self.single(field.kind, raw(scope.bytes, span), wanted);
                    }
                    None if field.label == Label::Implicit => {
                        self.name(field, first);
                        self.default(field.kind);
                    }
                    None => {}
                }
            }
        }
    }

    fn repeated(
        &mut self,
        field: &Field,
        Scope { bytes, base }: Scope<'_>,
        wanted: Option<&Selection>,
    ) {
        self.out.push(b'[');
        let end = self.slots.len();
        let mut first = true;
        for slot in base..end {
            let (number, span) = self.slots[slot];
            if number != field.number {
                continue;
            }
            match raw(bytes, span) {
                Raw::Bytes(packed) if field.kind.wire_type() != wire::BYTES => {
                    for value in unpack(field.kind, packed) {
                        self.comma(&mut first);
                        self.single(field.kind, Raw::Number(value), None);
                    }
                }
                item => {
                    self.comma(&mut first);
                    self.single(field.kind, item, wanted);
                }
            }
        }
        self.out.push(b']');
    }

    fn map(&mut self, field: &Field, key: Kind, Scope { bytes, base }: Scope<'_>) {
        self.out.push(b'{');
        let end = self.slots.len();
        let mut first = true;
        for slot in base..end {
            let (number, span) = self.slots[slot];
            let Raw::Bytes(entry) = raw(bytes, span) else {
                continue;
            };
            if number != field.number {
                continue;
            }
            self.comma(&mut first);
            let part = |wanted: u32| {
                Fields(entry)
                    .filter(|(number, _)| *number == wanted)
                    .last()
                    .map(|(_, raw)| raw)
            };
            match (key, part(1)) {
                (Kind::String, Some(text)) => self.single(key, text, None),
                (Kind::String, None) => self.out.extend_from_slice(b"\"\""),
                (_, number) => {
                    self.out.push(b'"');
                    match number {
                        Some(number) => self.bare(key, number),
                        None => self.default(key),
                    }
                    self.out.push(b'"');
                }
            }
            self.out.push(b':');
            match part(2) {
                Some(value) => self.single(field.kind, value, None),
                None => self.default(field.kind),
            }
        }
        self.out.push(b'}');
    }

    /// A map key that is no string: a number or a boolean, without the quotes that large numbers get elsewhere.
    fn bare(&mut self, kind: Kind, raw: Raw<'_>) {
        let start = self.out.len();
        self.single(kind, raw, None);
        if self.out.get(start) == Some(&b'"') {
            self.out.remove(start);
            self.out.pop();
        }
    }

    fn comma(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
    }

    fn single(&mut self, kind: Kind, raw: Raw<'_>, wanted: Option<&Selection>) {
        match (kind, raw) {
            (Kind::Message(id), Raw::Bytes(bytes)) => self.message(id, bytes, wanted),
            (Kind::String, Raw::Bytes(bytes)) => self.text(bytes),
            (Kind::Bytes, Raw::Bytes(bytes)) => {
                use base64::Engine as _;
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                self.text(text.as_bytes());
            }
            (Kind::Bool, Raw::Number(value)) => {
                self.out
                    .extend_from_slice(if value == 0 { b"false" } else { b"true" })
            }
            (Kind::Int(int), Raw::Number(value)) => self.integer(int, value),
            (Kind::Float, Raw::Number(bits)) => self.float(f64::from(f32::from_bits(bits as u32))),
            (Kind::Double, Raw::Number(bits)) => self.float(f64::from_bits(bits)),
            (Kind::Enum(id), Raw::Number(value)) => {
                let value = value as i32;
                match self
                    .shapes
                    .values(id)
                    .iter()
                    .find(|(_, number)| *number == value)
                {
                    Some((name, _)) => self.text(name.as_bytes()),
                    None => self.push_display(value),
                }
            }
            // The bytes contradict the contract; null is the honest answer.
            _ => self.out.extend_from_slice(b"null"),
        }
    }

    fn default(&mut self, kind: Kind) {
        match kind {
            Kind::String | Kind::Bytes => self.out.extend_from_slice(b"\"\""),
            Kind::Bool => self.out.extend_from_slice(b"false"),
            Kind::Int(_) | Kind::Float | Kind::Double => self.out.push(b'0'),
            Kind::Enum(_) => self.single(kind, Raw::Number(0), None),
            Kind::Message(id) => self.message(id, &[], None),
        }
    }

    fn push_display(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        write!(self.out, "{value}").expect("writing to memory cannot fail");
    }

    fn text(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        serde_json::to_writer(&mut self.out, &*text).expect("writing to memory cannot fail");
    }

    fn integer(&mut self, int: Int, bits: u64) {
        let value: i128 = match (int.coding, int.signed, int.bits) {
            (Coding::Zigzag, _, _) => i128::from(wire::unzigzag(bits)),
            (_, true, 32) => i128::from(bits as i32),
            (_, true, _) => i128::from(bits as i64),
            (_, false, 32) => i128::from(bits as u32),
            (_, false, _) => i128::from(bits),
        };
        if value.unsigned_abs() > u128::from(EXACT_MAX) {
            self.out.push(b'"');
            self.push_display(value);
            self.out.push(b'"');
        } else {
            self.push_display(value as i64);
        }
    }

    fn float(&mut self, value: f64) {
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX as f64 {
            self.push_display(value as i64);
        } else if value.is_finite() {
            serde_json::to_writer(&mut self.out, &value).expect("writing to memory cannot fail");
        } else {
            // JSON has no such number, and a string in its place breaks clients.
            self.out.extend_from_slice(b"null");
        }
    }

    fn timestamp(&mut self, bytes: &[u8]) {
        let (seconds, nanos) = seconds_of(bytes);
        match DateTime::<Utc>::from_timestamp(seconds, u32::try_from(nanos).unwrap_or(0)) {
            Some(time) => self.time(time),
            None => self.out.extend_from_slice(b"null"),
        }
    }

    /// RFC 3339, with as many digits of a second, by threes, as it needs. Every record has two times, and the library's formatting, which can do much
    /// more, is far slower; it still has leap seconds and the years that have no four digits.
    fn time(&mut self, time: DateTime<Utc>) {
        self.out.push(b'"');
        let (date, clock) = (time.date_naive(), time.time());
        let nanos = time.timestamp_subsec_nanos();
        if let (Ok(year @ 0..=9999), 0..1_000_000_000) = (u32::try_from(date.year()), nanos) {
            self.digits(year, 4);
            for (before, number) in [
                (b'-', date.month()),
                (b'-', date.day()),
                (b'T', clock.hour()),
                (b':', clock.minute()),
                (b':', clock.second()),
            ] {
                self.out.push(before);
                self.digits(number, 2);
            }
            let (fraction, width) = match nanos {
                0 => (0, 0),
                _ if nanos.is_multiple_of(1_000_000) => (nanos / 1_000_000, 3),
                _ if nanos.is_multiple_of(1_000) => (nanos / 1_000, 6),
                _ => (nanos, 9),
            };
            if width > 0 {
                self.out.push(b'.');
                self.digits(fraction, width);
            }
            self.out.push(b'Z');
        } else {
            let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            self.out.extend_from_slice(text.as_bytes());
        }
        self.out.push(b'"');
    }

    /// A number with leading zeros.
    fn digits(&mut self, mut number: u32, width: usize) {
        let start = self.out.len();
        self.out.resize(start + width, b'0');
        for place in self.out[start..].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }

    fn duration(&mut self, bytes: &[u8]) {
        let (seconds, nanos) = seconds_of(bytes);
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        let mut text = format!("{sign}{}", seconds.unsigned_abs());
        if nanos != 0 {
            let fraction = format!("{:09}", nanos.unsigned_abs());
            text.push('.');
            text.push_str(fraction.trim_end_matches('0'));
        }
        text.push('s');
        self.text(text.as_bytes());
    }

    fn mask(&mut self, bytes: &[u8]) {
        let mut text = String::new();
        for (_, raw) in Fields(bytes) {
            let Raw::Bytes(path) = raw else { continue };
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&camel(&String::from_utf8_lossy(path)));
        }
        self.text(text.as_bytes());
    }

    fn structure(&mut self, bytes: &[u8], selection: Option<&Selection>) {
        self.out.push(b'{');
        let mut first = true;
        for (_, entry) in Fields(bytes) {
            let Raw::Bytes(entry) = entry else { continue };
            let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
            for (number, raw) in Fields(entry) {
                match (number, raw) {
                    (1, Raw::Bytes(bytes)) => key = bytes,
                    (2, Raw::Bytes(bytes)) => value = bytes,
                    _ => {}
                }
            }
            let wanted = match selection {
                None => None,
                Some(selection) => match selection.of(&String::from_utf8_lossy(key)) {
                    None => continue,
                    Some(of) => of,
                },
            };
            self.comma(&mut first);
            self.text(key);
            self.out.push(b':');
            self.value(value, wanted);
        }
        self.out.push(b'}');
    }

    fn value(&mut self, bytes: &[u8], selection: Option<&Selection>) {
        match Fields(bytes).last() {
            Some((2, Raw::Number(bits))) => self.float(f64::from_bits(bits)),
            Some((3, Raw::Bytes(text))) => self.text(text),
            Some((4, Raw::Number(value))) => {
                self.out
                    .extend_from_slice(if value == 0 { b"false" } else { b"true" })
            }
            Some((5, Raw::Bytes(inner))) => self.structure(inner, selection),
            Some((6, Raw::Bytes(inner))) => self.list(inner),
            _ => self.out.extend_from_slice(b"null"),
        }
    }

    fn list(&mut self, bytes: &[u8]) {
        self.out.push(b'[');
        let mut first = true;
        for (_, item) in Fields(bytes) {
            let Raw::Bytes(item) = item else { continue };
            self.comma(&mut first);
            self.value(item, None);
        }
        self.out.push(b']');
    }
}

fn raw(bytes: &[u8], span: Span) -> Raw<'_> {
    match span {
        Span::Number(value) => Raw::Number(value),
        Span::Bytes { start, end } => Raw::Bytes(&bytes[start..end]),
    }
}

fn seconds_of(bytes: &[u8]) -> (i64, i64) {
    let (mut seconds, mut nanos) = (0, 0);
    for (number, raw) in Fields(bytes) {
        match (number, raw) {
            (1, Raw::Number(value)) => seconds = value as i64,
            (2, Raw::Number(value)) => nanos = value as i64,
            _ => {}
        }
    }
    (seconds, nanos)
}

fn unpack(kind: Kind, mut packed: &[u8]) -> Vec<u64> {
    let mut values = Vec::new();
    while !packed.is_empty() {
        let value = match kind.wire_type() {
            wire::FIXED64 => packed.split_first_chunk().map(|(head, tail)| {
                packed = tail;
                u64::from_le_bytes(*head)
            }),
            wire::FIXED32 => packed.split_first_chunk().map(|(head, tail)| {
                packed = tail;
                u64::from(u32::from_le_bytes(*head))
            }),
            _ => wire::take_varint(&mut packed),
        };
        match value {
            Some(value) => values.push(value),
            None => break,
        }
    }
    values
}

/// `created_at` to `createdAt`, as proto3 JSON does it.
pub fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            out.push(c.to_ascii_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone as _};

    use super::*;

    #[test]
    fn times_are_written_as_the_library_writes_them() {
        let shapes = Shapes::default();
        let mut writer = Writer {
            shapes: &shapes,
            out: Vec::new(),
            slots: Vec::new(),
        };
        let epoch = Utc.timestamp_opt(0, 0).unwrap();
        // Steps that meet every day of the year, every hour, and every width of the fraction.
        let times = (-3_000..3_000_i64).map(|n| {
            let fraction = [0, 1_000_000, 120_000, 7][n.rem_euclid(4) as usize] * n.rem_euclid(83);
            epoch + TimeDelta::seconds(n * 8_640_031) + TimeDelta::nanoseconds(fraction)
        });
        let edges = [
            DateTime::<Utc>::MIN_UTC,
            DateTime::<Utc>::MAX_UTC,
            // A leap second, as the library keeps it.
            DateTime::from_timestamp(1_483_228_799, 1_500_000_000).unwrap(),
        ];
        for time in times.chain(edges) {
            writer.out.clear();
            writer.time(time);
            let expected = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            assert_eq!(
                String::from_utf8_lossy(&writer.out),
                format!("\"{expected}\"")
            );
        }
    }
}
