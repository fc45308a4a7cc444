//! Clients that take their time: each is let go with an answer where there is somebody to answer, and nobody waits for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use campaign::Extent;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::input::oversized::post;
use crate::input::stage::{IMPORTS, Stage};
use crate::input::wire::canary;

/// A client that is still kept after this long is told as such; without an end of its own a proof would never fail.
const KEPT_MAX: Duration = Duration::from_secs(20);

/// Opens a connection, sends a part, and tells the status of the answer and how long it took to come.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured or forged here is real time"
)]
async fn trickle(address: SocketAddr, first: Vec<u8>, drip: &'static [u8]) -> (u16, Duration) {
    let began = Instant::now();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = async {
        if writer.write_all(&first).await.is_err() {
            return;
        }
        loop {
            // sleeps because a slow client is what this is about
            tokio::time::sleep(Duration::from_millis(100)).await;
            if drip.is_empty() {
                continue;
            }
            if writer.write_all(drip).await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let hearing = async {
        let mut heard = Vec::new();
        let _ = reader.read_to_end(&mut heard).await;
        heard
    };
    let heard = tokio::select! {
        heard = hearing => heard,
        () = dripping => Vec::new(),
        // sleeps because a client that is kept for ever is what is looked for
        () = tokio::time::sleep(KEPT_MAX) => Vec::new(),
    };
    let text = String::from_utf8_lossy(&heard).into_owned();
    let status = text
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_and_hold_nobody_up() {
    let extent = Extent::of_this_run();
    let stage = Stage::start(&[
        ("GATEWAY_HEAD_TIMEOUT_MS", "1000"),
        ("GATEWAY_BODY_TIMEOUT_MS", "1000"),
        ("GATEWAY_KEEP_ALIVE_MS", "1000"),
    ])
    .await;
    let house = stage.house("Ana").await;
    let slow_head = b"GET /health/live HTTP/1.1\r\nHost: a\r\n".to_vec();
    let slow_body = {
        let mut request = post(&house, "", &[b' '; 5_000]);
        request.truncate(request.len() - 4_999);
        request
    };
    let slow_upload = format!(
        "POST {IMPORTS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nPackage\n\r\n",
        house.token
    );
    let idle = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let second_head = [idle.as_slice(), b"GET /health"].concat();
    let tunnel = b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let each = extent.pick(10, 200);
    let mut clients = Vec::new();
    let mut expected = Vec::new();
    for n in 0..each {
        let (head, body) = (slow_head.clone(), slow_body.clone());
        clients.push(trickle(stage.address, head.clone(), b"X: y\r\n"));
        clients.push(trickle(stage.address, head, b""));
        clients.push(trickle(stage.address, body, b" "));
        clients.push(trickle(stage.address, idle.clone(), b""));
        clients.push(trickle(stage.address, second_head.clone(), b"X: y\r\n"));
        clients.push(trickle(stage.address, tunnel.clone(), b"x"));
        expected.extend([408, 408, 408, 200, 200, 404]);
        // More uploads at once are refused at once.
        if n < 6 {
            clients.push(trickle(
                stage.address,
                slow_upload.clone().into_bytes(),
                b"",
            ));
            expected.push(408);
        }
    }
    let others = async {
        for _ in 0..20 {
            canary(stage.address, "a crowd of slow clients").await;
        }
    };
    let (ends, ()) = tokio::join!(join_all(clients), others);
    for (n, ((status, elapsed), expected)) in ends.iter().zip(expected).enumerate() {
        assert!(*elapsed < KEPT_MAX, "client {n} was kept for {elapsed:?}");
        assert_eq!(*status, expected, "client {n} after {elapsed:?}");
    }
    extent.tell("slow clients", ends.len());
    stage.platform.stop().await;
}
