//! Claims that the right key has signed and that are missing, malformed, foreign or doubled.

use serde_json::{Value, json};

use crate::tokens::workshop::{Forgery, Workshop, without};

/// Every claim of a genuine token.
const CLAIMS: [&str; 10] = [
    "iss", "aud", "sub", "tenantId", "type", "sid", "jti", "iat", "nbf", "exp",
];

pub fn collect(workshop: &Workshop, all: &mut Vec<Forgery>) {
    missing_or_of_another_type(workshop, all);
    times(workshop, all);
    foreign(workshop, all);
    unknown(workshop, all);
    doubled(workshop, all);
    shapes(workshop, all);
}

fn push(workshop: &Workshop, all: &mut Vec<Forgery>, what: String, claims: &Value) {
    all.push(Forgery::new(what, workshop.sign(&workshop.header, claims)));
}

fn missing_or_of_another_type(workshop: &Workshop, all: &mut Vec<Forgery>) {
    for claim in CLAIMS {
        let genuine = &workshop.claims[claim];
        push(
            workshop,
            all,
            format!("no {claim}"),
            &without(&workshop.claims, claim),
        );
        let upper = claim.to_uppercase();
        let mut renamed = without(&workshop.claims, claim);
        renamed[&upper] = genuine.clone();
        push(workshop, all, format!("{claim} named {upper}"), &renamed);
        let mut values = vec![
            json!([genuine]),
            json!({ "value": genuine }),
            json!(true),
            json!(""),
        ];
        // Without a tenant a token is sound: it is what somebody without a membership has.
        if claim != "tenantId" {
            values.push(Value::Null);
        }
        for value in values {
            let what = format!("{claim} as {value}");
            push(workshop, all, what, &workshop.claims_with(claim, value));
        }
    }
}

/// A malformed time is not an absent one (jsonwebtoken CVE-2026-25537), and no time of ours is far from now.
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
fn times(workshop: &Workshop, all: &mut Vec<Forgery>) {
    for claim in ["exp", "nbf", "iat"] {
        let genuine = workshop.claims[claim].as_i64().unwrap();
        let values = [
            json!(genuine.to_string()),
            json!(format!("{genuine}.0")),
            json!("9999999999"),
            json!("2099-01-01T00:00:00Z"),
            json!(genuine as f64),
            json!(genuine as f64 + 0.5),
            json!(1e300),
            json!(-1.5),
            json!(-1),
            json!(0),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(genuine * 1_000),
            json!(99_999_999_999_i64),
            json!([genuine, genuine]),
        ];
        for value in values {
            let what = format!("{claim} {value}");
            push(workshop, all, what, &workshop.claims_with(claim, value));
        }
        let text = workshop.claims.to_string();
        for written in [
            "1e999",
            "100000000000000000000000",
            "0x7fffffff",
            "NaN",
            "Infinity",
            "01",
        ] {
            let raw = text.replace(
                &format!("\"{claim}\":{genuine}"),
                &format!("\"{claim}\":{written}"),
            );
            assert_ne!(raw, text, "the claim is replaced");
            let token = workshop.sign_text(&workshop.header.to_string(), &raw);
            all.push(Forgery::new(format!("{claim} written {written}"), token));
        }
    }
    let now = workshop.now;
    let mut at = |what: &str, (iat, nbf, exp): (i64, i64, i64), code: &'static str| {
        let mut claims = workshop.claims.clone();
        (claims["iat"], claims["nbf"], claims["exp"]) = (json!(iat), json!(nbf), json!(exp));
        all.push(Forgery::new(what, workshop.sign(&workshop.header, &claims)).told(code));
    };
    at(
        "of yesterday",
        (now - 86_400, now - 86_400, now - 85_500),
        "TOKEN_EXPIRED",
    );
    at(
        "that ended a second ago",
        (now - 901, now - 901, now - 1),
        "TOKEN_EXPIRED",
    );
    at(
        "that ends now",
        (now - 900, now - 900, now),
        "TOKEN_EXPIRED",
    );
    at(
        "from a minute ahead",
        (now + 60, now + 60, now + 960),
        "INVALID_TOKEN",
    );
    at(
        "good in a minute",
        (now, now + 60, now + 900),
        "INVALID_TOKEN",
    );
    at(
        "that ends before it begins",
        (now, now, now - 900),
        "INVALID_TOKEN",
    );
    at("good for a day", (now, now, now + 86_400), "INVALID_TOKEN");
    at(
        "good before it was made",
        (now, now - 600, now + 900),
        "INVALID_TOKEN",
    );
}

