//! The public JSON form of messages (proto3 JSON). Free-form data within them is a [`Document`](crate::Document).
//!
//! Members are lowerCamelCase and always present, times are RFC 3339, enums are names. Integers are JSON numbers up to 2^53, the last
//! that every JSON reader keeps exactly (I-JSON, RFC 7493), and strings beyond. Text with the character NUL is refused: PostgreSQL
//! cannot store it.

mod selection;
mod write;

use std::fmt;
use std::sync::OnceLock;

use prost::{Message as _, Name};
use prost_reflect::{DeserializeOptions, DynamicMessage};
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
    pub(crate) fn at(path: &str, problem: impl Into<String>) -> Self {
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

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::niche::v1::{CreateRecordRequest, Import};
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
    fn integers_beyond_2_53_are_refused_in_free_form_data() {
        let error =
            from_value::<CreateRecordRequest>(json!({"data": {"n": INTEGER_MAX + 1}})).unwrap_err();
        assert_eq!(error.path, "data.n");
    }

    #[test]
    fn nul_is_refused() {
        let error = from_value::<TenantCreated>(json!({"name": "\0"})).unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.problem.as_str()),
            ("name", "text must not contain the character NUL")
        );
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
