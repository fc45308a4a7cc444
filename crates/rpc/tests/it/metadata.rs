//! What travels beside a message, and what of it is believed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kernel::{ClientInfo, Clock, Locale, RequestContext};
use proto::search::v1::{SearchRequest, SearchResponse};
use rpc::Peer;
use testkit::{ANN, Rpc, TENANT_A, TENANT_B};
use tonic::Request;

use crate::stub::{Client, ann, as_ann, query, search, serve};

type Seen = Arc<Mutex<Option<RequestContext>>>;

async fn start(clock: &Clock) -> (Rpc, Client, Seen) {
    let seen = Seen::default();
    let keep = Arc::clone(&seen);
    let (rpc, client) = serve(clock, move |ctx, _| {
        *keep.lock().unwrap() = Some(ctx);
        async { Ok(SearchResponse::default()) }
    })
    .await;
    (rpc, client, seen)
}

async fn context_of(request: Request<SearchRequest>) -> RequestContext {
    let (rpc, mut client, seen) = start(&testkit::clock()).await;
    search(&mut client, request).await.unwrap();
    rpc.stop().await;
    seen.lock().unwrap().take().unwrap()
}

#[tokio::test]
async fn the_context_is_what_the_token_says() {
    let ctx = context_of(as_ann(&testkit::clock())).await;
    assert_eq!(ctx.tenant_id(), Some(TENANT_A));
    assert_eq!(ctx.principal(), ann().principal());
    assert!(ctx.may("search.query") && !ctx.may("records.read"));
    assert_eq!(ctx.method(), "/search.v1.SearchService/Search");
    assert_eq!(ctx.request_id(), "req-test");
    assert_eq!(ctx.idempotency_key(), None, "the method takes none");
}

#[tokio::test]
async fn plain_headers_decide_nothing() {
    let mut request = as_ann(&testkit::clock());
    for (name, value) in [
        ("x-tenant-id", TENANT_B.to_string()),
        ("x-user-id", "root".to_owned()),
        ("x-permissions", "tenants.suspend".to_owned()),
        ("authorization", "Bearer x".to_owned()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let ctx = context_of(request).await;
    assert_eq!(
        (ctx.tenant_id(), ctx.principal()),
        (Some(TENANT_A), ann().principal())
    );
    assert!(!ctx.may("tenants.suspend"));
}

#[tokio::test]
async fn the_client_address_is_believed_only_of_the_gateway() {
    let clock = testkit::clock();
    let client = ClientInfo {
        ip: Some("203.0.113.7".parse().unwrap()),
        user_agent: "Mozilla/5.0 (ação)".to_owned(),
    };
    let with_client = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(["search.query"])
        .with({
            let client = client.clone();
            move |builder| builder.client(client)
        })
        .build();
    let request = || testkit::rpc::request("search", &with_client, &clock, query());
    let ctx = context_of(request()).await;
    assert_eq!(ctx.client().ip, client.ip);
    assert_eq!(ctx.client().user_agent, "Mozilla/5.0 (a??o)");

    let mut alone = request();
    alone.metadata_mut().remove("tenantry-caller");
    let here = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(context_of(alone).await.client().ip, here);

    let mut other = request();
    let token =
        Peer::new(testkit::keyring("niche"), "search", clock.clone()).service_token(None, None, "");
    other
        .metadata_mut()
        .insert("tenantry-caller", token.parse().unwrap());
    assert_eq!(context_of(other).await.client().ip, here);
}

#[tokio::test]
async fn language_and_trace_context_arrive_and_nonsense_is_replaced() {
    let mut request = as_ann(&testkit::clock());
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata = request.metadata_mut();
    metadata.insert("accept-language", "pt-BR,pt;q=0.9".parse().unwrap());
    metadata.insert("traceparent", traceparent.parse().unwrap());
    metadata.insert("x-request-id", "two words".parse().unwrap());
    let ctx = context_of(request).await;
    assert_eq!(ctx.locale(), Locale::PtBr);
    assert_eq!(ctx.traceparent(), Some(traceparent));
    assert!(
        ctx.request_id().parse::<uuid::Uuid>().is_ok(),
        "{}",
        ctx.request_id()
    );
}

#[tokio::test]
async fn a_stored_answer_says_so() {
    let clock = testkit::clock();
    let (rpc, mut client) = serve(&clock, |ctx, message: SearchRequest| async move {
        if message.niche == "stored" {
            ctx.mark_replayed();
        }
        Ok(SearchResponse::default())
    })
    .await;
    let fresh = client.search(as_ann(&clock)).await.unwrap();
    assert!(fresh.metadata().get("idempotency-replayed").is_none());
    let mut request = as_ann(&clock);
    request.get_mut().niche = "stored".to_owned();
    let stored = client.search(request).await.unwrap();
    assert_eq!(
        stored.metadata().get("idempotency-replayed").unwrap(),
        "true"
    );
    rpc.stop().await;
}

#[tokio::test]
async fn a_call_of_another_service_carries_tenant_person_and_what_is_left_of_the_time() {
    let clock = testkit::clock();
    let deadline = clock.instant() + Duration::from_millis(300);
    let ctx = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .with(move |builder| builder.deadline(deadline).request_id("r-1"))
        .build();
    clock.advance(chrono::TimeDelta::milliseconds(100));
    let peer = Peer::new(testkit::keyring("niche"), "search", clock.clone());
    let request = peer.request(&ctx, ());
    let timeout = request
        .metadata()
        .get("grpc-timeout")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(timeout, "190000u");
    assert!(
        peer.stream_request(&ctx, ())
            .metadata()
            .get("grpc-timeout")
            .is_none()
    );
    clock.advance(chrono::TimeDelta::milliseconds(900));
    let late = peer.request(&ctx, ());
    assert_eq!(
        late.metadata().get("grpc-timeout").unwrap(),
        "1000000n",
        "no time left is a millisecond, not forever"
    );

    let token = request
        .metadata()
        .get("tenantry-context")
        .unwrap()
        .to_str()
        .unwrap();
    let trust = testkit::keyring("search").trust;
    let verified = rpc::token::Verifier::new(trust, "search", clock)
        .verify(token)
        .unwrap();
    let rpc::token::Verified::Service(claims) = &*verified else {
        panic!("{verified:?}")
    };
    assert_eq!(
        (
            claims.iss.as_str(),
            claims.tid,
            claims.obo,
            claims.req.as_str()
        ),
        ("niche", Some(TENANT_A), Some(ANN), "r-1")
    );
}
