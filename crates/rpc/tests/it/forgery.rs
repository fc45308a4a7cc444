//! Every way in which a token can be wrong.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::TimeDelta;
use kernel::{Clock, ErrorCode};
use proto::search::v1::SearchResponse;
use ring::hmac;
use rpc::token::{mint_context, mint_service};
use rpc::{Identity, Peer};
use serde_json::{Value, json};
use testkit::Rpc;
use testkit::rpc::context_claims;
use tonic::Request;

use crate::stub::{Client, ann, as_ann, call, query, search, serve, serve_hollow};

const HEADER: &str = r#"{"alg":"EdDSA","typ":"context+jwt"}"#;

async fn start(clock: &Clock) -> (Rpc, Client) {
    serve(clock, |_, _| async { Ok(SearchResponse::default()) }).await
}

fn with_token(token: &str) -> Request<proto::search::v1::SearchRequest> {
    let mut request = Request::new(query());
    request
        .metadata_mut()
        .insert("tenantry-context", token.parse().unwrap());
    request
}

fn claims(clock: &Clock) -> Value {
    serde_json::to_value(context_claims(&ann(), clock)).unwrap()
}

/// Signs anything with the key of a service, through the same primitive as the product.
fn forge(signer: &Identity, header: &str, claims: &str) -> String {
    // A service token's claims are whatever we want once its text is cut open: sign raw bytes with the seed of the identity.
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let seed = ring::digest::digest(&ring::digest::SHA256, signer.name().as_bytes());
    let key = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap();
    format!("{signed}.{}", BASE64.encode(key.sign(signed.as_bytes())))
}

fn auth() -> Identity {
    testkit::identity("auth")
}

#[tokio::test]
async fn a_good_token_passes_and_none_does_not() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    search(&mut client, as_ann(&clock)).await.unwrap();
    let forged_well = forge(&auth(), HEADER, &claims(&clock).to_string());
    search(&mut client, with_token(&forged_well)).await.unwrap();
    let error = search(&mut client, Request::new(query()))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::Unauthorized);
    rpc.stop().await;
}

#[tokio::test]
async fn a_header_other_than_ours_is_refused_whoever_signed() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let claims = claims(&clock).to_string();
    let headers = [
        r#"{"alg":"none","typ":"context+jwt"}"#,
        r#"{"alg":"None","typ":"context+jwt"}"#,
        r#"{"alg":"HS256","typ":"context+jwt"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"typ":"context+jwt","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"context+jwt","kid":"../../dev/null"}"#,
        r#"{"alg":"EdDSA","typ":"context+jwt","jku":"https://evil.example/keys"}"#,
        r#"{"alg":"EdDSA","typ":"context+jwt","jwk":{"kty":"OKP"}}"#,
        r#"{"alg":"EdDSA","typ":"context+jwt","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","alg":"none","typ":"context+jwt"}"#,
        "",
    ];
    for header in headers {
        let error = search(&mut client, with_token(&forge(&auth(), header, &claims)))
            .await
            .unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidToken, "{header}");
    }
    rpc.stop().await;
}

#[tokio::test]
async fn neither_no_signature_nor_the_public_key_as_a_secret_is_a_signature() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let claims = BASE64.encode(claims(&clock).to_string());
    let mut tokens = Vec::new();
    for header in [HEADER, r#"{"alg":"none","typ":"context+jwt"}"#] {
        tokens.push(format!("{}.{claims}.", BASE64.encode(header)));
    }
    for header in [HEADER, r#"{"alg":"HS256","typ":"context+jwt"}"#] {
        let signed = format!("{}.{claims}", BASE64.encode(header));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, auth().public_key().as_bytes());
        let tag = hmac::sign(&secret, signed.as_bytes());
        tokens.push(format!("{signed}.{}", BASE64.encode(tag)));
    }
    tokens.extend(["nonsense", "a.b.c", "..", "."].map(str::to_owned));
    tokens.push("A".repeat(40_000));
    for token in tokens {
        let error = search(&mut client, with_token(&token)).await.unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidToken, "{token:.60}");
    }
    rpc.stop().await;
}

#[tokio::test]
async fn only_auth_signs_context_tokens_and_only_for_us() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let mut refused = async |what: &str, token: String| {
        let error = search(&mut client, with_token(&token)).await.unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidToken, "{what}");
    };
    let good = context_claims(&ann(), &clock);
    refused(
        "a stranger",
        mint_context(&Identity::generate("auth"), &good),
    )
    .await;
    refused(
        "a trusted service",
        mint_context(&testkit::identity("gateway"), &good),
    )
    .await;
    let mut other = good.clone();
    other.iss = "gateway".to_owned();
    refused("another issuer", mint_context(&auth(), &other)).await;
    refused("both", mint_context(&testkit::identity("gateway"), &other)).await;
    let mut other = good.clone();
    other.aud = "billing".to_owned();
    refused("another audience", mint_context(&auth(), &other)).await;
    let token = mint_context(&auth(), &good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let mut richer = claims(&clock);
    richer["perms"] = json!(["search.query", "tenants.suspend"]);
    let altered = format!("{header}.{}.{signature}", BASE64.encode(richer.to_string()));
    refused("altered claims", altered).await;
    refused("a short signature", token[..token.len() - 4].to_owned()).await;
    refused("padding", format!("{token}==")).await;
    refused("a tail", format!("{token}.x")).await;
    rpc.stop().await;
}

