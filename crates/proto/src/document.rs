//! Free-form data, kept as it stands on the wire.

mod examine;
mod read;
mod tree;

use std::borrow::Cow;
use std::fmt;

use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message, Name};
use serde::Deserialize as _;
use serde_json::Value;

use crate::json::{Error, STRUCT_DEPTH_MAX, check, join};
use crate::wire;

/// The number of a `Struct`'s only field, a map; and within an entry of it, of name and value.
const FIELDS: u32 = 1;
const NAME: u32 = 1;
const VALUE: u32 = 2;
/// The kinds of a `Value`.
const NULL: u32 = 1;
const NUMBER: u32 = 2;
const STRING: u32 = 3;
const BOOL: u32 = 4;
const STRUCT: u32 = 5;
const LIST: u32 = 6;

/// Free-form data: a `google.protobuf.Struct` that is not taken apart.
///
/// Most of the data that passes through a process is only handed on: read from the database and answered, or received and stored. A tree of
/// maps and strings would be built and thrown away for each. What is in here was checked when it was read, so it can be taken apart without
/// fail: its bytes are well formed, its text is UTF-8, and it is nested no deeper than [`STRUCT_DEPTH_MAX`].
#[derive(Clone, Default)]
pub struct Document(Vec<u8>);

impl Document {
    /// Free-form data from a JSON object.
    ///
    /// Refuses everything but an object, integers beyond 2^53 (a `Struct` holds doubles and would change them silently), the character NUL,
    /// and nesting deeper than [`STRUCT_DEPTH_MAX`].
    pub fn from_value(value: &Value) -> Result<Self, Error> {
        check(value)?;
        let Value::Object(members) = value else {
            return Err(Error::at("", "must be an object"));
        };
        for (key, member) in members {
            check_depth(member, key, 1)?;
        }
        Self::deserialize(value).map_err(|error| Error::at("", error.to_string()))
    }

    /// The JSON form; whole numbers become integers.
    pub fn to_value(&self) -> Value {
        tree::object(&self.0)
    }
}

fn check_depth(value: &Value, path: &str, depth: usize) -> Result<(), Error> {
    if depth > STRUCT_DEPTH_MAX {
        return Err(Error::at(path, too_deep()));
    }
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| check_depth(item, &format!("{path}[{at}]"), depth + 1)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(key, member)| check_depth(member, &join(path, key), depth + 1)),
        _ => Ok(()),
    }
}

fn too_deep() -> String {
    format!("must not be nested deeper than {STRUCT_DEPTH_MAX} levels")
}

impl Message for Document {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != FIELDS {
            return encoding::skip_field(wire_type, tag, buf, ctx);
        }
        encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
        let length = encoding::decode_varint(buf)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= buf.remaining())
            .ok_or_else(|| broken("free-form data ends too early"))?;
        let start = self.0.len();
        wire::put_key(&mut self.0, FIELDS, wire::BYTES);
        wire::put_varint(&mut self.0, length as u64);
        let entry = self.0.len();
        self.0.put(buf.take(length));
        examine::member(&self.0[entry..], 1).inspect_err(|_| self.0.truncate(start))
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Name for Document {
    const NAME: &'static str = "Struct";
    const PACKAGE: &'static str = "google.protobuf";
}

/// By content: in which order the members stand says nothing.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.to_value() == other.to_value()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({})", self.to_value())
    }
}

#[expect(
    deprecated,
    reason = "the library has no other way for a message of its users to refuse its bytes"
)]
fn broken(problem: impl Into<Cow<'static, str>>) -> DecodeError {
    DecodeError::new(problem)
}

#[cfg(test)]
mod tests {
    use prost_types::{Struct, Value as Tree, value::Kind};
    use serde_json::json;

    use super::*;
    use crate::json::{INTEGER_MAX, to_value};
    use crate::niche::v1::{ListRecordsResponse, Record};

    /// Of every kind, empty and not, with texts that need escapes and more than one byte for their length.
    fn of_every_kind() -> Value {
        json!({
            "text": "ação \"x\"", "long": "á".repeat(300), "": "a name without letters", "qu\"ote": 1,
            "whole": 3, "negative": -7, "real": 0.25, "large": INTEGER_MAX, "yes": true, "no": false, "none": null,
            "list": [1, "a", [], {}, [null, [2.5]], "b".repeat(200)], "nested": {"a": {"b": [null, false, {"c": "d".repeat(130)}]}},
            "empty": {"list": [], "object": {}},
        })
    }

    fn record(value: &Value) -> Record {
        Record {
            data: Some(Document::from_value(value).unwrap()),
            ..Record::default()
        }
    }

