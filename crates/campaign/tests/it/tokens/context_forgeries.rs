//! Forged context tokens and service tokens: what a compromised service or somebody inside the network could try.

use ring::hmac;
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

use super::workshop::{CurveKey, RsaKey, b64, sign_with, without};

/// The header of context tokens.
pub const CONTEXT: &str = r#"{"alg":"EdDSA","typ":"context+jwt"}"#;
/// The header of service tokens.
pub const SERVICE: &str = r#"{"alg":"EdDSA","typ":"service+jwt"}"#;

/// A token that is good at one place, and the keys to make bad ones of it.
pub struct Model<'k> {
    /// [`CONTEXT`] or [`SERVICE`].
    pub header: &'static str,
    /// Good claims.
    pub claims: Value,
    /// The key that makes it good.
    pub key: &'k CurveKey,
    /// The keys of the other services, which everybody trusts for something else.
    pub others: Vec<(&'static str, &'k CurveKey)>,
    /// The key of access tokens.
    pub rsa: &'k RsaKey,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// A token and the code of its refusal.
pub type Bad = (String, String, &'static str);

impl Model<'_> {
    /// The good token.
    pub fn genuine(&self) -> String {
        self.sign(self.header, &self.claims.to_string())
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        sign_with(header, claims, |message| self.key.sign(message))
    }

    fn with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[claim] = value;
        self.sign(self.header, &claims.to_string())
    }

    /// All that is made of it. Each is refused before a handler runs.
    pub fn forgeries(&self) -> Vec<Bad> {
        let mut bad = Vec::new();
        self.headers(&mut bad);
        self.signatures(&mut bad);
        self.claims(&mut bad);
        self.times(&mut bad);
        self.texts(&mut bad);
        bad
    }

    fn headers(&self, bad: &mut Vec<Bad>) {
        let typ = if self.header == CONTEXT {
            "context+jwt"
        } else {
            "service+jwt"
        };
        let other = if self.header == CONTEXT {
            SERVICE
        } else {
            CONTEXT
        };
        let with = |more: &str| format!(r#"{{"alg":"EdDSA","typ":"{typ}",{more}}}"#);
        let headers = [
            format!(r#"{{"alg":"none","typ":"{typ}"}}"#),
            format!(r#"{{"alg":"None","typ":"{typ}"}}"#),
            format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#),
            format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#),
            format!(r#"{{"alg":"eddsa","typ":"{typ}"}}"#),
            format!(r#"{{"typ":"{typ}","alg":"EdDSA"}}"#),
            format!(r#"{{"alg": "EdDSA","typ":"{typ}"}}"#),
            format!(r#"{{"alg":"EdDSA","typ":"{}"}}"#, typ.to_uppercase()),
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#.to_owned(),
            r#"{"alg":"EdDSA","typ":"JWT"}"#.to_owned(),
            r#"{"alg":"EdDSA"}"#.to_owned(),
            with(r#""kid":"../../dev/null""#),
            with(r#""jku":"http://127.0.0.1:1/jwks""#),
            with(r#""jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#),
            with(r#""crit":["exp"]"#),
            with(r#""b64":false"#),
            with(r#""zip":"DEF""#),
            with(r#""alg":"none""#),
            with(r#""\u0061lg":"none""#),
            format!("{} ", self.header),
            other.to_owned(),
            "{}".to_owned(),
            String::new(),
        ];
        let claims = self.claims.to_string();
        for header in headers {
            bad.push((
                format!("header {header}"),
                self.sign(&header, &claims),
                "INVALID_TOKEN",
            ));
        }
    }

    fn signatures(&self, bad: &mut Vec<Bad>) {
        let claims = self.claims.to_string();
        let mut push = |what: String, sign: &dyn Fn(&str) -> Vec<u8>| {
            bad.push((what, sign_with(self.header, &claims, sign), "INVALID_TOKEN"));
        };
        for (name, key) in &self.others {
            push(format!("by the key of {name}"), &|message| {
                key.sign(message)
            });
        }
        let stranger = CurveKey::ed25519();
        push("by another environment's key".to_owned(), &|message| {
            stranger.sign(message)
        });
        let curve = CurveKey::p256();
        push("by a key on another curve".to_owned(), &|message| {
            curve.sign(message)
        });
        push("by the key of access tokens".to_owned(), &|message| {
            self.rsa.sign(&RSA_PKCS1_SHA256, message)
        });
        for (form, secret) in [
            ("public key", self.key.public()),
            ("public key in base64", b64(self.key.public()).into_bytes()),
            ("empty text", Vec::new()),
        ] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            push(format!("an HMAC with the {form}"), &|message| {
                hmac::sign(&secret, message.as_bytes()).as_ref().to_vec()
            });
        }
        push("nothing".to_owned(), &|_| Vec::new());
        push("64 zeros".to_owned(), &|_| vec![0; 64]);
        push("the neutral point and zero".to_owned(), &|_| {
            [vec![1], vec![0; 63]].concat()
        });
        push("half a signature".to_owned(), &|message| {
            self.key.sign(message)[..32].to_vec()
        });
        push("a signature and a zero".to_owned(), &|message| {
            [self.key.sign(message), vec![0]].concat()
        });
        push("a signature of other words".to_owned(), &|message| {
            self.key.sign(&message[1..])
        });
        push(
            "the same signature plus the order of the group".to_owned(),
            &|message| plus_order(self.key.sign(message)),
        );
    }

    fn claims(&self, bad: &mut Vec<Bad>) {
        let optional = ["tid", "sid", "obo", "nbf"];
        let names: Vec<String> = self.claims.as_object().unwrap().keys().cloned().collect();
        let text = self.claims.to_string();
        let mut push = |what: String, token: String| bad.push((what, token, "INVALID_TOKEN"));
        for name in &names {
            if !optional.contains(&name.as_str()) {
                push(
                    format!("no {name}"),
                    self.sign(self.header, &without(&self.claims, name).to_string()),
                );
            }
            for value in [Value::Null, json!({}), json!(true), json!([[1]])] {
                push(format!("{name} {value}"), self.with(name, value));
            }
            let genuine = &self.claims[name.as_str()];
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            for again in [name, &escaped] {
                let first = format!("{{\"{again}\":{genuine},{}", &text[1..]);
                push(format!("{again} twice"), self.sign(self.header, &first));
            }
        }
        for (claim, value) in [
            ("iss", json!("gateway2")),
            ("iss", json!("")),
            ("iss", json!(["auth", "gateway"])),
            ("aud", json!("billing")),
            ("aud", json!("files")),
            ("aud", json!("")),
            ("aud", json!("*")),
            (
                "aud",
                json!(["tenantry", "auth", "tenant", "niche", "search"]),
            ),
            ("jti", json!("x")),
            ("admin", json!(true)),
            ("role", json!("super_admin")),
            ("tid", json!("not-a-uuid")),
        ] {
            push(format!("{claim} {value}"), self.with(claim, value));
        }
        push(
            "the claims in quotes".to_owned(),
            self.sign(self.header, &Value::from(text.as_str()).to_string()),
        );
        push(
            "text behind the claims".to_owned(),
            self.sign(self.header, &format!("{text}{{}}")),
        );
        push("no object".to_owned(), self.sign(self.header, "[]"));
        let list: Vec<&Value> = self.claims.as_object().unwrap().values().collect();
        push(
            "a list of the claims' values".to_owned(),
            self.sign(self.header, &json!(list).to_string()),
        );
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table of cases, and what is done with each"
    )]
    fn times(&self, bad: &mut Vec<Bad>) {
        let now = self.now;
        let mut at = |what: &str, iat: Value, exp: Value, code: &'static str| {
            let mut claims = self.claims.clone();
            (claims["iat"], claims["exp"]) = (iat, exp);
            bad.push((
                what.to_owned(),
                self.sign(self.header, &claims.to_string()),
                code,
            ));
        };
        at(
            "over for a second",
            json!(now - 60),
            json!(now - 5),
            "TOKEN_EXPIRED",
        );
        at(
            "of a minute ago",
            json!(now - 120),
            json!(now - 65),
            "TOKEN_EXPIRED",
        );
        at(
            "of last year",
            json!(now - 31_536_000),
            json!(now - 31_535_945),
            "TOKEN_EXPIRED",
        );
        at(
            "good for more than a minute",
            json!(now),
            json!(now + 61),
            "INVALID_TOKEN",
        );
        at(
            "good for an hour",
            json!(now),
            json!(now + 3_600),
            "INVALID_TOKEN",
        );
        at(
            "good for ever",
            json!(now),
            json!(i64::MAX),
            "INVALID_TOKEN",
        );
        at(
            "since ever",
            json!(i64::MIN),
            json!(now + 55),
            "INVALID_TOKEN",
        );
        at(
            "from the future",
            json!(now + 30),
            json!(now + 85),
            "INVALID_TOKEN",
        );
        at(
            "over before it began",
            json!(now),
            json!(now - 1),
            "INVALID_TOKEN",
        );
        at("of no length", json!(now), json!(now), "INVALID_TOKEN");
        at(
            "with texts for times",
            json!(now.to_string()),
            json!((now + 55).to_string()),
            "INVALID_TOKEN",
        );
        at(
            "with fractions",
            json!(now),
            json!(now as f64 + 55.5),
            "INVALID_TOKEN",
        );
        at(
            "with a time too large",
            json!(now),
            json!(u64::MAX),
            "INVALID_TOKEN",
        );
        at(
            "with an infinite time",
            json!(now),
            json!(1e300),
            "INVALID_TOKEN",
        );
        for nbf in [json!(now + 30), json!("0"), json!(0.5), json!([])] {
            bad.push((format!("nbf {nbf}"), self.with("nbf", nbf), "INVALID_TOKEN"));
        }
    }

    fn texts(&self, bad: &mut Vec<Bad>) {
        let genuine = self.genuine();
        let parts: Vec<&str> = genuine.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            panic!("three parts")
        };
        let mut richer = self.claims.clone();
        richer["iat"] = json!(self.now - 1);
        let altered = b64(richer.to_string());
        for (what, token) in [
            (
                "claims changed after signing",
                format!("{header}.{altered}.{signature}"),
            ),
            ("two parts", format!("{header}.{claims}")),
            ("four parts", format!("{genuine}.x")),
            ("an empty part", format!("{header}..{claims}.{signature}")),
            ("padding", format!("{genuine}==")),
            ("the scheme before it", format!("Bearer {genuine}")),
            ("a blank behind it", format!("{genuine} x")),
            ("a comma and itself", format!("{genuine},{genuine}")),
            ("in capitals", genuine.to_uppercase()),
            ("one letter less", genuine[..genuine.len() - 1].to_owned()),
            (
                "longer than any token",
                format!("{genuine}{}", "A".repeat(17_000)),
            ),
            ("words", "let me in".to_owned()),
            ("dots", "..".to_owned()),
        ] {
            bad.push((what.to_owned(), token, "INVALID_TOKEN"));
        }
    }
}

/// A second signature of the same words, as a careless verifier would accept it: S + L instead of S.
fn plus_order(mut signature: Vec<u8>) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    signature
}
