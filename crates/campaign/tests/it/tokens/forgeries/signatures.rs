//! Algorithms, keys and signatures.

use ring::hmac;
use ring::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use serde_json::{Value, json};

use crate::tokens::workshop::{CurveKey, Forgery, Workshop, b64, sign_with};

pub fn collect(workshop: &Workshop, all: &mut Vec<Forgery>) {
    unsigned(workshop, all);
    public_key_as_secret(workshop, all);
    other_rsa_algorithms(workshop, all);
    curves(workshop, all);
    empty_signatures(workshop, all);
    strangers(workshop, all);
}

/// `none` in every spelling, with no signature, a false one and the genuine one.
fn unsigned(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let genuine = workshop.genuine();
    let signature = genuine.rsplit('.').next().unwrap();
    let claims = b64(workshop.claims.to_string());
    let spellings = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "NoNe",
        "none ",
        " none",
        "none\u{0}",
        "n\u{f6}ne",
        "",
        "null",
    ];
    let values = spellings.iter().map(|alg| json!(alg)).chain([
        Value::Null,
        json!(false),
        json!(0),
        json!(["RS256"]),
        json!(["none", "RS256"]),
        json!({ "RS256": true }),
    ]);
    for alg in values {
        let header = b64(workshop.header_with("alg", alg.clone()).to_string());
        for (kind, signature) in [
            ("none", ""),
            ("the genuine one", signature),
            ("a false one", "AAAA"),
        ] {
            all.push(Forgery::new(
                format!("alg {alg} with {kind} as signature"),
                format!("{header}.{claims}.{signature}"),
            ));
        }
    }
}

/// The public key is no secret: an HMAC with any of its forms proves nothing.
fn public_key_as_secret(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let algorithms = [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
        ("RS256", hmac::HMAC_SHA256),
    ];
    let empty = ("an empty secret", Vec::new());
    for (form, secret) in workshop.own.public_forms.iter().chain([&empty]) {
        for (alg, algorithm) in algorithms {
            let header = workshop.header_with("alg", json!(alg)).to_string();
            let token = sign_with(&header, &workshop.claims.to_string(), |message| {
                hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes())
                    .as_ref()
                    .to_vec()
            });
            all.push(Forgery::new(format!("an HMAC as {alg} with {form}"), token));
        }
    }
}

