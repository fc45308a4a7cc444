//! The public JSON form of messages (proto3 JSON), and of free-form data.
//!
//! Members are lowerCamelCase and always present, times are RFC 3339, enums are names. Integers are JSON numbers up to 2^53, the last
//! that every JSON reader keeps exactly (I-JSON, RFC 7493), and strings beyond. Text with the character NUL is refused: PostgreSQL
//! cannot store it.

mod selection;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use prost::{Message as _, Name};
use prost_reflect::{DeserializeOptions, DynamicMessage};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as ProtoValue};
use serde_json::{Number, Value};

pub use selection::Selection;
pub use write::{version_of, write};

use crate::shape::Shapes;

/// The largest integer that every JSON reader keeps exactly.
pub const INTEGER_MAX: u64 = 1 << 53;

/// How deep free-form data may be nested.
///
/// One level of JSON costs three of protobuf, and the decoder stops at 100; 24 leaves room for the messages around the data.
pub const STRUCT_DEPTH_MAX: usize = 24;

/// Why a JSON value is not the message that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where in the value, for example `data.items[2]`; empty at the top.
    pub path: String,
    /// What is wrong there, in English.
    pub problem: String,
}

impl Error {
    fn at(path: &str, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

impl std::error::Error for Error {}

/// The JSON form of a message, defaults included.
pub fn to_value<M: prost::Message + Name>(message: &M) -> Value {
    serde_json::from_slice(&to_bytes(message)).expect("what we write is JSON")
}

/// The JSON text of a message, defaults included.
pub fn to_bytes<M: prost::Message + Name>(message: &M) -> Vec<u8> {
    static SHAPES: OnceLock<Shapes> = OnceLock::new();
    let shapes = SHAPES.get_or_init(|| {
        let mut shapes = Shapes::default();
        for message in crate::pool().all_messages() {
            shapes.add(&message);
        }
        shapes
    });
    let shape = shapes
        .find(&M::full_name())
        .expect("every generated message is in the descriptor set");
    write(shapes, shape, &message.encode_to_vec(), None)
}

/// Reads a message from its JSON form. Members that the contract does not know are passed over, so that a newer writer can add some.
///
/// Integers beyond 2^53 must be strings, and no text may contain NUL.
pub fn from_value<M: prost::Message + Name + Default>(value: Value) -> Result<M, Error> {
    read(value, false)
}

/// Like [`from_value`], but a member that the contract does not know is an error.
pub fn from_value_strict<M: prost::Message + Name + Default>(value: Value) -> Result<M, Error> {
    read(value, true)
}

fn read<M: prost::Message + Name + Default>(value: Value, strict: bool) -> Result<M, Error> {
    check(&value)?;
    let options = DeserializeOptions::new().deny_unknown_fields(strict);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let dynamic =
        DynamicMessage::deserialize_with_options(crate::descriptor_of::<M>(), tracked, &options);
    match dynamic {
        Ok(message) => M::decode(message.encode_to_vec().as_slice())
            .map_err(|error| Error::at("", error.to_string())),
        Err(error) => {
            let path = track.path().to_string();
            Err(Error::at(
                if path == "." { "" } else { &path },
                error.to_string(),
            ))
        }
    }
}

/// Refuses what the platform cannot keep faithfully: integers beyond 2^53, and text or member names with the character NUL.
pub fn check(value: &Value) -> Result<(), Error> {
    check_at(value, "")
}

fn check_at(value: &Value, path: &str) -> Result<(), Error> {
    match value {
        Value::Number(number) if !is_exact(number) => Err(Error::at(
            path,
            "integers beyond 2^53 must be sent as strings",
        )),
        Value::String(text) if text.contains('\0') => {
            Err(Error::at(path, "text must not contain the character NUL"))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| check_at(item, &format!("{path}[{at}]"))),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            if key.contains('\0') {
                return Err(Error::at(
                    path,
                    "a member name must not contain the character NUL",
                ));
            }
            check_at(member, &join(path, key))
        }),
        _ => Ok(()),
    }
}

