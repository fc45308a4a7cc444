//! What holds for any input: our reader against another one, our coding against reflection.

use gateway::routes::{Found, Verb, table};
use gateway::strict_json::{self, Node};
use gateway::transcode::{self, Body, Parts};
use proptest::prelude::*;
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
        // Eighths are exact; of other fractions `serde_json` may lose the last bit, which is not what is looked at here.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "[^\u{0}]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[^\u{0}]{0,6}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn value(node: &Node<'_>) -> Value {
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Number(text) => serde_json::from_str(text).unwrap(),
        Node::String(text) => text.as_ref().into(),
        Node::Array(items) => items.iter().map(value).collect(),
        Node::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, item)| (key.to_string(), value(item)))
                .collect(),
        ),
    }
}

fn method(verb: Verb, path: &str) -> &'static gateway::routes::Method {
    match table().find(Some(verb), path) {
        Found::Method(method, _) => method,
        _ => panic!("{path} leads nowhere"),
    }
}

fn bind(verb: Verb, path: &str, query: &str, body: &[u8]) -> Result<Vec<u8>, kernel::Error> {
    let Found::Method(method, captures) = table().find(Some(verb), path) else {
        panic!("{path} leads nowhere")
    };
    let body = if body.is_empty() {
        Body::Empty
    } else {
        Body::Json(body)
    };
    transcode::bind(
        &table().shapes,
        method,
        &Parts {
            captures: &captures,
            query,
            body,
            if_match: None,
        },
    )
    .map(|bound| bound.message)
}

/// 1.0 and 1 are the same number in JSON, and a `Struct` keeps no difference.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => {
                Value::from(n as i64)
            }
            Some(n) => Value::from(n),
            None => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, item)| (key, whole_numbers(item)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

proptest! {
    #[test]
    fn any_sound_document_reads_as_another_reader_reads_it(document in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
        prop_assert_eq!(value(&strict_json::parse(text.as_bytes()).unwrap()), document);
    }

    #[test]
    fn any_bytes_are_either_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let ours = strict_json::parse(&bytes);
        // We are stricter, never more lenient.
        if serde_json::from_slice::<Value>(&bytes).is_err() {
            prop_assert!(ours.is_err());
        }
    }

    #[test]
    fn any_damaged_document_is_either_read_or_refused(document in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = document.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(node) = strict_json::parse(&bytes) {
            let theirs: Value = serde_json::from_slice(&bytes).expect("what we take, others take");
            prop_assert_eq!(value(&node), theirs);
        }
    }

    #[test]
    fn any_form_makes_the_round_trip(data in prop::collection::btree_map("[^\u{0}]{0,6}", any_json(), 0..6)) {
        let data: Value = Value::Object(data.into_iter().collect::<Map<_, _>>());
        let body = json!({"data": data}).to_string();
        let method = method(Verb::Post, "/v1/niches/a/b/records");
        let Ok(message) = bind(Verb::Post, "/v1/niches/some/thing/records", "", body.as_bytes()) else {
            // Only depth is refused: a form may be four levels deeper than what the generator makes.
            return Err(TestCaseError::reject("too deep"));
        };
        // What we wrote is what reflection reads …
        let reflected = DynamicMessage::decode(method.descriptor.input(), message.as_slice()).unwrap();
        let theirs = serde_json::to_value(&reflected).unwrap();
        prop_assert_eq!(whole_numbers(theirs["data"].clone()), whole_numbers(data.clone()));
        prop_assert_eq!(&theirs["niche"], "some");
        // … and what we read back is what was sent.
        let answer = proto::json::write(&table().shapes, method.input, &message, None);
        let ours: Value = serde_json::from_slice(&answer).unwrap();
        prop_assert_eq!(whole_numbers(ours["data"].clone()), whole_numbers(data));
    }

    #[test]
    fn any_text_in_a_query_arrives_or_is_refused(text in "[^\u{0}]{0,20}", limit in any::<i32>()) {
        let query = form_urlencoded(&[("cursor", &text), ("limit", &limit.to_string())]);
        let message = bind(Verb::Get, "/v1/imports", &query, &[]).unwrap();
        let reflected = DynamicMessage::decode(method(Verb::Get, "/v1/imports").descriptor.input(), message.as_slice()).unwrap();
        let theirs = serde_json::to_value(&reflected).unwrap();
        prop_assert_eq!(theirs.get("cursor").cloned().unwrap_or_else(|| "".into()), text);
        prop_assert_eq!(theirs.get("limit").cloned().unwrap_or_else(|| 0.into()), limit);
    }

    #[test]
    fn any_query_is_either_bound_or_refused(query in "[a-zA-Z0-9=&%+.]{0,60}") {
        let _ = bind(Verb::Get, "/v1/niches/a/b/records", &query, &[]);
    }
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Messages of the contract with every kind of field, as reflection writes them and as we do.
#[test]
fn answers_are_written_as_reflection_writes_them() {
    let options = prost_reflect::SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    let time = Some(prost_types::Timestamp {
        seconds: 1_767_225_600,
        nanos: 120_000_000,
    });
    let import = proto::niche::v1::Import {
        id: "é\"\\\u{1}".into(),
        file_bytes: 1 << 40,
        failure: Some(String::new()),
        created_at: time,
        ..Default::default()
    };
    let page = proto::tenantry::api::v1::PageMeta {
        next_cursor: Some("c".into()),
        has_more: true,
    };
    let list = proto::niche::v1::ListImportsResponse {
        data: vec![import, Default::default()],
        meta: Some(page),
    };
    let kit = proto::niche::v1::GetKitResponse {
        data: Some(proto::niche::v1::Kit {
            key: "k".into(),
            name: Some(proto::niche::v1::LocalizedText {
                pt_br: "olá".into(),
                en: "hello".into(),
            }),
            entities: vec![Default::default()],
            ..Default::default()
        }),
    };
    let hit = proto::search::v1::Hit {
        score: 0.032_786_885_245_901_64,
        ..Default::default()
    };
    let search = proto::search::v1::SearchResponse {
        data: vec![hit],
        meta: None,
    };
    let check = |verb, path: &str, message: Vec<u8>| {
        let method = method(verb, path);
        let reflected =
            DynamicMessage::decode(method.descriptor.output(), message.as_slice()).unwrap();
        let mut theirs = Vec::new();
        reflected
            .serialize_with_options(&mut serde_json::Serializer::new(&mut theirs), &options)
            .unwrap();
        let ours = proto::json::write(&table().shapes, method.output, &message, None);
        let read = |bytes: &[u8]| whole_numbers(serde_json::from_slice(bytes).unwrap());
        assert_eq!(read(&ours), read(&theirs), "{path}");
    };
    check(Verb::Get, "/v1/imports", prost_encode(&list));
    check(Verb::Get, "/v1/kits/k", prost_encode(&kit));
    check(Verb::Post, "/v1/search", prost_encode(&search));
    check(Verb::Get, "/v1/me", Vec::new());
}

fn prost_encode(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}
