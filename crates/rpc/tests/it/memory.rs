//! Ways to a service: within the process, and over ports that come and go.

use kernel::ErrorCode;
use proto::search::v1::SearchResponse;
use proto::search::v1::search_service_client::SearchServiceClient;
use rpc::{Listener, connect};
use runtime::{Shutdown, Tasks};
use tokio::net::TcpListener;

use crate::stub::{as_ann, search, searching};

#[tokio::test]
async fn a_call_within_the_process_works_and_waits_for_a_late_start() {
    let clock = testkit::clock();
    let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
    let mut client = SearchServiceClient::new(connect(&"mem:late".parse().unwrap()));
    let request = as_ann(&clock);
    let early = tasks.spawn("early", async move { search(&mut client, request).await });
    let server = searching(&clock, |_, _| async { Ok(SearchResponse::default()) });
    let serving = tasks.spawn(
        "rpc",
        server.serve(Listener::memory("late"), shutdown.clone()),
    );
    early.await.unwrap().unwrap();
    shutdown.begin();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_name_that_nobody_serves_is_unavailable_and_works_once_it_is_served_again() {
    let clock = testkit::clock();
    let mut client = SearchServiceClient::new(connect(&"mem:absent".parse().unwrap()));
    for _ in 0..2 {
        let error = search(&mut client, as_ann(&clock)).await.unwrap_err();
        assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
        let shutdown = Shutdown::new();
        let server = searching(&clock, |_, _| async { Ok(SearchResponse::default()) });
        let serving = Tasks::new().spawn(
            "rpc",
            server.serve(Listener::memory("absent"), shutdown.clone()),
        );
        search(&mut client, as_ann(&clock)).await.unwrap();
        shutdown.begin();
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_name_is_served_once() {
    let clock = testkit::clock();
    let shutdown = Shutdown::new();
    let serve = || {
        searching(&clock, |_, _| async { Ok(SearchResponse::default()) })
            .serve(Listener::memory("twice"), shutdown.clone())
    };
    let first = Tasks::new().spawn("rpc", serve());
    let mut client = SearchServiceClient::new(connect(&"mem:twice".parse().unwrap()));
    search(&mut client, as_ann(&clock)).await.unwrap();
    assert!(
        serve()
            .await
            .unwrap_err()
            .to_string()
            .contains("mem:twice is served already")
    );
    search(&mut client, as_ann(&clock)).await.unwrap();
    shutdown.begin();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_that_nobody_serves_is_unavailable_and_works_once_it_is_served_again() {
    let clock = testkit::clock();
    let (listener, channel) = testkit::rpc::listen().await;
    let Listener::Tcp(listener) = listener else {
        panic!("a port")
    };
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut client = SearchServiceClient::new(channel);
    for _ in 0..2 {
        let error = search(&mut client, as_ann(&clock)).await.unwrap_err();
        assert_eq!(
            error.error_code(),
            ErrorCode::ServiceUnavailable,
            "{error:?}"
        );
        let shutdown = Shutdown::new();
        let listener = Listener::Tcp(TcpListener::bind(address).await.unwrap());
        let server = searching(&clock, |_, _| async { Ok(SearchResponse::default()) });
        let serving = Tasks::new().spawn("rpc", server.serve(listener, shutdown.clone()));
        testkit::eventually("the client has connected again", async || {
            search(&mut client.clone(), as_ann(&clock)).await.ok()
        })
        .await;
        shutdown.begin();
        serving.await.unwrap().unwrap();
        // The client learns of the end of its connection on the next call.
        let _ = search(&mut client, as_ann(&clock)).await;
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = Listener::bind(&address).await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}