fn is_exact(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(natural), _) => natural <= INTEGER_MAX,
        (None, Some(integer)) => integer.unsigned_abs() <= INTEGER_MAX,
        (None, None) => true,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A double as the integer that it is; `None` for fractions, for what is beyond 2^53, and for negative zero, which no integer is.
fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact in a double")]
    let limit = INTEGER_MAX as f64;
    let is_integer = number.fract() == 0.0
        && number.abs() <= limit
        && !(number == 0.0 && number.is_sign_negative());
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    is_integer.then_some(number as i64)
}

/// The JSON form of free-form data; whole numbers become integers.
pub fn struct_to_value(data: &Struct) -> Value {
    Value::Object(
        data.fields
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect(),
    )
}

fn plain(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(*flag),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        // JSON has no NaN and no infinity.
        Some(Kind::NumberValue(number)) => whole(*number).map_or_else(
            || Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Value::from,
        ),
        Some(Kind::StructValue(data)) => struct_to_value(data),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(plain).collect()),
    }
}

/// Free-form data from a JSON object.
///
/// Refuses everything but an object, integers beyond 2^53 (a `Struct` holds doubles and would change them silently), the character NUL,
/// and nesting deeper than [`STRUCT_DEPTH_MAX`].
pub fn value_to_struct(value: &Value) -> Result<Struct, Error> {
    check(value)?;
    let Value::Object(members) = value else {
        return Err(Error::at("", "must be an object"));
    };
    object(members, "", 1)
}

fn object(
    members: &serde_json::Map<String, Value>,
    path: &str,
    depth: usize,
) -> Result<Struct, Error> {
    let fields = members
        .iter()
        .map(|(key, value)| Ok((key.clone(), proto(value, &join(path, key), depth)?)));
    Ok(Struct {
        fields: fields.collect::<Result<BTreeMap<_, _>, Error>>()?,
    })
}

