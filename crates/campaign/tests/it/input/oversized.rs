//! Too much, too slow, too deep, or cut off: a problem of the contract each time, and the next request is served.

use std::fmt::Write as _;

use campaign::Extent;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::input::stage::{House, IMPORTS, RECORDS, Stage};
use crate::input::wire::{canary, get_once, talk};

/// A body for a method that takes JSON, and the code and rule that answer it.
type Document = (&'static str, Vec<u8>, &'static str, &'static str);

#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
fn documents() -> Vec<Document> {
    const MALFORMED: &str = "MALFORMED_REQUEST";
    let data = |value: &str| format!("{{\"data\":{{\"name\":{value}}}}}").into_bytes();
    let keys = |count: usize| {
        let mut body = String::from("{\"data\":{");
        for n in 0..count {
            write!(body, "\"k{n}\":0,").unwrap();
        }
        (body + "\"z\":0}}").into_bytes()
    };
    vec![
        (
            "100,000 arrays inside each other",
            "[".repeat(100_000).into_bytes(),
            MALFORMED,
            "json.depth",
        ),
        (
            "100,000 objects inside each other",
            "{\"a\":".repeat(100_000).into_bytes(),
            MALFORMED,
            "json.depth",
        ),
        (
            "33 levels",
            data(&format!("{}1{}", "[".repeat(31), "]".repeat(31))),
            MALFORMED,
            "json.depth",
        ),
        ("1,000,000 keys", keys(1_000_000), "PAYLOAD_TOO_LARGE", ""),
        (
            "thousands of keys that no form has",
            keys(Extent::of_this_run().pick(10_000, 95_000)),
            "VALIDATION_ERROR",
            "",
        ),
        (
            "200,000 values",
            format!("{{\"data\":[{}0]}}", "0,".repeat(200_000)).into_bytes(),
            MALFORMED,
            "json.values",
        ),
        (
            "a key twice",
            br#"{"data":{"name":"a"},"data":{}}"#.to_vec(),
            MALFORMED,
            "json.duplicate_key",
        ),
        (
            "a key twice, once escaped",
            br#"{"data":{"name":"a","n\u0061me":"b"}}"#.to_vec(),
            MALFORMED,
            "json.duplicate_key",
        ),
        ("1e400", data("1e400"), MALFORMED, "json.number_range"),
        ("-1e400", data("-1e400"), MALFORMED, "json.number_range"),
        (
            "a number of 500 digits",
            data(&"9".repeat(500)),
            MALFORMED,
            "json.number_range",
        ),
        ("NaN", data("NaN"), MALFORMED, "json.syntax"),
        (
            "half of a surrogate pair",
            data(r#""\ud800""#),
            MALFORMED,
            "json.surrogate",
        ),
        (
            "the other half",
            data(r#""\udfff\ud800""#),
            MALFORMED,
            "json.surrogate",
        ),
        ("an escaped NUL", data(r#""\u0000""#), MALFORMED, "json.nul"),
        (
            "a NUL",
            b"{\"data\":{\"name\":\"\0\"}}".to_vec(),
            MALFORMED,
            "json.nul",
        ),
        (
            "a NUL in a key",
            br#"{"data":{"\u0000":1}}"#.to_vec(),
            MALFORMED,
            "json.nul",
        ),
        (
            "no UTF-8",
            b"{\"data\":{\"name\":\"\xff\"}}".to_vec(),
            MALFORMED,
            "json.utf8",
        ),
        (
            "a surrogate in UTF-8",
            b"{\"data\":{\"name\":\"\xed\xa0\x80\"}}".to_vec(),
            MALFORMED,
            "json.utf8",
        ),
        (
            "an overlong NUL",
            b"{\"data\":{\"name\":\"\xc0\x80\"}}".to_vec(),
            MALFORMED,
            "json.utf8",
        ),
        (
            "a byte order mark",
            b"\xef\xbb\xbf{\"data\":{}}".to_vec(),
            MALFORMED,
            "json.syntax",
        ),
        ("UTF-16", b"\xff\xfe{\0}\0".to_vec(), MALFORMED, "json.utf8"),
        (
            "two documents",
            b"{\"data\":{}}{}".to_vec(),
            MALFORMED,
            "json.syntax",
        ),
        ("no document", b" ".to_vec(), MALFORMED, "json.syntax"),
        ("a comment", b"/**/{}".to_vec(), MALFORMED, "json.syntax"),
        (
            "more than a record may have",
            data(&format!("\"{}\"", "x".repeat(1_000_000))),
            "VALIDATION_ERROR",
            "",
        ),
        (
            "more than a body may have",
            data(&format!("\"{}\"", "x".repeat(1_100_000))),
            "PAYLOAD_TOO_LARGE",
            "",
        ),
    ]
}

pub fn post(house: &House, lines: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {RECORDS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{lines}\r\n",
        house.token,
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_and_what_breaks_off_leaves_nothing_behind() {
    let stage = Stage::start(&[]).await;
    let house = stage.house("Ana").await;
    hostile_documents_are_refused_with_their_place(&stage, &house).await;
    oversized_heads_are_refused(&stage, &house).await;
    what_breaks_off_leaves_nothing_behind(&stage, &house).await;
    stage.platform.stop().await;
}

async fn hostile_documents_are_refused_with_their_place(stage: &Stage, house: &House) {
    let documents = documents();
    let count = documents.len();
    for (name, body, code, rule) in documents {
        let exchange = talk(stage.address, &post(house, "", &body)).await;
        assert_eq!(exchange.answers.len(), 1, "{name}: {exchange:?}");
        let answer = &exchange.answers[0];
        assert_eq!(answer.code(), code, "{name}: {answer:?}");
        assert!(answer.body.contains(rule), "{name}: {answer:?}");
        assert!(
            answer.body.len() < 64 * 1024,
            "{name}: the answer has {} bytes",
            answer.body.len()
        );
        canary(stage.address, name).await;
    }
    // What is sound still goes through.
    let sound = br#"{"data":{"name":"sound"}}"#;
    assert_eq!(
        talk(stage.address, &post(house, "", sound))
            .await
            .statuses(),
        [201]
    );
    let packed = talk(
        stage.address,
        &post(house, "Content-Encoding: gzip\r\n", &gzip_bomb()),
    )
    .await;
    assert_eq!(packed.answers[0].code(), "UNSUPPORTED_MEDIA_TYPE");
    Extent::of_this_run().tell("hostile documents", count);
}

/// What begins a gzip stream of 10 MiB of zeros; it is refused by its header line, so the rest does not matter.
fn gzip_bomb() -> Vec<u8> {
    [
        &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0][..],
        &[0; 10_000],
    ]
    .concat()
}

#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
async fn oversized_heads_are_refused(stage: &Stage, house: &House) {
    let token = format!("Authorization: Bearer {}\r\n", house.token);
    let lines =
        |count: usize| (0..count).fold(String::new(), |all, n| all + &format!("X-Line-{n}: x\r\n"));
    let wide = |bytes: usize| format!("X-Wide: {}\r\n", "x".repeat(bytes));
    let parameters = |count: usize| {
        let list: Vec<String> = (0..count).map(|n| format!("p{n}=1")).collect();
        format!("{RECORDS}?{}", list.join("&"))
    };
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (
            "a header line of 33 KiB",
            get_once("/v1/me", &wide(33 << 10)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a header line of 64 KiB",
            get_once("/v1/me", &wide(64 << 10)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a header line of 1 MiB",
            get_once("/v1/me", &wide(1 << 20)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "1,000 header lines",
            get_once("/v1/me", &lines(1_000)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a target of 40 KiB",
            get_once(&format!("/{}", "x".repeat(40 << 10)), ""),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a target of 100 KiB",
            get_once(&format!("/{}", "x".repeat(100 << 10)), ""),
            400,
            "MALFORMED_REQUEST",
        ),
        (
            "500 parameters",
            get_once(&parameters(500), &token),
            400,
            "VALIDATION_ERROR",
        ),
        (
            "3,000 parameters",
            get_once(&parameters(3_000), &token),
            400,
            "VALIDATION_ERROR",
        ),
        (
            "10,000 parameters",
            get_once(&parameters(10_000), &token),
            400,
            "MALFORMED_REQUEST",
        ),
        (
            "a credential of 9 KiB",
            get_once(
                "/v1/me",
                &format!("Authorization: Bearer {}\r\n", "x".repeat(9 << 10)),
            ),
            401,
            "INVALID_TOKEN",
        ),
        (
            "a cursor of 9 KiB",
            get_once(&format!("{RECORDS}?cursor={}", "x".repeat(9 << 10)), &token),
            400,
            "cursor",
        ),
        (
            "an idempotency key of 1 KiB",
            get_once(
                "/v1/me",
                &(token.clone() + "Idempotency-Key: " + &"k".repeat(1 << 10) + "\r\n"),
            ),
            200,
            "",
        ),
        (
            "a limit of a billion",
            get_once(&format!("{RECORDS}?limit=1000000000"), &token),
            400,
            "limit",
        ),
        (
            "patterns of LIKE",
            get_once(
                &format!("/v1/audit-logs?action={}", "%25_".repeat(200)),
                &token,
            ),
            400,
            "VALIDATION_ERROR",
        ),
        (
            "times at the end of the calendar",
            get_once(
                &format!(
                    "{RECORDS}?createdAtFrom=0001-01-01T00:00:00Z&createdAtTo=9999-12-31T23:59:59Z"
                ),
                &token,
            ),
            200,
            "",
        ),
    ];
    let count = cases.len();
    for (name, request, status, word) in cases {
        let exchange = talk(stage.address, &request).await;
        assert_eq!(exchange.statuses(), [status], "{name}: {exchange:?}");
        let answer = &exchange.answers[0];
        answer.code();
        assert!(answer.body.contains(word), "{name}: {answer:?}");
        canary(stage.address, name).await;
    }
    Extent::of_this_run().tell("oversized heads", count);
}

async fn what_breaks_off_leaves_nothing_behind(stage: &Stage, house: &House) {
    let whole = post(house, "", br#"{"data":{"name":"cut"}}"#);
    let upload = format!(
        "POST {IMPORTS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\nPackage,Section\ncut,utils\n",
        house.token
    );
    let mut cuts: Vec<Vec<u8>> = (1..whole.len())
        .step_by(Extent::of_this_run().pick(40, 1))
        .map(|end| whole[..end].to_vec())
        .collect();
    cuts.push(upload.into_bytes());
    let count = cuts.len();
    for cut in cuts {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        stream.write_all(&cut).await.unwrap();
        drop(stream);
    }
    canary(stage.address, "broken connections").await;
    let list = house
        .client
        .get(&format!("{RECORDS}?limit=100"))
        .await
        .unwrap();
    let names: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|record| record["data"]["name"].as_str())
        .collect();
    assert!(!names.contains(&"cut"), "{names:?}");
    let imports = house.client.get("/v1/imports").await.unwrap();
    assert_eq!(imports["data"].as_array().unwrap().len(), 1, "{imports}");
    Extent::of_this_run().tell("requests cut off", count);
}
