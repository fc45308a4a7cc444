//! JSON, queries and headers onto messages, and messages into JSON.

use serde_json::{Value, json};

use crate::fake::RECORD;
use crate::stage::{Got, Stage};

const RECORDS: &str = "/v1/niches/catalog/package/records";

async fn post(stage: &Stage, body: impl Into<reqwest::Body>) -> Got {
    stage
        .send(
            stage
                .as_ann("POST", RECORDS)
                .header("content-type", "application/json")
                .body(body),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_json_is_refused_with_the_place() {
    let stage = Stage::start_with(|config| config.rate_limit_factor = 100.0).await;
    let deep = format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(40), "}".repeat(40));
    let cases: &[(&[u8], &str)] = &[
        (b"{\"data\":{\"a\":1,\"a\":2}}", "data.a json.duplicate_key"),
        (b"{\"data\":{\"a\":\"\\u0000\"}}", "data.a json.nul"),
        (
            b"{\"data\":{\"a\":[\"\\ud800\"]}}",
            "data.a[0] json.surrogate",
        ),
        (b"{\"data\":{\"a\":1e400}}", "data.a json.number_range"),
        (b"{\"data\":{\"a\":\"\xff\"}}", "data.a json.utf8"),
        (b"{\"data\":{\"a\":1}", " json.syntax"),
        (b"\xef\xbb\xbf{}", " json.syntax"),
        (b"nonsense", " json.syntax"),
    ];
    for (body, place) in cases {
        let got = post(&stage, body.to_vec()).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (400, "MALFORMED_REQUEST"),
            "{place}"
        );
        assert_eq!(got.fields(), [*place]);
    }
    let got = post(&stage, deep).await;
    assert_eq!(got.problem(), "MALFORMED_REQUEST");
    assert!(got.fields()[0].ends_with("json.depth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unknown_field_and_wrong_type_is_told_at_once() {
    let stage = Stage::start().await;
    let got = post(
        &stage,
        json!({"data": [], "tenantId": "x", "niche": "other", "isAdmin": true}).to_string(),
    )
    .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (400, "VALIDATION_ERROR")
    );
    let expected = [
        "data type.object",
        "isAdmin request.unknown_field",
        "niche request.unknown_field",
        "tenantId request.unknown_field",
    ];
    assert_eq!(got.fields(), expected);
    let body = json!({"email": 1, "password": null, "tenantId": {}, "tenant_id": "x"}).to_string();
    let got = stage
        .send(
            stage
                .request("POST", "/v1/auth/login")
                .header("content-type", "application/json")
                .body(body),
        )
        .await;
    assert_eq!(
        got.fields(),
        [
            "email type.string",
            "tenantId type.string",
            "tenant_id request.unknown_field"
        ]
    );
    let got = post(
        &stage,
        json!({"data": {"n": 9_007_199_254_740_993_i64}}).to_string(),
    )
    .await;
    assert_eq!(got.fields(), ["data.n type.integer_range"]);
    let got = post(&stage, "[1]").await;
    assert_eq!(got.fields(), [" type.object"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_told_in_the_names_of_json_and_the_language_of_the_client() {
    let stage = Stage::start().await;
    let body = json!({"email": "nobody", "password": "short", "name": ""}).to_string();
    let request = stage
        .request("POST", "/v1/auth/register")
        .header("content-type", "application/json")
        .header("accept-language", "pt-BR");
    let got = stage.send(request.body(body)).await;
    assert_eq!(
        (
            got.status,
            got.problem().as_str(),
            got.header("content-language")
        ),
        (400, "VALIDATION_ERROR", "pt-BR")
    );
    assert_eq!(
        got.fields(),
        [
            "email string.email",
            "name string.min_len",
            "password string.min_len"
        ]
    );
    assert!(
        got.text.contains("deve ter pelo menos 15 caracteres"),
        "{}",
        got.text
    );
    let request = stage
        .as_ann("POST", RECORDS)
        .header("accept-language", "pt")
        .json(&json!({"data": {"fail": "form"}}));
    let got = stage.send(request).await;
    // Names within a form are the client's own, and a rule without a text keeps the service's words.
    assert_eq!(
        got.fields(),
        ["data.home_page string.min_len", "data.name form.unheard_of"]
    );
    assert!(got.text.contains("only in english"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_back_as_it_was_sent() {
    let stage = Stage::start().await;
    let data = json!({"name": "redis", "n": 5, "f": 1.5, "t": true, "nothing": null, "list": [1, "a", {"x": []}], "ação": "\u{1F600}\"\\\n"});
    let got = post(&stage, json!({"data": data}).to_string()).await;
    assert_eq!(got.status, 201, "{}", got.text);
    let record = &got.json()["data"];
    assert_eq!(record["data"], data);
    assert_eq!(record["version"], 1);
    assert_eq!(record["createdAt"], "2026-05-28T20:26:40Z");
    assert_eq!(got.header("etag"), "\"1\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_bind_typed_and_tell_their_problems() {
    let stage = Stage::start().await;
    let query = "?limit=1&facet=section:web&facet=a%20b:c%2Bd&sort=created_at:asc&createdAtFrom=2026-01-01T00:00:00.5Z&fields=data.told";
    let got = stage
        .send(stage.as_ann("GET", &format!("{RECORDS}{query}")))
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
    let told = "section:web+a b:c+d|created_at:asc||Some((1767225600, 500000000))";
    assert_eq!(
        got.json(),
        json!({"data": [{"data": {"told": told}}], "meta": {"hasMore": false}})
    );
    let query = "?limit=x&limit=1&created_at_from=2026&createdAtTo=now&nonsense=1&cursor=%ff&niche=other&fields=data,nope";
    let got = stage
        .send(stage.as_ann("GET", &format!("{RECORDS}{query}")))
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (400, "VALIDATION_ERROR")
    );
    let expected = [
        "createdAtTo type.timestamp",
        "created_at_from request.unknown_parameter",
        "cursor request.encoding",
        "fields request.unknown_field_path",
        "limit request.repeated_parameter",
        "limit type.integer",
        "niche request.unknown_parameter",
        "nonsense request.unknown_parameter",
    ];
    assert_eq!(got.fields(), expected);
    let many = "?".to_owned() + &"facet=a:b&".repeat(500);
    let got = stage
        .send(stage.as_ann("GET", &format!("{RECORDS}{many}")))
        .await;
    assert_eq!(got.fields(), [" request.parameters"]);
    let got = stage
        .send(
            stage
                .as_ann("POST", &format!("{RECORDS}?data=1"))
                .json(&json!({"data": {}})),
        )
        .await;
    assert_eq!(got.fields(), ["data request.unknown_parameter"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_carries_its_mask_and_the_version_of_if_match() {
    let stage = Stage::start().await;
    let path = format!("{RECORDS}/{RECORD}");
    let patch = |body: Value| {
        stage
            .as_ann("PATCH", &path)
            .header("content-type", "application/merge-patch+json")
            .body(body.to_string())
    };
    let got = stage
        .send(patch(json!({"data": {"a": 1, "gone": null}})).header("if-match", "\"3\""))
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(
        got.json()["data"]["data"],
        json!({"a": 1, "gone": null, "mask": "data,data.a,data.gone"})
    );
    assert_eq!(got.json()["data"]["version"], 4);
    let got = stage
        .send(patch(json!({"data": {}, "version": 2})).header("if-match", "\"3\""))
        .await;
    assert_eq!(got.fields(), ["version request.if_match_conflict"]);
    let got = stage
        .send(patch(json!({"data": {}})).header("if-match", "three"))
        .await;
    assert_eq!(got.fields(), ["If-Match request.if_match"]);
    let got = stage
        .send(patch(json!({"data": {}, "updateMask": "data"})))
        .await;
    assert_eq!(got.fields(), ["updateMask request.unknown_field"]);
    let got = stage
        .send(patch(json!({"data": {}})).header("if-match", "*"))
        .await;
    assert_eq!(got.json()["data"]["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_version_is_not_sent_again() {
    let stage = Stage::start().await;
    let path = format!("{RECORDS}/{RECORD}");
    let got = stage.send(stage.as_ann("GET", &path)).await;
    assert_eq!((got.status, got.header("etag")), (200, "\"7\""));
    for known in ["\"7\"", "W/\"7\"", "\"1\", \"7\"", "*"] {
        let got = stage
            .send(stage.as_ann("GET", &path).header("if-none-match", known))
            .await;
        assert_eq!(
            (got.status, got.text.as_str(), got.header("etag")),
            (304, "", "\"7\""),
            "{known}"
        );
    }
    let got = stage
        .send(stage.as_ann("GET", &path).header("if-none-match", "\"6\""))
        .await;
    assert_eq!(got.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_taken_where_they_belong() {
    let stage = Stage::start().await;
    let post = |content_type: &'static str| {
        stage
            .as_ann("POST", RECORDS)
            .header("content-type", content_type)
            .body("{\"data\":{}}")
    };
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin1",
        "application/merge-patch+json",
        "",
    ] {
        let got = stage.send(post(content_type)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "{content_type}"
        );
    }
    assert_eq!(
        stage
            .send(post("application/json; charset=utf-8"))
            .await
            .status,
        201
    );
    let got = stage
        .send(post("application/json").header("content-encoding", "gzip"))
        .await;
    assert_eq!(got.problem(), "UNSUPPORTED_MEDIA_TYPE");
    let got = stage
        .send(stage.as_ann("GET", RECORDS).json(&json!({})))
        .await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (400, "MALFORMED_REQUEST")
    );
    // A method whose fields are all optional needs no body.
    assert_eq!(
        stage
            .send(stage.as_ann("POST", "/v1/auth/logout"))
            .await
            .status,
        204
    );
    let got = stage
        .send(stage.as_ann("DELETE", &format!("{RECORDS}/{RECORD}")))
        .await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_cut_off_whatever_it_announces() {
    let stage = Stage::start().await;
    let body = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(1_100_000));
    let got = post(&stage, body.clone()).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (413, "PAYLOAD_TOO_LARGE")
    );
    let parts = futures::stream::iter(
        body.into_bytes()
            .chunks(10_000)
            .map(|part| Ok::<_, std::io::Error>(part.to_vec()))
            .collect::<Vec<_>>(),
    );
    let got = post(&stage, reqwest::Body::wrap_stream(parts)).await;
    assert_eq!(
        (got.status, got.problem().as_str()),
        (413, "PAYLOAD_TOO_LARGE")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_reach_the_service_and_replays_are_told() {
    let stage = Stage::start().await;
    let post = |key: &str| {
        stage
            .as_ann("POST", RECORDS)
            .header("idempotency-key", key)
            .json(&json!({"data": {}}))
    };
    let got = stage.send(post("first")).await;
    assert_eq!((got.status, got.header("idempotency-replayed")), (201, ""));
    assert_eq!(stage.fake.last().idempotency_key(), Some("first"));
    assert_eq!(
        stage
            .send(post("again"))
            .await
            .header("idempotency-replayed"),
        "true"
    );
    assert_eq!(stage.send(post(&"k".repeat(255))).await.status, 201);
    for key in ["", "with space", &"k".repeat(256)] {
        let got = stage.send(post(key)).await;
        assert_eq!(
            (got.status, got.problem().as_str()),
            (400, "VALIDATION_ERROR"),
            "{key}"
        );
    }
}
