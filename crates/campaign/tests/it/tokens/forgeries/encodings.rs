//! A genuine token written otherwise, altered after signing, or something else altogether.

use serde_json::json;

use crate::tokens::workshop::{Forgery, Workshop, b64};

pub fn collect(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let genuine = workshop.genuine();
    let parts: Vec<&str> = genuine.split('.').collect();
    let [header, claims, signature] = parts.try_into().unwrap();
    spellings(&genuine, (header, claims, signature), all);
    parts_in_disorder(&genuine, (header, claims, signature), all);
    altered_after_signing(workshop, (header, signature), all);
    flipped(&genuine, all);
    too_long(&genuine, all);
    other_things(workshop, all);
}

type Parts<'t> = (&'t str, &'t str, &'t str);

/// The same bytes in another spelling are another token: one token has one text.
fn spellings(genuine: &str, (header, claims, signature): Parts<'_>, all: &mut Vec<Forgery>) {
    let mut push = |what: &str, token: String| all.push(Forgery::new(what, token));
    push("padding behind the signature", format!("{genuine}=="));
    push("one sign of padding", format!("{genuine}="));
    push(
        "padding behind the header",
        format!("{header}=.{claims}.{signature}"),
    );
    push(
        "padding behind the claims",
        format!("{header}.{claims}=.{signature}"),
    );
    push("dots as percent signs", genuine.replace('.', "%2E"));
    push("a percent sign at the end", format!("{genuine}%3D"));
    push("a comma and the same token", format!("{genuine},{genuine}"));
    push("a blank and the same token", format!("{genuine} {genuine}"));
    push("in double quotes", format!("\"{genuine}\""));
    push("in single quotes", format!("'{genuine}'"));
    push("in angle brackets", format!("<{genuine}>"));
    push("with the scheme once more", format!("Bearer {genuine}"));
    push("as a parameter", format!("token={genuine}"));
    push("in capitals", genuine.to_uppercase());
    push("in small letters", genuine.to_lowercase());
    push("backwards", genuine.chars().rev().collect());
    push("base64 once more", b64(genuine));
    push("a NUL sign in words", format!("{genuine}\\0"));
    push("a line break in words", format!("{genuine}\\r\\n"));
    // The last letter carries four bits that mean nothing; only zeros are allowed there.
    let last = signature.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    for step in [1, 7, 15] {
        let other = alphabet.as_bytes()[at + step] as char;
        let token = format!("{}{other}", &genuine[..genuine.len() - 1]);
        push(&format!("bits behind the signature's end, {step}"), token);
    }
    let standard = signature.replace('-', "+").replace('_', "/");
    if standard != signature {
        push(
            "the other alphabet",
            format!("{header}.{claims}.{standard}"),
        );
    }
}

fn parts_in_disorder(
    genuine: &str,
    (header, claims, signature): Parts<'_>,
    all: &mut Vec<Forgery>,
) {
    let mut push = |what: &str, token: String| all.push(Forgery::new(what, token));
    push("no signature part", format!("{header}.{claims}"));
    push("no header", format!(".{claims}.{signature}"));
    push("no claims", format!("{header}..{signature}"));
    push("the header alone", header.to_owned());
    push("the claims alone", claims.to_owned());
    push("the signature alone", signature.to_owned());
    push(
        "claims before header",
        format!("{claims}.{header}.{signature}"),
    );
    push("header twice", format!("{header}.{header}.{signature}"));
    push("four parts", format!("{genuine}.{signature}"));
    push("an empty fourth part", format!("{genuine}."));
    push("an empty part before", format!(".{genuine}"));
    push(
        "an empty part within",
        format!("{header}.{claims}..{signature}"),
    );
    push(
        "five parts, as an encrypted token",
        format!("{header}.AA.BB.{claims}.{signature}"),
    );
    push("a tail", format!("{genuine}.x"));
    push("a longer signature", format!("{genuine}AAAA"));
    push("a letter before", format!("A{genuine}"));
    push("one letter less", genuine[..genuine.len() - 1].to_owned());
    push("the first half", genuine[..genuine.len() / 2].to_owned());
    push(
        "a token within a token",
        format!("{header}.{}.{signature}", b64(genuine)),
    );
    let flattened = json!({ "protected": header, "payload": claims, "signature": signature });
    push("as JSON, flattened", flattened.to_string());
    let general = json!({ "payload": claims, "signatures": [{ "protected": header, "signature": signature }] });
    push("as JSON, general", general.to_string());
    push(
        "header unprotected",
        json!({ "header": {"alg": "none"}, "payload": claims }).to_string(),
    );
}