fn proto(value: &Value, path: &str, depth: usize) -> Result<ProtoValue, Error> {
    if depth > STRUCT_DEPTH_MAX {
        return Err(Error::at(
            path,
            format!("must not be nested deeper than {STRUCT_DEPTH_MAX} levels"),
        ));
    }
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Number(number) => Kind::NumberValue(
            number
                .as_f64()
                .ok_or_else(|| Error::at(path, "is not a number that can be kept"))?,
        ),
        Value::Array(items) => {
            let values = items
                .iter()
                .enumerate()
                .map(|(at, item)| proto(item, &format!("{path}[{at}]"), depth + 1));
            Kind::ListValue(ListValue {
                values: values.collect::<Result<_, _>>()?,
            })
        }
        Value::Object(members) => Kind::StructValue(object(members, path, depth + 1)?),
    };
    Ok(ProtoValue { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::niche::v1::{CreateRecordRequest, Import, Record};
    use crate::tenant::v1::{TenantCreated, TenantStatusChanged};

    #[test]
    fn defaults_are_written_and_names_are_camel_case() {
        let event = TenantCreated {
            tenant_id: "t".into(),
            version: 3,
            ..TenantCreated::default()
        };
        let value = to_value(&event);
        assert_eq!(value["tenantId"], "t");
        assert_eq!(value["version"], 3);
        assert_eq!(value["slug"], "");
        assert_eq!(value["entitledActions"], json!([]));
        assert_eq!(from_value::<TenantCreated>(value).unwrap(), event);
    }

    #[test]
    fn integers_are_numbers_up_to_2_53_and_strings_beyond() {
        let exact = i64::try_from(INTEGER_MAX).unwrap();
        for (bytes, expected) in [
            (exact, json!(exact)),
            (exact + 1, json!("9007199254740993")),
            (-exact - 1, json!("-9007199254740993")),
        ] {
            let import = Import {
                file_bytes: bytes,
                ..Import::default()
            };
            let value = to_value(&import);
            assert_eq!(value["fileBytes"], expected);
            assert_eq!(
                from_value::<Import>(value).unwrap(),
                import,
                "the written form reads back"
            );
        }
        let error = from_value::<Import>(json!({"fileBytes": exact + 1})).unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.problem.as_str()),
            ("fileBytes", "integers beyond 2^53 must be sent as strings")
        );
    }

    #[test]
    fn free_form_integers_beyond_2_53_are_refused() {
        assert!(value_to_struct(&json!({"n": INTEGER_MAX})).is_ok());
        let error = value_to_struct(&json!({"a": [{"n": INTEGER_MAX + 1}]})).unwrap_err();
        assert_eq!(error.path, "a[0].n");
        assert!(value_to_struct(&json!({"n": -9_007_199_254_740_993_i64})).is_err());
        assert!(
            value_to_struct(&json!({"n": 1e300})).is_ok(),
            "a double is what it is"
        );
        let error =
            from_value::<CreateRecordRequest>(json!({"data": {"n": INTEGER_MAX + 1}})).unwrap_err();
        assert_eq!(error.path, "data.n");
    }

    #[test]
    fn nul_is_refused_in_text_and_in_names() {
        assert_eq!(
            value_to_struct(&json!({"a": ["x\0"]})).unwrap_err().path,
            "a[0]"
        );
        assert!(
            value_to_struct(&json!({"a\0": 1}))
                .unwrap_err()
                .problem
                .contains("member name")
        );
        let error = from_value::<TenantCreated>(json!({"name": "\0"})).unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.problem.as_str()),
            ("name", "text must not contain the character NUL")
        );
    }

    #[test]
    fn free_form_data_survives_both_ways() {
        let value = json!({"text": "á", "whole": 5, "part": 0.5, "flag": true, "none": null, "list": [1, [2]], "object": {"k": "v"}});
        let data = value_to_struct(&value).unwrap();
        assert_eq!(struct_to_value(&data), value);
        let record = Record {
            data: Some(data),
            ..Record::default()
        };
        assert_eq!(to_value(&record)["data"], value);
    }

    #[test]
    fn only_objects_are_free_form_data() {
        for value in [json!(null), json!([]), json!("x"), json!(1)] {
            assert_eq!(
                value_to_struct(&value).unwrap_err().problem,
                "must be an object"
            );
        }
    }

    #[test]
    fn the_deepest_data_that_is_accepted_can_be_sent() {
        let nested =
            |levels: usize| (1..levels).fold(json!({"k": 1}), |inner, _| json!({ "k": inner }));
        let listed = (1..STRUCT_DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
        for value in [nested(STRUCT_DEPTH_MAX), json!({ "k": listed })] {
            let record = Record {
                data: Some(value_to_struct(&value).unwrap()),
                ..Record::default()
            };
            let answer = crate::niche::v1::ListRecordsResponse {
                data: vec![record],
                meta: None,
            };
            let bytes = answer.encode_to_vec();
            assert_eq!(
                crate::niche::v1::ListRecordsResponse::decode(bytes.as_slice()).unwrap(),
                answer
            );
            to_value(&answer);
        }
        assert!(
            value_to_struct(&nested(STRUCT_DEPTH_MAX + 1))
                .unwrap_err()
                .problem
                .contains("deeper than 24")
        );
    }

    #[test]
    fn numbers_that_json_cannot_say_become_null() {
        let data = Struct {
            fields: [(
                "n".to_owned(),
                ProtoValue {
                    kind: Some(Kind::NumberValue(f64::NAN)),
                },
            )]
            .into(),
        };
        assert_eq!(struct_to_value(&data), json!({"n": null}));
    }

    #[test]
    fn unknown_members_are_passed_over_unless_strict() {
        let value = json!({"tenantId": "t", "addedLater": 1});
        assert_eq!(
            from_value::<TenantStatusChanged>(value.clone())
                .unwrap()
                .tenant_id,
            "t"
        );
        assert!(
            from_value_strict::<TenantStatusChanged>(value)
                .unwrap_err()
                .problem
                .contains("addedLater")
        );
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let error = from_value::<TenantCreated>(json!({"entitledActions": ["a", 1]})).unwrap_err();
        assert_eq!(error.path, "entitledActions[1]");
    }
}