/// The right key under another algorithm than the one that is expected.
fn other_rsa_algorithms(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let encodings: [(&str, &'static dyn RsaEncoding); 5] = [
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    let claims = workshop.claims.to_string();
    for (alg, encoding) in encodings {
        let named = workshop.header_with("alg", json!(alg)).to_string();
        let sign = |message: &str| workshop.own.sign(encoding, message);
        all.push(Forgery::new(
            format!("{alg} with our key"),
            sign_with(&named, &claims, sign),
        ));
        let unnamed = workshop.header.to_string();
        all.push(Forgery::new(
            format!("{alg} that says RS256"),
            sign_with(&unnamed, &claims, sign),
        ));
        let swapped = workshop.sign_text(&named, &claims);
        all.push(Forgery::new(format!("RS256 that says {alg}"), swapped));
    }
    for alg in [
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RSA",
        "RSA-SHA256",
        "RS256\u{0}",
        "SHA256withRSA",
        "ES256",
        "EdDSA",
        "HS256",
    ] {
        let header = workshop.header_with("alg", json!(alg));
        all.push(Forgery::new(
            format!("RS256 that says {alg:?}"),
            workshop.sign(&header, &workshop.claims),
        ));
    }
}

/// Other families of keys, by name and by signature alone.
fn curves(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let claims = workshop.claims.to_string();
    let keys = [
        ("ES256", CurveKey::p256()),
        ("ES384", CurveKey::p384()),
        ("EdDSA", CurveKey::ed25519()),
    ];
    for (alg, key) in &keys {
        for named in [alg, "RS256"] {
            let header = workshop.header_with("alg", json!(named)).to_string();
            let token = sign_with(&header, &claims, |message| key.sign(message));
            all.push(Forgery::new(
                format!("{alg} by a stranger that says {named}"),
                token,
            ));
        }
        let mut header = workshop.header_with("alg", json!(alg));
        header["jwk"] = json!({ "kty": "EC", "crv": "P-256", "x": b64(key.public()) });
        let token = sign_with(&header.to_string(), &claims, |message| key.sign(message));
        all.push(Forgery::new(
            format!("{alg} that brings its key along"),
            token,
        ));
    }
}

/// "Psychic" and other signatures that are the same for every message.
fn empty_signatures(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let one = |length: usize| [vec![0; length - 1], vec![1]].concat();
    let signatures: [(&str, Vec<u8>); 10] = [
        ("nothing", Vec::new()),
        ("64 zeros", vec![0; 64]),
        ("96 zeros", vec![0; 96]),
        (
            "an ASN.1 pair of zeros",
            vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00],
        ),
        ("256 zeros", vec![0; 256]),
        ("the number one", one(256)),
        ("256 ones", vec![0xff; 256]),
        ("the modulus", workshop.own.modulus()),
        (
            "a signature with a zero before it",
            [vec![0], own_signature(workshop)].concat(),
        ),
        (
            "a signature with a zero behind it",
            [own_signature(workshop), vec![0]].concat(),
        ),
    ];
    for alg in ["RS256", "ES256", "EdDSA"] {
        let header = workshop.header_with("alg", json!(alg)).to_string();
        for (what, signature) in &signatures {
            let token = sign_with(&header, &workshop.claims.to_string(), |_| signature.clone());
            all.push(Forgery::new(format!("{what} as {alg}"), token));
        }
    }
    let mut cut = own_signature(workshop);
    cut.truncate(255);
    let header = workshop.header.to_string();
    all.push(Forgery::new(
        "a signature that is cut short",
        sign_with(&header, &workshop.claims.to_string(), |_| cut),
    ));
}

fn own_signature(workshop: &Workshop) -> Vec<u8> {
    let signed = format!(
        "{}.{}",
        b64(workshop.header.to_string()),
        b64(workshop.claims.to_string())
    );
    workshop.own.sign(&RSA_PKCS1_SHA256, &signed)
}

/// Sound tokens of a key that is not ours.
fn strangers(workshop: &Workshop, all: &mut Vec<Forgery>) {
    let claims = workshop.claims.to_string();
    let by_other = |header: &Value| {
        sign_with(&header.to_string(), &claims, |message| {
            workshop.other.sign(&RSA_PKCS1_SHA256, message)
        })
    };
    let own_kid = &workshop.header;
    let other_kid = workshop.header_with("kid", json!(workshop.other.kid));
    all.push(Forgery::new(
        "another environment's key under our key's id",
        by_other(own_kid),
    ));
    all.push(Forgery::new(
        "another environment's key",
        by_other(&other_kid),
    ));
    for kid in [&workshop.own.kid, &workshop.other.kid] {
        for (member, value) in [
            ("jwk", workshop.other.jwk.clone()),
            ("jku", json!(format!("{}/jwks.json", workshop.spy_url))),
            ("x5u", json!(format!("{}/chain.pem", workshop.spy_url))),
            ("x5c", json!([b64(&workshop.other.public_forms[2].1)])),
        ] {
            let mut header = workshop.header_with("kid", json!(kid));
            header[member] = value;
            all.push(Forgery::new(
                format!("a stranger's key by {member} with kid {kid}"),
                by_other(&header),
            ));
        }
    }
    let at_spy = workshop.header_with("kid", json!(format!("{}/jwks.json", workshop.spy_url)));
    all.push(Forgery::new(
        "a key id that is a stranger's address",
        by_other(&at_spy),
    ));
}
