//! Access tokens: what is forged is refused, and anybody can verify ours with the published keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use ring::hmac;
use serde_json::{Value, json};

use crate::service::{PASSWORD, Service, signing_key, told};

const ANA: &str = "ana@example.com";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A workshop for tokens: signs whatever it is given with the service's own key.
struct Forge {
    service: Service,
    genuine: String,
    header: Value,
    claims: Value,
}

impl Forge {
    async fn open() -> Self {
        let service = Service::start().await;
        service.sign_up(ANA).await;
        let genuine = service
            .client()
            .login(ANA, PASSWORD)
            .await
            .unwrap()
            .access_token;
        let part = |n: usize| {
            serde_json::from_slice(
                &URL_SAFE_NO_PAD
                    .decode(genuine.split('.').nth(n).unwrap())
                    .unwrap(),
            )
            .unwrap()
        };
        let (header, claims) = (part(0), part(1));
        Self {
            service,
            genuine,
            header,
            claims,
        }
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = self
            .service
            .app
            .access_tokens
            .keys
            .sign(signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", b64(signature))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn with_header(&self, key: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[key] = value;
        self.sign(&header, &self.claims)
    }

    fn with_claim(&self, key: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[key] = value;
        self.sign(&self.header, &claims)
    }

    fn without_claim(&self, key: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(key);
        self.sign(&self.header, &claims)
    }

    fn parts(&self) -> [&str; 3] {
        let parts: Vec<&str> = self.genuine.split('.').collect();
        parts.try_into().unwrap()
    }

    async fn refused(&self, what: &str, token: &str) {
        match self.service.resolve(token).await {
            Ok(_) => panic!("{what} was accepted"),
            Err(error) => assert_eq!(
                (error.error_code().as_str(), error.reason()),
                ("INVALID_TOKEN", "auth.token_invalid"),
                "{what}"
            ),
        }
    }
}

#[tokio::test]
async fn the_forge_itself_makes_good_tokens() {
    let forge = Forge::open().await;
    forge.service.resolve(&forge.genuine).await.unwrap();
    forge
        .service
        .resolve(&forge.sign(&forge.header, &forge.claims))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_unsigned_token_is_refused_however_it_says_so() {
    let forge = Forge::open().await;
    let [header, claims, signature] = forge.parts();
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        let mut plain = forge.header.clone();
        plain["alg"] = json!(alg);
        for signature in ["", signature, "AA"] {
            forge
                .refused(
                    &format!("alg {alg:?}"),
                    &format!("{}.{claims}.{signature}", b64(plain.to_string())),
                )
                .await;
        }
    }
    let (none, zero) = ("", b64([0; 256]));
    for (what, token) in [
        (
            "a signature of nothing",
            format!("{header}.{claims}.{none}"),
        ),
        ("a zero signature", format!("{header}.{claims}.{zero}")),
        ("no signature part", format!("{header}.{claims}")),
        ("four parts", format!("{}.{signature}", forge.genuine)),
        ("padding", format!("{}=", forge.genuine)),
        ("a blank before", format!(" {}", forge.genuine)),
    ] {
        forge.refused(what, &token).await;
    }
}

#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    let forge = Forge::open().await;
    let [_, claims, _] = forge.parts();
    for key in forge.service.client().jwks().await {
        let public = serde_json::to_vec(&json!({"e": key.e, "kty": "RSA", "n": key.n})).unwrap();
        for secret in [
            public,
            URL_SAFE_NO_PAD.decode(&key.n).unwrap(),
            key.kid.into_bytes(),
        ] {
            for alg in ["HS256", "RS256"] {
                let mut hs = forge.header.clone();
                hs["alg"] = json!(alg);
                let signed = format!("{}.{claims}", b64(hs.to_string()));
                let tag = hmac::sign(
                    &hmac::Key::new(hmac::HMAC_SHA256, &secret),
                    signed.as_bytes(),
                );
                forge
                    .refused(
                        "an HMAC with the public key",
                        &format!("{signed}.{}", b64(tag)),
                    )
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn other_algorithms_keys_types_and_extensions_are_refused() {
    let forge = Forge::open().await;
    for alg in [
        "RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256", "rs256",
    ] {
        forge
            .refused(alg, &forge.with_header("alg", json!(alg)))
            .await;
    }
    for kid in [
        json!("unknown"),
        json!(""),
        json!("../../etc/passwd"),
        json!("' or 1=1 --"),
        json!("http://127.0.0.1/"),
        json!(1),
        json!(null),
        json!([]),
    ] {
        forge
            .refused(
                &format!("kid {kid}"),
                &forge.with_header("kid", kid.clone()),
            )
            .await;
    }
    for typ in [
        json!("JWT"),
        json!("id+jwt"),
        json!("refresh+jwt"),
        json!(null),
        json!("AT+JWT"),
    ] {
        forge
            .refused(
                &format!("typ {typ}"),
                &forge.with_header("typ", typ.clone()),
            )
            .await;
    }
    for extra in ["crit", "zip", "jku", "x5u", "jwk", "x5c", "b64", "cty"] {
        forge
            .refused(extra, &forge.with_header(extra, json!("x")))
            .await;
    }
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_refused() {
    let forge = Forge::open().await;
    let token = forge.genuine.as_bytes();
    for at in (0..token.len()).step_by(7) {
        let mut changed = token.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        forge
            .refused(
                &format!("byte {at}"),
                std::str::from_utf8(&changed).unwrap(),
            )
            .await;
    }
    let [header, _, signature] = forge.parts();
    let mut other = forge.claims.clone();
    other["tenantId"] = json!("00000000-0000-7000-8000-000000000002");
    forge
        .refused(
            "other claims under the old signature",
            &format!("{header}.{}.{signature}", b64(other.to_string())),
        )
        .await;
}

/// jsonwebtoken CVE-2026-25537: a claim of the wrong type must not count as absent, and an absent one must not count as fine.
#[tokio::test]
async fn claims_that_are_missing_or_malformed_are_refused() {
    let forge = Forge::open().await;
    for claim in [
        "iss", "aud", "sub", "tenantId", "type", "sid", "jti", "iat", "nbf", "exp",
    ] {
        forge
            .refused(&format!("no {claim}"), &forge.without_claim(claim))
            .await;
        forge
            .refused(
                &format!("{claim} as an array"),
                &forge.with_claim(claim, json!([forge.claims[claim]])),
            )
            .await;
        forge
            .refused(
                &format!("{claim} as an object"),
                &forge.with_claim(claim, json!({})),
            )
            .await;
        if claim != "tenantId" {
            forge
                .refused(
                    &format!("{claim} null"),
                    &forge.with_claim(claim, Value::Null),
                )
                .await;
        }
    }
    let exp = forge.claims["exp"].as_i64().unwrap();
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!(exp.to_string()),
            json!(exp as f64),
            json!(1e300),
            json!(-1.5),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(true),
        ] {
            forge
                .refused(
                    &format!("{claim} {value}"),
                    &forge.with_claim(claim, value.clone()),
                )
                .await;
        }
    }
}

#[tokio::test]
async fn claims_that_are_foreign_unknown_or_doubled_are_refused() {
    let forge = Forge::open().await;
    let exp = forge.claims["exp"].as_i64().unwrap();
    forge
        .refused(
            "from the future",
            &forge.with_claim("nbf", json!(exp - 900 + 60)),
        )
        .await;
    for (claim, value) in [
        ("iss", json!("https://evil.example.com")),
        ("aud", json!("other")),
        ("aud", json!(["tenantry", "other"])),
        ("type", json!("service")),
        ("type", json!("mfa_pending")),
        ("sub", json!("not a uuid")),
        ("sub", json!("00000000-0000-7000-8000-00000000ffff")),
        ("sid", json!("00000000-0000-7000-8000-00000000ffff")),
        ("role", json!("owner")),
        ("permissions", json!(["*"])),
    ] {
        forge
            .refused(
                &format!("{claim} {value}"),
                &forge.with_claim(claim, value.clone()),
            )
            .await;
    }
    let (header, claims) = (forge.header.to_string(), forge.claims.to_string());
    let doubled = claims.replacen('{', r#"{"sub":"00000000-0000-7000-8000-00000000ffff","#, 1);
    forge
        .refused("a claim twice", &forge.sign_text(&header, &doubled))
        .await;
    forge
        .refused(
            "a claim twice, once escaped",
            &forge.sign_text(&header, &claims.replacen('{', r#"{"\u0073ub":"x","#, 1)),
        )
        .await;
    forge
        .refused(
            "a header member twice",
            &forge.sign_text(&header.replacen('{', r#"{"alg":"none","#, 1), &claims),
        )
        .await;
    forge
        .refused(
            "text behind the claims",
            &forge.sign_text(&header, &format!("{claims} {{}}")),
        )
        .await;
    forge
        .refused(
            "a token within a token",
            &forge.sign_text(&header, &format!("\"{}\"", forge.genuine)),
        )
        .await;
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_so_are_other_kinds_of_tokens() {
    let forge = Forge::open().await;
    let pair = forge.service.client().login(ANA, PASSWORD).await.unwrap();
    let context = forge.service.resolve(&pair.access_token).await.unwrap();
    for (what, token) in [
        ("a refresh token", pair.refresh_token.as_str()),
        ("a context token", context.context_token.as_str()),
        ("dots", "..."),
        ("one dot", "."),
        ("words", "let me in"),
        ("a seed's guessable key", "pousada-azul:5511999999999"),
    ] {
        forge.refused(what, token).await;
    }
}

#[tokio::test]
async fn a_token_ends_after_its_lifetime_to_the_second() {
    let forge = Forge::open().await;
    let service = &forge.service;
    service.clock.advance(TimeDelta::seconds(899));
    let context = service.resolve(&forge.genuine).await.unwrap();
    assert_eq!(
        context.expires_at, context.credential_expires_at,
        "no context outlives its credential"
    );
    service.clock.advance(TimeDelta::seconds(1));
    assert_eq!(
        told(service.resolve(&forge.genuine).await),
        ("TOKEN_EXPIRED".into(), "auth.token_expired".into())
    );
}

#[tokio::test]
async fn an_independent_library_verifies_our_tokens_with_the_published_keys() {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    rpc::install_crypto();
    let forge = Forge::open().await;
    let keys = forge.service.client().jwks().await;
    let [key] = keys.as_slice() else {
        panic!("one key: {keys:?}")
    };
    let header = jsonwebtoken::decode_header(&forge.genuine).unwrap();
    assert_eq!(
        (header.alg, header.kid.as_deref()),
        (Algorithm::RS256, Some(key.kid.as_str()))
    );
    let jwk: Jwk = serde_json::from_value(json!({"kty": key.kty, "use": key.r#use, "alg": key.alg, "kid": key.kid, "n": key.n, "e": key.e})).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["tenantry"]);
    validation.set_issuer(&[&forge.service.config.issuer]);
    // The test's clock stands in its own time.
    validation.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Value>(
        &forge.genuine,
        &DecodingKey::from_jwk(&jwk).unwrap(),
        &validation,
    )
    .unwrap();
    assert_eq!(
        decoded.claims["sub"],
        json!(forge.service.user_id(ANA).await)
    );
    assert_eq!(decoded.claims["type"], "user");
    assert_eq!(
        decoded.claims["exp"].as_i64().unwrap() - decoded.claims["iat"].as_i64().unwrap(),
        900
    );
    assert!(decoded.claims.get("permissions").is_none() && decoded.claims.get("role").is_none());
}

#[tokio::test]
async fn keys_rotate_without_refusing_a_single_token() {
    let mut service = Service::start().await;
    service.sign_up(ANA).await;
    let old = service.client().login(ANA, PASSWORD).await.unwrap();
    let kids = async |service: &Service| {
        service
            .client()
            .jwks()
            .await
            .into_iter()
            .map(|key| key.kid)
            .collect::<Vec<_>>()
    };
    let before = kids(&service).await;
    // First the new key is published, then it signs, then the old one goes.
    service.config.signing_key_files = vec![signing_key(1), signing_key(2)];
    let mut service = service.restart().await;
    let both = kids(&service).await;
    assert_eq!((both.len(), &both[0]), (2, &before[0]));
    service.resolve(&old.access_token).await.unwrap();
    service.config.signing_key_files = vec![signing_key(2), signing_key(1)];
    let mut service = service.restart().await;
    let new = service.client().refresh(&old.refresh_token).await.unwrap();
    service.resolve(&old.access_token).await.unwrap();
    service.resolve(&new.access_token).await.unwrap();
    service.config.signing_key_files = vec![signing_key(2)];
    let service = service.restart().await;
    service.resolve(&new.access_token).await.unwrap();
    assert_eq!(
        told(service.resolve(&old.access_token).await).0,
        "INVALID_TOKEN"
    );
}
