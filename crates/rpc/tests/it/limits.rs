//! Time, crowds and crashes.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, ErrorCode};
use proto::search::v1::search_service_client::SearchServiceClient;
use proto::search::v1::{SearchRequest, SearchResponse};
use rpc::{Limits, Listener, Server};
use runtime::{Metrics, Shutdown, Tasks};
use testkit::Rpc;
use tokio::sync::{Notify, Semaphore};

use crate::stub::{as_ann, search, searching, serve};

#[tokio::test]
async fn a_call_without_a_deadline_ends_at_the_servers() {
    let clock = testkit::clock();
    let limits = Limits {
        deadline: Duration::from_millis(50),
        ..Limits::default()
    };
    let rpc = Rpc::start(searching(&clock, |_, _| std::future::pending()).limits(limits)).await;
    let mut client = SearchServiceClient::new(rpc.channel());
    let error = search(&mut client, as_ann(&clock)).await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::DeadlineExceeded, "service.deadline")
    );
    rpc.stop().await;
}

#[tokio::test]
async fn a_callers_shorter_deadline_is_kept_by_the_server_and_known_to_the_handler() {
    let clock = testkit::clock();
    let (own, shutdown) = (clock.clone(), Shutdown::new());
    let server = searching(&clock, move |ctx, message: SearchRequest| {
        let left = ctx.deadline().map(|deadline| deadline - own.instant());
        async move {
            if message.niche == "tell" {
                return Err(
                    Error::not_found("demo", "x").with_detail("left_ms", left.unwrap().as_millis())
                );
            }
            std::future::pending().await
        }
    });
    let serving = Tasks::new().spawn(
        "rpc",
        server.serve(Listener::memory("deadline-test"), shutdown.clone()),
    );
    let mut client = SearchServiceClient::new(rpc::connect(&"mem:deadline-test".parse().unwrap()));
    let mut request = as_ann(&clock);
    request.set_timeout(Duration::from_millis(40));
    let error = search(&mut client, request).await.unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::DeadlineExceeded);
    let mut request = as_ann(&clock);
    request.get_mut().niche = "tell".to_owned();
    request.set_timeout(Duration::from_secs(1));
    let error = search(&mut client, request).await.unwrap_err();
    assert_eq!(error.details()["left_ms"], "980");
    let mut request = as_ann(&clock);
    request.get_mut().niche = "tell".to_owned();
    request.set_timeout(Duration::from_secs(3600));
    let error = search(&mut client, request).await.unwrap_err();
    assert_eq!(
        error.details()["left_ms"],
        "5000",
        "the server's own limit holds"
    );
    shutdown.begin();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_clients_own_deadline_reads_as_a_deadline() {
    let clock = testkit::clock();
    let (listener, channel) = testkit::rpc::listen().await;
    let mut request = as_ann(&clock);
    request.set_timeout(Duration::from_millis(30));
    // Bound and never accepted: like a machine that hangs.
    let error = search(&mut SearchServiceClient::new(channel), request)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error.error_code(),
            ErrorCode::DeadlineExceeded | ErrorCode::ServiceUnavailable
        ),
        "{error:?}"
    );
    drop(listener);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_one_call_only() {
    let clock = testkit::clock();
    let (rpc, mut client) = serve(&clock, |_, message: SearchRequest| async move {
        assert!(message.niche != "bomb", "secret detail");
        Ok(SearchResponse::default())
    })
    .await;
    let mut request = as_ann(&clock);
    request.get_mut().niche = "bomb".to_owned();
    let error = search(&mut client, request).await.unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::InternalError);
    assert!(!error.message().contains("secret"));
    search(&mut client, as_ann(&clock)).await.unwrap();
    rpc.stop().await;
}

#[tokio::test]
async fn a_call_over_the_limit_is_refused_at_once_and_the_seat_comes_back() {
    let clock = testkit::clock();
    let (arrived, leave) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (bell, door) = (Arc::clone(&arrived), Arc::clone(&leave));
    let metrics = Metrics::new("search");
    let server: Server = searching(&clock, move |_, _| {
        let (bell, door) = (Arc::clone(&bell), Arc::clone(&door));
        async move {
            bell.notify_one();
            door.acquire().await.unwrap().forget();
            Ok(SearchResponse::default())
        }
    });
    let rpc = Rpc::start(
        server
            .limits(Limits {
                calls: 1,
                ..Limits::default()
            })
            .metrics(&metrics),
    )
    .await;
    let mut client = SearchServiceClient::new(rpc.channel());
    let mut other = client.clone();
    let request = as_ann(&clock);
    let first = Tasks::new().spawn("first", async move { search(&mut other, request).await });
    arrived.notified().await;
    let error = search(&mut client, as_ann(&clock)).await.unwrap_err();
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::ServiceUnavailable, "service.overloaded")
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    leave.add_permits(2);
    first.await.unwrap().unwrap();
    search(&mut client, as_ann(&clock)).await.unwrap();
    let text = metrics.render();
    assert!(
        text.contains(r#"rpc_server_shed_total{rpc_method="/search.v1.SearchService/Search""#),
        "{text}"
    );
    assert!(
        text.contains("rpc_server_call_duration_seconds_count"),
        "{text}"
    );
    assert!(!text.contains("tenant"), "{text}");
    rpc.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_the_call_in_flight() {
    let clock = testkit::clock();
    let (arrived, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (bell, door) = (Arc::clone(&arrived), Arc::clone(&leave));
    let (rpc, mut client) = serve(&clock, move |_, _| {
        let (bell, door) = (Arc::clone(&bell), Arc::clone(&door));
        async move {
            bell.notify_one();
            door.notified().await;
            Ok(SearchResponse::default())
        }
    })
    .await;
    let request = as_ann(&clock);
    let tasks = Tasks::new();
    let call = tasks.spawn("call", async move { search(&mut client, request).await });
    arrived.notified().await;
    let stopping = tasks.spawn("stop", rpc.stop());
    leave.notify_one();
    call.await.unwrap().unwrap();
    stopping.await.unwrap();
}