/// Meant for somebody else, from somebody else, or about somebody who is not there.
fn foreign(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let stranger = "00000000-0000-7000-8000-00000000ffff";
    let iss = workshop.claims["iss"].as_str().unwrap();
    let values = [
        ("iss", json!(format!("{iss}/"))),
        ("iss", json!(iss.to_uppercase())),
        ("iss", json!(format!("{iss}@evil.example"))),
        ("iss", json!("https://staging.tenantry.example")),
        ("iss", json!("auth")),
        ("aud", json!("niche")),
        ("aud", json!("billing")),
        ("aud", json!("tenantry-staging")),
        ("aud", json!("Tenantry")),
        ("aud", json!("tenantry ")),
        ("aud", json!("*")),
        ("aud", json!(["tenantry", "billing"])),
        ("sub", json!(stranger)),
        ("sub", json!("admin@example.com")),
        ("sub", json!(uuid::Uuid::nil())),
        (
            "sub",
            json!(format!("{} ", workshop.claims["sub"].as_str().unwrap())),
        ),
        ("sid", json!(stranger)),
        ("sid", json!(uuid::Uuid::nil())),
        ("sid", workshop.claims["sub"].clone()),
        ("sub", workshop.claims["sid"].clone()),
        ("tenantId", json!("platform")),
        ("tenantId", json!("*")),
        ("tenantId", json!(0)),
        ("jti", json!("../../x")),
        ("type", json!("User")),
        ("type", json!("service")),
        ("type", json!("platform")),
        ("type", json!("super_admin")),
        ("type", json!("refresh")),
        ("type", json!("mfa_pending")),
        ("type", json!("email_verification")),
        ("type", json!("password_reset")),
        ("type", json!("api_key")),
        ("type", json!("context")),
    ];
    for (claim, value) in values {
        let what = format!("{claim} {value}");
        push(workshop, all, what, &workshop.claims_with(claim, value));
    }
    for tenant in [json!(stranger), json!(uuid::Uuid::nil())] {
        let claims = workshop.claims_with("tenantId", tenant.clone());
        let token = workshop.sign(&workshop.header, &claims);
        all.push(Forgery::new(format!("tenantId {tenant}"), token).told("TENANT_NOT_FOUND"));
    }
}

/// What we never say, nobody may say in our name.
fn unknown(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let extras = [
        ("role", json!("owner")),
        ("roles", json!(["super_admin"])),
        ("permissions", json!(["*"])),
        ("perms", json!(["records.read"])),
        ("scope", json!("admin")),
        ("act", json!({ "sub": "admin" })),
        ("tid", json!("00000000-0000-7000-8000-000000000002")),
        ("tenant_id", json!("00000000-0000-7000-8000-000000000002")),
        ("platformRole", json!("super_admin")),
        ("amr", json!(["mfa"])),
        ("acr", json!("2")),
        ("cnf", json!({ "jkt": "AAAA" })),
        ("azp", json!("gateway")),
        ("nonce", json!("1")),
        ("__proto__", json!({ "admin": true })),
    ];
    for (claim, value) in extras {
        push(
            workshop,
            all,
            format!("{claim} {value}"),
            &workshop.claims_with(claim, value),
        );
    }
}

/// A claim twice, also when one of the names is written with an escape.
fn doubled(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let text = workshop.claims.to_string();
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let header = workshop.header.to_string();
    for claim in CLAIMS {
        let genuine = &workshop.claims[claim];
        let false_one = match genuine {
            Value::Number(_) => json!(workshop.now + 1_800),
            _ => json!("00000000-0000-7000-8000-00000000ffff"),
        };
        let escaped = format!("\\u{:04x}{}", u32::from(claim.as_bytes()[0]), &claim[1..]);
        for name in [claim, escaped.as_str()] {
            let first = format!("{{\"{name}\":{false_one},{inner}}}");
            let last = format!("{{{inner},\"{name}\":{false_one}}}");
            let same = format!("{{{inner},\"{name}\":{genuine}}}");
            for (what, claims) in [("first", first), ("last", last), ("not at all", same)] {
                let what = format!("{name} twice, the false one {what}");
                all.push(Forgery::new(what, workshop.sign_text(&header, &claims)));
            }
        }
    }
}

/// Not an object, not only one, or another token within.
fn shapes(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let (claims, genuine) = (workshop.claims.to_string(), workshop.genuine());
    let shapes = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        genuine.clone(),
        Value::from(genuine).to_string(),
        json!({ "payload": claims, "signatures": [] }).to_string(),
        Value::from(claims.clone()).to_string(),
        format!("[{claims}]"),
        format!("{claims}{claims}"),
        format!("{claims} x"),
        format!("{claims}\u{0}"),
        format!("\u{feff}{claims}"),
        claims[..claims.len() - 1].to_owned(),
        format!("{{\"pad\":\"{}\",{}", "x".repeat(4_000), &claims[1..]),
        format!(
            "{{\"deep\":{}{},{}",
            "[".repeat(1_000),
            "]".repeat(1_000),
            &claims[1..]
        ),
    ];
    for shape in shapes {
        let token = workshop.sign_text(&workshop.header.to_string(), &shape);
        all.push(Forgery::new(format!("as claims {shape:.60}"), token));
    }
    let array: Vec<&Value> = CLAIMS
        .iter()
        .map(|claim| &workshop.claims[*claim])
        .collect();
    push(
        workshop,
        all,
        "the claims as a list of their values".to_owned(),
        &json!(array),
    );
}