    #[test]
    fn it_is_the_struct_of_the_library_on_the_wire() {
        let value = of_every_kind();
        let document = Document::from_value(&value).unwrap();
        let bytes = document.encode_to_vec();
        assert_eq!(document.encoded_len(), bytes.len());
        let tree = Struct::decode(bytes.as_slice()).unwrap();
        assert_eq!(tree.fields.len(), value.as_object().unwrap().len());
        let again = Document::decode(tree.encode_to_vec().as_slice()).unwrap();
        assert_eq!(again, document);
        assert_eq!(again.to_value(), value);
    }

    #[test]
    fn it_survives_every_way() {
        let value = of_every_kind();
        let record = record(&value);
        assert_eq!(to_value(&record)["data"], value);
        let stored: Document = serde_json::from_str(&value.to_string()).unwrap();
        assert_eq!(Some(&stored), record.data.as_ref());
        let sent = Record::decode(record.encode_to_vec().as_slice()).unwrap();
        assert_eq!(sent, record);
        let other = json!({"text": "another"});
        assert_ne!(Document::from_value(&other).unwrap(), stored);
    }

    #[test]
    fn only_objects_are_free_form_data() {
        for value in [json!(null), json!([]), json!("x"), json!(1)] {
            let error = Document::from_value(&value).unwrap_err();
            assert_eq!(error.problem, "must be an object");
            assert!(serde_json::from_str::<Document>(&value.to_string()).is_err());
        }
    }

    #[test]
    fn integers_beyond_2_53_and_nul_are_refused() {
        assert!(Document::from_value(&json!({"n": INTEGER_MAX, "m": 1e300})).is_ok());
        for (value, path) in [
            (json!({"a": [{"n": INTEGER_MAX + 1}]}), "a[0].n"),
            (json!({"n": -9_007_199_254_740_993_i64}), "n"),
            (json!({"a": ["x\0"]}), "a[0]"),
            (json!({"a\0": 1}), ""),
        ] {
            assert_eq!(Document::from_value(&value).unwrap_err().path, path);
        }
    }

    #[test]
    fn the_deepest_data_that_is_accepted_can_be_sent() {
        let nested =
            |levels: usize| (1..levels).fold(json!({"k": 1}), |inner, _| json!({ "k": inner }));
        let listed =
            |levels: usize| json!({"k": (1..levels).fold(json!(1), |inner, _| json!([inner]))});
        for shape in [&nested as &dyn Fn(usize) -> Value, &listed] {
            let answer = ListRecordsResponse {
                data: vec![record(&shape(STRUCT_DEPTH_MAX))],
                meta: None,
            };
            let bytes = answer.encode_to_vec();
            assert_eq!(
                ListRecordsResponse::decode(bytes.as_slice()).unwrap(),
                answer
            );
            to_value(&answer);
            let deeper = shape(STRUCT_DEPTH_MAX + 1);
            let error = Document::from_value(&deeper).unwrap_err();
            assert!(error.problem.contains("deeper than 24"), "{error}");
            assert!(serde_json::from_str::<Document>(&deeper.to_string()).is_err());
        }
    }

    #[test]
    fn what_another_sender_nested_deeper_is_refused() {
        let deeper = (0..STRUCT_DEPTH_MAX).fold(Kind::BoolValue(true), |inner, _| {
            let fields = [("k".to_owned(), Tree { kind: Some(inner) })].into();
            Kind::StructValue(Struct { fields })
        });
        let fields = [("k".to_owned(), Tree { kind: Some(deeper) })].into();
        let error = Document::decode(Struct { fields }.encode_to_vec().as_slice()).unwrap_err();
        assert!(error.to_string().contains("deeper than 24"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_struct_are_refused() {
        let whole = Document::from_value(&of_every_kind())
            .unwrap()
            .encode_to_vec();
        let mut accepted = 0;
        for at in 0..whole.len() {
            // Cut off, the last member is missing whole or broken.
            if Document::decode(&whole[..at]).is_ok() {
                accepted += 1;
                assert!(Struct::decode(&whole[..at]).is_ok(), "cut off at {at}");
            }
            // With any byte turned, it is taken apart without fail or refused.
            for mask in [0x01, 0x80, 0xff] {
                let mut turned = whole.clone();
                turned[at] ^= mask;
                if let Ok(document) = Document::decode(turned.as_slice()) {
                    document.to_value();
                }
            }
        }
        assert_eq!(accepted, of_every_kind().as_object().unwrap().len());
    }

    #[test]
    fn numbers_that_json_cannot_say_become_null_and_others_stay() {
        for (number, expected) in [
            (f64::NAN, Value::Null),
            (f64::INFINITY, Value::Null),
            (-0.0, json!(-0.0)),
            (1e300, json!(1e300)),
            (-5.0, json!(-5)),
        ] {
            let kind = Some(Kind::NumberValue(number));
            let fields = [("n".to_owned(), Tree { kind })].into();
            let bytes = Struct { fields }.encode_to_vec();
            let document = Document::decode(bytes.as_slice()).unwrap();
            assert_eq!(document.to_value(), json!({ "n": expected }));
        }
    }
}
