//! Headers that claim who somebody is: where a request comes from, whose tenant it is about, and what only our services say to each other.

use std::collections::BTreeMap;

use campaign::Extent;
use serde_json::Value;

use crate::input::stage::{House, RECORDS, Stage};
use crate::input::wire::{Answer, get_once, talk};

/// Every header by which some server somewhere is told the client's address.
const ADDRESS_LINES: [&str; 22] = [
    "X-Forwarded-For: 198.51.100.{n}\r\n",
    "x-forwarded-for: 198.51.100.{n}\r\nX-FORWARDED-FOR: 198.51.101.{n}\r\n",
    "X-Forwarded-For: 198.51.100.{n}, 127.0.0.1\r\n",
    "X-Forwarded-For: 127.0.0.1\r\n",
    "X-Forwarded-For: ::1\r\n",
    "X-Forwarded-For: 2001:db8:{n}::1\r\n",
    "X-Forwarded-For: fe80::{n}%eth0\r\n",
    "X-Forwarded-For: [2001:db8::{n}]:443\r\n",
    "X-Forwarded-For: unknown, 198.51.100.{n}\r\n",
    "X_Forwarded_For: 198.51.100.{n}\r\n",
    "X-Forwarded-For : 198.51.100.{n}\r\n",
    "X-Real-IP: 198.51.100.{n}\r\n",
    "Forwarded: for=198.51.100.{n}\r\n",
    "Forwarded: for=\"[2001:db8::{n}]\";by=127.0.0.1\r\n",
    "X-Client-IP: 198.51.100.{n}\r\n",
    "True-Client-IP: 198.51.100.{n}\r\n",
    "CF-Connecting-IP: 198.51.100.{n}\r\n",
    "X-Originating-IP: 198.51.100.{n}\r\n",
    "X-Cluster-Client-IP: 198.51.100.{n}\r\n",
    "Via: 1.1 198.51.100.{n}\r\n",
    "X-Forwarded-For: 198.51.100.{n}\r\nConnection: X-Forwarded-For\r\n",
    "Connection: close, X-Forwarded-For\r\nX-Forwarded-For: 198.51.100.{n}\r\n",
];

/// A sign-in that is counted and goes no further.
fn login(lines: &str) -> Vec<u8> {
    format!("POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n{lines}\r\n{{}}")
        .into_bytes()
}

/// What is left of the allowance of whoever the gateway took the client for.
fn left(answer: &Answer) -> u32 {
    let line = answer.header("ratelimit");
    let rest = line
        .strip_prefix("\"login\";r=")
        .unwrap_or_else(|| panic!("{answer:?}"));
    rest.split(';').next().unwrap().parse().unwrap()
}

/// Uses up so much of an allowance that a fresh one can be told from it, however much comes back meanwhile.
async fn use_up(stage: &Stage, lines: &str, count: usize) -> u32 {
    let mut rest = 0;
    for _ in 0..count {
        rest = left(&talk(stage.address, &login(lines)).await.answers[0]);
    }
    rest
}

