//! The methods of the contract with their requests: descriptors, policy, and the fixture of each.

use std::collections::BTreeMap;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value as Reflected,
};
use proto::policy::MethodPolicy;
use serde::Deserialize;
use serde_json::Value;

/// What a proof needs to know to call a method. The members of `request` are in the spelling of JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// A request that succeeds for whoever may call; `{…}` stands for an object of the caller's tenant.
    pub request: Value,
    /// What each place of an id names.
    #[serde(default)]
    pub ids: BTreeMap<String, String>,
    /// For lists: members that make it another list.
    #[serde(default)]
    pub other: Option<Value>,
    /// For uploads: the file.
    #[serde(default)]
    pub file: String,
    /// The call ends the session that it comes with.
    #[serde(default)]
    pub ends_session: bool,
}

/// A method with everything that is known of it.
#[derive(Clone, Debug)]
pub struct Method {
    pub policy: &'static MethodPolicy,
    pub descriptor: MethodDescriptor,
    pub fixture: Fixture,
}

/// Every method of the descriptors that is ours, by its path.
pub fn described() -> BTreeMap<String, MethodDescriptor> {
    let own = |name: &str| !name.starts_with("google.") && !name.starts_with("grpc.");
    proto::pool()
        .services()
        .filter(|service| own(service.full_name()))
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            (path, method)
        })
        .collect()
}

/// The fixtures by the path of their method.
pub fn fixtures() -> BTreeMap<String, Fixture> {
    serde_json::from_str(include_str!("../../../data/methods.json"))
        .expect("data/methods.json has only the members of a fixture")
}

/// Every method with its fixture; [`super::inventory`] proves that none lacks one.
pub fn methods() -> Vec<Method> {
    let mut fixtures = fixtures();
    described()
        .into_iter()
        .map(|(path, descriptor)| Method {
            policy: proto::policy::of(&path).unwrap(),
            descriptor,
            fixture: fixtures
                .remove(&path)
                .unwrap_or_else(|| panic!("{path} has no fixture in data/methods.json")),
        })
        .collect()
}

/// One method by the last part of its path.
pub fn method(name: &str) -> Method {
    methods()
        .into_iter()
        .find(|method| method.policy.method == name)
        .unwrap()
}

impl Method {
    /// The name in reports: `RecordService/GetRecord`.
    pub fn name(&self) -> &'static str {
        self.policy.path.split_once(".v1.").unwrap().1
    }

    /// Whether the public port has it.
    pub fn is_public(&self) -> bool {
        !self.policy.http.is_empty()
    }

    /// Whether it answers page by page.
    pub fn is_list(&self) -> bool {
        self.descriptor
            .input()
            .get_field_by_name("cursor")
            .is_some()
    }
}

/// A place of a request that names an object: every field with the rule `uuid`, and every one whose name says so.
pub fn id_places(message: &MessageDescriptor) -> Vec<String> {
    let mut found = Vec::new();
    collect(message, "", &mut found);
    found
}

fn collect(message: &MessageDescriptor, prefix: &str, found: &mut Vec<String>) {
    for field in message.fields() {
        let place = format!("{prefix}{}", field.json_name());
        match field.kind() {
            Kind::Message(inner) if !inner.full_name().starts_with("google.") => {
                collect(&inner, &format!("{place}."), found);
            }
            Kind::String if names_an_object(&field) => found.push(place),
            _ => {}
        }
    }
}

fn names_an_object(field: &FieldDescriptor) -> bool {
    let name = field.name();
    let by_name = matches!(name, "id" | "ids" | "actor" | "niche")
        || name.ends_with("_id")
        || name.ends_with("_ids");
    by_name
        || rule(field, &["string", "uuid"])
        || rule(field, &["repeated", "items", "string", "uuid"])
}

/// Whether the flag at the end of `path` is set in the field's validation rules.
fn rule(field: &FieldDescriptor, path: &[&str]) -> bool {
    let extension = proto::pool()
        .get_extension_by_name("buf.validate.field")
        .unwrap();
    let options = field.options();
    let Reflected::Message(mut at) = options.get_extension(&extension).into_owned() else {
        return false;
    };
    for (depth, step) in path.iter().enumerate() {
        if !at.has_field_by_name(step) {
            return false;
        }
        let next = at.get_field_by_name(step).unwrap().into_owned();
        match next {
            Reflected::Message(inner) => at = inner,
            Reflected::Bool(flag) => return flag && depth + 1 == path.len(),
            _ => return false,
        }
    }
    false
}

/// The bytes of a request from its JSON form.
pub fn encode(message: &MessageDescriptor, json: &Value) -> Vec<u8> {
    use prost::Message as _;
    DynamicMessage::deserialize(message.clone(), json)
        .unwrap_or_else(|error| panic!("{}: {error}\n{json}", message.full_name()))
        .encode_to_vec()
}

/// The JSON form of an answer's bytes.
pub fn decode(message: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message = DynamicMessage::decode(message.clone(), bytes)
        .expect("our services answer what the contract says");
    serde_json::to_value(&message).expect("every message has a JSON form")
}

/// Puts `value` at a dotted place, making the objects on the way. A list gets it as its only item.
pub fn put(request: &mut Value, place: &str, value: &str) {
    let mut at = request;
    let mut steps = place.split('.').peekable();
    while let Some(step) = steps.next() {
        let next = &mut at[step];
        if steps.peek().is_none() {
            *next = match next {
                Value::Array(_) => Value::from(vec![value]),
                _ => Value::from(value),
            };
            return;
        }
        at = next;
    }
}