#[tokio::test]
async fn a_claim_that_is_missing_unknown_or_of_another_type_is_refused() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let good = claims(&clock);
    let exp = good["exp"].as_i64().unwrap();
    let mut wrong = Vec::new();
    for name in ["iss", "aud", "act", "sub", "perms", "iat", "exp", "jti"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        wrong.push(claims);
    }
    let changes = [
        ("exp", json!(exp.to_string())),
        ("exp", json!(exp as f64 + 0.5)),
        ("exp", json!(null)),
        ("exp", json!([exp])),
        ("iat", json!("0")),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("nbf", json!({})),
        ("nbf", json!(exp)),
        ("iat", json!(exp)),
        ("iat", json!(exp - 3600)),
        ("exp", json!(exp + 3600)),
        ("exp", json!(i64::MAX)),
        ("iat", json!(i64::MIN)),
        ("aud", json!(["tenantry", "x"])),
        ("tid", json!(null)),
        ("tid", json!("not-a-uuid")),
        ("act", json!("super_admin")),
        ("perms", json!("search.query")),
        ("admin", json!(true)),
    ];
    for (name, value) in changes {
        let mut claims = good.clone();
        claims[name] = value;
        wrong.push(claims);
    }
    for claims in wrong {
        let token = forge(&auth(), HEADER, &claims.to_string());
        let error = search(&mut client, with_token(&token)).await.unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::InvalidToken, "{claims}");
    }
    let twice =
        good.to_string()
            .replacen('{', r#"{"tid":"00000000-0000-7000-8000-000000000001","#, 1);
    let error = search(&mut client, with_token(&forge(&auth(), HEADER, &twice)))
        .await
        .unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::InvalidToken, "a claim twice");
    rpc.stop().await;
}

#[tokio::test]
async fn a_token_is_refused_after_a_minute_also_when_it_was_used_before() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let (used, unused) = (as_ann(&clock), as_ann(&clock));
    let token = used
        .metadata()
        .get("tenantry-context")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    search(&mut client, used).await.unwrap();
    clock.advance(TimeDelta::seconds(59));
    search(&mut client, with_token(&token)).await.unwrap();
    clock.advance(TimeDelta::seconds(1));
    for request in [with_token(&token), unused] {
        let error = search(&mut client, request).await.unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::TokenExpired);
    }
    rpc.stop().await;
}

#[tokio::test]
async fn the_two_kinds_of_token_do_not_stand_in_for_each_other() {
    let clock = testkit::clock();
    let (rpc, mut client) = start(&clock).await;
    let peer = Peer::new(testkit::keyring("gateway"), "search", clock.clone());
    let service = peer.service_token(ann().tenant_id(), None, "r");
    let error = search(&mut client, with_token(&service)).await.unwrap_err();
    assert_eq!(
        error.error_code(),
        ErrorCode::InvalidToken,
        "a service token as context token"
    );
    rpc.stop().await;

    let hollow = serve_hollow(&clock).await;
    let mut request = Request::new(());
    let token = testkit::context_token(&ann(), &clock);
    request
        .metadata_mut()
        .insert("tenantry-context", token.parse().unwrap());
    let path = "/auth.v1.AccessService/ResolveContext";
    let status = call(&hollow, path, request).await.unwrap_err();
    assert_eq!(
        rpc::from_status(status).error_code(),
        ErrorCode::InvalidToken,
        "a context token as service token"
    );
    hollow.stop().await;
}

#[tokio::test]
async fn an_internal_method_takes_only_its_callers_and_only_tokens_meant_for_it() {
    let clock = testkit::clock();
    let rpc = serve_hollow(&clock).await;
    let attempt = async |token: Option<String>| {
        let mut request = Request::new(());
        if let Some(token) = token {
            request
                .metadata_mut()
                .insert("tenantry-context", token.parse().unwrap());
        }
        let outcome = call(&rpc, "/auth.v1.AccessService/ResolveContext", request).await;
        outcome.map_err(|status| rpc::from_status(status).error_code())
    };
    let token = |from: &str, to: &str| {
        Some(Peer::new(testkit::keyring(from), to, clock.clone()).service_token(None, None, "r"))
    };
    assert_eq!(attempt(token("gateway", "auth")).await, Ok(()));
    assert_eq!(
        attempt(token("tenant", "auth")).await,
        Err(ErrorCode::ForbiddenAction),
        "not on the list"
    );
    assert_eq!(
        attempt(token("gateway", "search")).await,
        Err(ErrorCode::InvalidToken),
        "meant for another service"
    );
    assert_eq!(attempt(None).await, Err(ErrorCode::Unauthorized));

    let text = token("gateway", "auth").unwrap();
    let claims = BASE64.decode(text.split('.').nth(1).unwrap()).unwrap();
    let claims: rpc::token::ServiceClaims = serde_json::from_slice(&claims).unwrap();
    let stranger = mint_service(&Identity::generate("gateway"), &claims);
    assert_eq!(
        attempt(Some(stranger)).await,
        Err(ErrorCode::InvalidToken),
        "a stranger of that name"
    );
    let insider = mint_service(&testkit::identity("tenant"), &claims);
    assert_eq!(
        attempt(Some(insider)).await,
        Err(ErrorCode::InvalidToken),
        "one service in the name of another"
    );
    let mut unknown = claims.clone();
    unknown.iss = "nobody".to_owned();
    let unknown = mint_service(&testkit::identity("gateway"), &unknown);
    assert_eq!(
        attempt(Some(unknown)).await,
        Err(ErrorCode::InvalidToken),
        "a service that nobody knows"
    );
    clock.advance(TimeDelta::seconds(60));
    assert_eq!(
        attempt(Some(text)).await,
        Err(ErrorCode::TokenExpired),
        "replayed later"
    );
    rpc.stop().await;
}
