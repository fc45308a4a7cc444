//! A replica that ends: calls that wait for its connection go to the next replica, and whole; a call that it has seen is not made again.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::poll_fn;
use futures::poll;
use h2::server::{Connection, SendResponse};
use h2::{Ping, Reason, RecvStream};
use http::Request;
use kernel::{Clock, ErrorCode, Result};
use proto::niche::v1::import_service_client::ImportServiceClient;
use proto::search::v1::SearchResponse;
use proto::search::v1::search_service_client::SearchServiceClient;
use rpc::{Channel, Listener};
use runtime::Tasks;
use testkit::Rpc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::streams::{UPLOAD_BYTES, imports, upload};
use crate::stub::{as_ann, search, searching};

/// So often every task gets its turn until all have done what they can: more than there are hands between a call and its connection.
const TURNS: usize = 200;

/// A replica that takes one call at a time and has one.
struct Busy {
    listener: TcpListener,
    channel: Channel,
    connection: Connection<TcpStream, Bytes>,
    answer: JoinHandle<Result<SearchResponse>>,
    under_way: (Request<RecvStream>, SendResponse<Bytes>),
}

impl Busy {
    async fn start(clock: &Clock) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let channel = rpc::connect(&url.parse().unwrap());
        let answer = ask(&channel, clock);
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(1)
            .handshake(socket)
            .await
            .unwrap();
        let under_way = connection.accept().await.unwrap().unwrap();
        let mut pings = connection.ping_pong().unwrap();
        // The client answers in order: when the pong is there, it knows how many calls are taken.
        tokio::select! {
            pong = pings.ping(Ping::opaque()) => drop(pong.unwrap()),
            _ = connection.accept() => panic!("a call too many, or none"),
        }
        Self {
            listener,
            channel,
            connection,
            answer,
            under_way,
        }
    }

    /// Ends as a server does that says goodbye and goes; the next one listens at the same address. Answers what became of the call under way.
    async fn make_room(mut self, next: rpc::Server) -> (Rpc, Result<SearchResponse>) {
        let next = Rpc::start_on(next, Listener::Tcp(self.listener));
        self.connection.abrupt_shutdown(Reason::NO_ERROR);
        poll_fn(|context| self.connection.poll_closed(context))
            .await
            .unwrap();
        drop((self.connection, self.under_way));
        (next, self.answer.await.unwrap())
    }
}

fn ask(channel: &Channel, clock: &Clock) -> JoinHandle<Result<SearchResponse>> {
    let mut client = SearchServiceClient::new(channel.clone());
    let request = as_ann(clock);
    Tasks::new().spawn("ask", async move { search(&mut client, request).await })
}

/// Lets everything that was begun go on until it waits.
async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_that_wait_for_a_replica_that_ends_go_to_the_next_one() {
    let clock = testkit::clock();
    let busy = Busy::start(&clock).await;
    let waiting: Vec<_> = (0..3).map(|_| ask(&busy.channel, &clock)).collect();
    settle().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let next = searching(&clock, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(SearchResponse::default()) }
    });
    let (next, seen) = busy.make_room(next).await;
    assert_eq!(
        seen.unwrap_err().error_code(),
        ErrorCode::ServiceUnavailable
    );
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3, "the one that was seen");
    next.stop().await;
}

#[tokio::test]
async fn an_upload_that_waits_for_a_replica_that_ends_reaches_the_next_one_whole() {
    let clock = testkit::clock();
    let busy = Busy::start(&clock).await;
    let before = ask(&busy.channel, &clock);
    settle().await;
    let mut client = ImportServiceClient::new(busy.channel.clone());
    let file = upload(&clock, "software", None);
    let mut uploading = pin!(client.create_import(file));
    assert!(poll!(uploading.as_mut()).is_pending());
    settle().await;
    let (next, _) = busy.make_room(imports(&clock)).await;
    let answer = uploading.await.unwrap().into_inner();
    assert_eq!(answer.data.unwrap().id, format!("{UPLOAD_BYTES} none"));
    drop(before.await.unwrap());
    next.stop().await;
}

#[tokio::test]
async fn an_upload_of_which_something_was_read_is_not_made_again() {
    let clock = testkit::clock();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut client = ImportServiceClient::new(rpc::connect(&url.parse().unwrap()));
    let uploading = client.create_import(upload(&clock, "software", None));
    let replica = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (mut request, mut answer) = connection.accept().await.unwrap().unwrap();
        tokio::select! {
            part = request.body_mut().data() => drop(part.unwrap().unwrap()),
            _ = connection.accept() => panic!("a call too many, or none"),
        }
        // The promise to have done nothing does not bring back what was read.
        answer.send_reset(Reason::REFUSED_STREAM);
        drop(connection.accept().await);
    };
    tokio::select! {
        done = uploading => drop(done.unwrap_err()),
        () = replica => panic!("it was made again"),
    }
}
