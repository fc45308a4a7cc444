//! Headers that the right key has signed and that still say something else than ours.

use serde_json::{Value, json};

use crate::tokens::workshop::{Forgery, Workshop, without};

pub fn collect(workshop: &Workshop, all: &mut Vec<Forgery>) {
    key_ids(workshop, all);
    kinds(workshop, all);
    extensions(workshop, all);
    doubled(workshop, all);
    shapes(workshop, all);
}

fn push(workshop: &Workshop, all: &mut Vec<Forgery>, what: String, header: &str) {
    let token = workshop.sign_text(header, &workshop.claims.to_string());
    all.push(Forgery::new(what, token));
}

/// A key id names one of our keys or nothing: no file, no query, no address.
fn key_ids(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let own = workshop.own.kid.as_str();
    let spy = &workshop.spy_url;
    let ids = [
        json!(""),
        json!("unknown"),
        json!(workshop.other.kid),
        json!(own.to_lowercase()),
        json!(format!("{own} ")),
        json!(format!("{own}\u{0}")),
        json!(format!("{own}/../{own}")),
        json!(&own[..own.len() - 1]),
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("..\\..\\windows\\win.ini"),
        json!("file:///dev/null"),
        json!("' or '1'='1"),
        json!("x' union select 'a' --"),
        json!("1; drop table auth.sessions"),
        json!("$(touch /tmp/x)"),
        json!("|cat /etc/passwd"),
        json!("${jndi:ldap://127.0.0.1/a}"),
        json!(format!("{spy}/jwks.json")),
        json!(format!("{spy}/{own}")),
        json!("k".repeat(2_000)),
        json!(0),
        json!(1),
        json!(-1),
        json!(true),
        Value::Null,
        json!([own]),
        json!([]),
        json!({ "kid": own }),
    ];
    for kid in ids {
        let what = format!("kid {kid:.60}");
        push(
            workshop,
            all,
            what,
            &workshop.header_with("kid", kid).to_string(),
        );
    }
    push(
        workshop,
        all,
        "no kid".to_owned(),
        &without(&workshop.header, "kid").to_string(),
    );
}

/// A token of another kind is no access token (RFC 9068), whatever else it says.
fn kinds(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let kinds = [
        "",
        "JWT",
        "jwt",
        "id+jwt",
        "refresh+jwt",
        "rt+jwt",
        "context+jwt",
        "service+jwt",
        "mfa+jwt",
        "verify+jwt",
        "logout+jwt",
        "dpop+jwt",
        "application/at+jwt",
        "AT+JWT",
        "at+JWT",
        "at+jwt ",
        "at jwt",
        "JOSE",
    ];
    for kind in kinds {
        let header = workshop.header_with("typ", json!(kind)).to_string();
        push(workshop, all, format!("typ {kind:?}"), &header);
    }
    for kind in [
        Value::Null,
        json!(1),
        json!(["at+jwt"]),
        json!({ "at+jwt": true }),
    ] {
        let header = workshop.header_with("typ", kind.clone()).to_string();
        push(workshop, all, format!("typ {kind}"), &header);
    }
    for member in ["typ", "alg"] {
        let header = without(&workshop.header, member).to_string();
        push(workshop, all, format!("no {member}"), &header);
    }
}

/// What a reader might feel obliged to act on.
fn extensions(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let spy = &workshop.spy_url;
    let members = [
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("crit", json!("exp")),
        ("crit", Value::Null),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("zip", json!("GZIP")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("epk", json!({ "kty": "OKP" })),
        ("p2c", json!(2_000_000_000)),
        ("jwk", workshop.own.jwk.clone()),
        ("jwk", workshop.other.jwk.clone()),
        ("jwk", Value::Null),
        ("jku", json!(format!("{spy}/jwks.json"))),
        ("jku", json!("https://127.0.0.1@evil.example/jwks.json")),
        ("x5u", json!(format!("{spy}/chain.pem"))),
        ("x5u", json!("file:///etc/passwd")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("url", json!(spy)),
        ("nonce", json!("1")),
        ("iss", workshop.claims["iss"].clone()),
        ("exp", workshop.claims["exp"].clone()),
        ("ALG", json!("none")),
        ("Kid", json!("x")),
        ("", json!("")),
    ];
    for (member, value) in members {
        let what = format!("{member:?}: {value:.60}");
        push(
            workshop,
            all,
            what,
            &workshop.header_with(member, value).to_string(),
        );
    }
    let mut both = workshop.header_with("b64", json!(false));
    both["crit"] = json!(["b64"]);
    push(
        workshop,
        all,
        "an unencoded payload that is critical".to_owned(),
        &both.to_string(),
    );
}

/// A member twice: readers differ in which one they believe.
fn doubled(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let header = workshop.header.to_string();
    let inner = header.trim_start_matches('{').trim_end_matches('}');
    for (plain, escaped, value) in [
        ("alg", r"\u0061lg", r#""none""#),
        ("typ", r"t\u0079p", r#""JWT""#),
        ("kid", r"ki\u0064", r#""/dev/null""#),
    ] {
        for name in [plain, escaped] {
            let first = format!("{{\"{name}\":{value},{inner}}}");
            push(
                workshop,
                all,
                format!("{name} twice, the false one first"),
                &first,
            );
            let last = format!("{{{inner},\"{name}\":{value}}}");
            push(
                workshop,
                all,
                format!("{name} twice, the false one last"),
                &last,
            );
        }
    }
    let same = format!("{{\"alg\":\"RS256\",{inner}}}");
    push(workshop, all, "alg twice, both right".to_owned(), &same);
}

/// Not an object, or not only one.
fn shapes(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let header = workshop.header.to_string();
    let quoted = Value::from(header.clone()).to_string();
    let shapes = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "1".to_owned(),
        quoted,
        format!("[{header}]"),
        json!([
            workshop.header["alg"],
            workshop.header["typ"],
            workshop.header["kid"]
        ])
        .to_string(),
        format!("{header}{header}"),
        format!("{header}\u{0}"),
        format!("\u{feff}{header}"),
        format!("{header}//"),
        header[..header.len() - 1].to_owned(),
        header.replace('"', "'"),
        format!("{{\"{}\":1,{}", "x".repeat(3_000), &header[1..]),
        format!(
            "{{\"deep\":{}{},{}",
            "[".repeat(500),
            "]".repeat(500),
            &header[1..]
        ),
    ];
    for shape in shapes {
        let what = format!("as header {shape:.60}");
        push(workshop, all, what, &shape);
    }
}