/// Other claims and headers under the genuine signature.
fn altered_after_signing(
    workshop: &Workshop,
    (header, signature): (&str, &str),
    all: &mut Vec<Forgery>,
) {
    let other_id = "00000000-0000-7000-8000-000000000002";
    let changes = [
        ("exp", json!(workshop.now + 3_000)),
        ("iat", json!(workshop.now - 1)),
        ("nbf", json!(workshop.now - 1)),
        ("sub", json!(other_id)),
        ("sid", json!(other_id)),
        ("jti", json!(other_id)),
        ("tenantId", json!(other_id)),
        ("tenantId", json!(null)),
        ("aud", json!("tenantry2")),
        ("iss", json!("https://evil.example")),
        ("type", json!("platform")),
        ("role", json!("owner")),
    ];
    for (claim, value) in changes {
        let claims = b64(workshop.claims_with(claim, value.clone()).to_string());
        let token = format!("{header}.{claims}.{signature}");
        all.push(Forgery::new(
            format!("{claim} {value} under the old signature"),
            token,
        ));
    }
    let spaced = b64(workshop.claims.to_string().replacen(',', ", ", 1));
    let token = format!("{header}.{spaced}.{signature}");
    all.push(Forgery::new("a blank more under the old signature", token));
    let spaced = b64(workshop.header.to_string().replacen(',', ", ", 1));
    let claims = b64(workshop.claims.to_string());
    let token = format!("{spaced}.{claims}.{signature}");
    all.push(Forgery::new(
        "a blank more in the header under the old signature",
        token,
    ));
}

/// One letter changed, all over the token.
fn flipped(genuine: &str, all: &mut Vec<Forgery>) {
    for at in (3..genuine.len() - 4).step_by(23) {
        let mut bytes = genuine.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).unwrap();
        if token != genuine {
            all.push(Forgery::new(format!("letter {at} changed"), token));
        }
    }
}

fn too_long(genuine: &str, all: &mut Vec<Forgery>) {
    let mut push = |what: &str, token: String| all.push(Forgery::new(what, token));
    for length in [4_000, 8_191, 8_192, 8_193, 12_000, 20_000] {
        push(&format!("{length} letters"), "A".repeat(length));
    }
    push(
        "a very long tail",
        format!("{genuine}.{}", "A".repeat(6_000)),
    );
    push(
        "a very long header",
        format!("{}{genuine}", "A".repeat(6_000)),
    );
    push("nothing but dots", ".".repeat(5_000));
}

/// Genuine tokens of other kinds, and what people write when they have none.
fn other_things(workshop: &Workshop, all: &mut Vec<Forgery>) {
    for (kind, token) in &workshop.other_kinds {
        all.push(Forgery::new(*kind, token));
    }
    for text in [
        "null",
        "undefined",
        "true",
        "0",
        "{}",
        "[object",
        ".",
        "..",
        "...",
        "-",
        "_",
        "a.b.c",
        "e30.e30.",
        "e30.e30.e30",
        "00000000-0000-7000-8000-000000000001",
        "tk_live_0123456789abcdef",
        "YWRtaW46YWRtaW4=",
        "../../etc/passwd",
        "'or'1'='1",
        "%00",
        "${7*7}",
        "{{7*7}}",
        "<script>",
    ] {
        all.push(Forgery::new(format!("the text {text}"), text));
    }
}