async fn a_claimed_address_gives_no_new_allowance(stage: &Stage) {
    let mut last = use_up(stage, "", 40).await;
    let mut malformed = 0;
    for (n, lines) in ADDRESS_LINES.iter().enumerate() {
        let lines = lines.replace("{n}", &(n + 1).to_string());
        let exchange = talk(stage.address, &login(&lines)).await;
        assert_eq!(exchange.answers.len(), 1, "{lines}: {exchange:?}");
        if exchange.answers[0].header("ratelimit").is_empty() {
            assert_eq!(exchange.answers[0].code(), "MALFORMED_REQUEST", "{lines}");
            malformed += 1;
            continue;
        }
        let now = left(&exchange.answers[0]);
        assert!(
            now < last + 10,
            "{lines} changed who is counted: {now} left after {last}"
        );
        last = now;
    }
    assert_eq!(malformed, 1, "only the blank before the colon");
    // A trailer comes too late to say anything.
    let trailer = "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\nX-Forwarded-For: 198.51.100.200\r\n\r\n";
    assert!(left(&talk(stage.address, trailer.as_bytes()).await.answers[0]) < last + 10);
    Extent::of_this_run().tell("claimed addresses", ADDRESS_LINES.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_the_right_most_stranger_is_counted() {
    let stage = Stage::start(&[
        ("GATEWAY_RATE_LIMIT_FACTOR", "20"),
        ("GATEWAY_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8,fd00::/8"),
    ])
    .await;
    let cases = [
        ("203.0.113.1", "X-Forwarded-For: 203.0.113.1\r\n"),
        ("203.0.113.1", "X-Forwarded-For: 6.6.6.6, 203.0.113.1\r\n"),
        (
            "203.0.113.1",
            "X-Forwarded-For: 6.6.6.6, 203.0.113.1, 10.0.0.2\r\n",
        ),
        (
            "203.0.113.1",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.1\r\n",
        ),
        ("203.0.113.1", "X-Forwarded-For: 203.0.113.1:4711\r\n"),
        ("203.0.113.1", "X-Forwarded-For: ::ffff:203.0.113.1\r\n"),
        ("203.0.113.1", "X-Forwarded-For: 10.0.0.3, 203.0.113.1\r\n"),
        (
            "2001:db8:1:2::1",
            "X-Forwarded-For: 2001:db8:1:2::1\r\nForwarded: for=203.0.113.1\r\nX-Real-IP: 203.0.113.1\r\n",
        ),
        (
            "2001:db8:1:2::1",
            "X-Forwarded-For: [2001:db8:1:2:ffff::9]:443\r\n",
        ),
        (
            "the proxy",
            "X-Forwarded-For: 203.0.113.1, fe80::1%eth0\r\n",
        ),
        ("the proxy", "X-Forwarded-For: 203.0.113.1, unknown\r\n"),
        ("the proxy", "X-Forwarded-For: \r\n"),
        ("the proxy", "X_Forwarded_For: 203.0.113.1\r\n"),
        ("the proxy", "Forwarded: for=203.0.113.1\r\n"),
    ];
    let mut seen = BTreeMap::new();
    for (whom, lines, count) in [
        ("203.0.113.1", "X-Forwarded-For: 203.0.113.1\r\n", 20),
        (
            "2001:db8:1:2::1",
            "X-Forwarded-For: 2001:db8:1:2::7\r\n",
            45,
        ),
        ("the proxy", "", 70),
    ] {
        seen.insert(whom, use_up(&stage, lines, count).await);
    }
    for (whom, lines) in cases {
        let now = left(&talk(stage.address, &login(lines)).await.answers[0]);
        assert!(
            seen[whom].abs_diff(now) < 10,
            "{lines} is not {whom}: {now} left, {seen:?}"
        );
        seen.insert(whom, now);
    }
    Extent::of_this_run().tell("chains of proxies", cases.len());
    stage.platform.stop().await;
}

/// What our services say to each other, and what gRPC would take from a header.
fn internal_lines(victim: &House) -> Vec<String> {
    let (tenant, token) = (&victim.tenant_id, &victim.token);
    [
        format!("tenantry-context: {token}"),
        "tenantry-caller: gateway".to_owned(),
        format!("tenantry-service: {token}"),
        "tenantry-client-ip: 6.6.6.6".to_owned(),
        "tenantry-replayed: true".to_owned(),
        format!("tenantry-tenant: {tenant}"),
        format!("x-context-token: {token}"),
        format!("x-service-token: {token}"),
        format!("x-tenant: {tenant}"),
        format!("x_tenant_id: {tenant}"),
        format!("tenant-id: {tenant}"),
        format!("x-user-id: {tenant}"),
        "x-permissions: tenants.suspend".to_owned(),
        "x-original-url: /v1/platform/dead-letters".to_owned(),
        "x-rewrite-url: /v1/platform/dead-letters".to_owned(),
        "x-http-method-override: DELETE".to_owned(),
        "grpc-timeout: 1n".to_owned(),
        "grpc-encoding: gzip".to_owned(),
        "grpc-status: 0".to_owned(),
        "grpc-message: done".to_owned(),
        format!("grpc-metadata-tenantry-context: {token}"),
        "grpc-tags-bin: AAAA".to_owned(),
        "te: trailers".to_owned(),
        format!("cookie: access_token={token}; session={token}"),
        format!("proxy-authorization: Bearer {token}"),
        format!("x-authorization: Bearer {token}"),
        "connection: authorization".to_owned(),
    ]
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_inside_say_nothing_from_the_outside() {
    let stage = Stage::start(&[
        ("GATEWAY_CORS_ORIGINS", "https://app.example.com"),
        ("GATEWAY_RATE_LIMIT_FACTOR", "20"),
    ])
    .await;
    let (house, victim) = (stage.house("Ana").await, stage.house("Vera").await);
    let own = format!("Authorization: Bearer {}\r\n", house.token);
    let plain = talk(stage.address, &get_once(RECORDS, &own)).await;
    let lines = internal_lines(&victim);
    for line in &lines {
        let anonymous = talk(stage.address, &get_once(RECORDS, &format!("{line}\r\n"))).await;
        assert_eq!(anonymous.statuses(), [401], "{line}: {anonymous:?}");
        let dressed = talk(
            stage.address,
            &get_once(RECORDS, &format!("{own}{line}\r\n")),
        )
        .await;
        assert_eq!(dressed.statuses(), [200], "{line}: {dressed:?}");
        assert_eq!(
            dressed.answers[0].body, plain.answers[0].body,
            "{line} changed the answer"
        );
    }
    for (lines, code) in [
        (
            format!("X-Tenant-Id: {}\r\n", victim.tenant_id),
            "TENANT_MISMATCH",
        ),
        (
            format!(
                "X-Tenant-Id: {}\r\nX-Tenant-Id: {}\r\n",
                house.tenant_id, victim.tenant_id
            ),
            "MALFORMED_REQUEST",
        ),
        (
            format!(
                "X-Tenant-Id: {}\r\nX-Tenant-Id: {}\r\n",
                victim.tenant_id, house.tenant_id
            ),
            "MALFORMED_REQUEST",
        ),
        (
            format!("Authorization: Bearer {}\r\n", victim.token),
            "MALFORMED_REQUEST",
        ),
        (
            format!("X-API-Key: {}\r\n", victim.token),
            "MALFORMED_REQUEST",
        ),
    ] {
        let exchange = talk(stage.address, &get_once(RECORDS, &format!("{own}{lines}"))).await;
        assert_eq!(exchange.answers[0].code(), code, "{lines}: {exchange:?}");
    }
    trailers_say_nothing(&stage, &house, &victim).await;
    the_audit_log_names_the_peer(&stage, &house).await;
    a_claimed_address_gives_no_new_allowance(&stage).await;
    pages_of_strangers_read_nothing(&stage, &house).await;
    Extent::of_this_run().tell("headers of the inside", lines.len());
    stage.platform.stop().await;
}

async fn trailers_say_nothing(stage: &Stage, house: &House, victim: &House) {
    let chunked = |lines: &str, trailers: &str| {
        format!(
            "POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n{lines}\r\nd\r\n{{\"query\":\"x\"}}\r\n0\r\n{trailers}\r\n"
        )
    };
    let credential = format!("Authorization: Bearer {}\r\n", house.token);
    let anonymous = talk(
        stage.address,
        chunked("Trailer: Authorization\r\n", &credential).as_bytes(),
    )
    .await;
    assert_eq!(anonymous.statuses(), [401], "{anonymous:?}");
    let tenant = format!("X-Tenant-Id: {}\r\n", victim.tenant_id);
    let dressed = talk(stage.address, chunked(&credential, &tenant).as_bytes()).await;
    assert_eq!(dressed.statuses(), [200], "{dressed:?}");
}

async fn the_audit_log_names_the_peer(stage: &Stage, house: &House) {
    let body = r#"{"data":{"name":"spoofed"}}"#;
    let request = format!(
        "POST {RECORDS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nUser-Agent: {}\r\nConnection: close\r\n\r\n{body}",
        house.token,
        body.len(),
        "agent ".repeat(200),
    );
    assert_eq!(
        talk(stage.address, request.as_bytes()).await.statuses(),
        [201]
    );
    let entry = testkit::eventually("the audit entry is there", async || {
        let log = house
            .client
            .get("/v1/audit-logs?action=records.create")
            .await
            .unwrap();
        log["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["userAgent"].as_str().unwrap().starts_with("agent"))
            .cloned()
    })
    .await;
    assert_eq!(entry["ip"], Value::from("127.0.0.1"), "{entry}");
    assert_eq!(entry["userAgent"].as_str().unwrap().len(), 400);
}

/// A-15: browsers of strangers may neither read answers nor send JSON without asking first.
async fn pages_of_strangers_read_nothing(stage: &Stage, house: &House) {
    let own = format!("Authorization: Bearer {}\r\n", house.token);
    for (origin, is_known) in [
        ("https://app.example.com", true),
        ("null", false),
        ("*", false),
        ("", false),
        ("https://app.example.com.evil.example", false),
        ("https://evil-app.example.com", false),
        ("https://evil.example/?https://app.example.com", false),
        ("http://app.example.com", false),
        ("https://app.example.com:444", false),
        ("https://APP.example.com", false),
        ("https://app.example.com/", false),
        ("https://app.example.com https://evil.example", false),
        ("https://user@app.example.com", false),
    ] {
        let answer = talk(
            stage.address,
            &get_once("/v1/me", &format!("{own}Origin: {origin}\r\n")),
        )
        .await;
        let allowed = answer.answers[0].header("access-control-allow-origin");
        assert_eq!(
            allowed == origin && !allowed.is_empty(),
            is_known,
            "{origin}: {answer:?}"
        );
        assert!(is_known || allowed.is_empty(), "{origin}: {allowed}");
        let credentials = answer.answers[0].header("access-control-allow-credentials");
        assert_eq!(credentials == "true", is_known, "{origin}");
    }
    let twice = format!("{own}Origin: https://app.example.com\r\nOrigin: null\r\n");
    let answer = talk(stage.address, &get_once("/v1/me", &twice)).await;
    assert_eq!(answer.answers[0].header("access-control-allow-origin"), "");
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain; a=application/json",
        "",
    ] {
        let request = String::from_utf8(login(""))
            .unwrap()
            .replace("application/json", media_type);
        let exchange = talk(stage.address, request.as_bytes()).await;
        assert_eq!(
            exchange.answers[0].code(),
            "UNSUPPORTED_MEDIA_TYPE",
            "{media_type}"
        );
    }
}
