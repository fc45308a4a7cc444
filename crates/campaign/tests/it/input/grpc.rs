//! The gRPC port of a service: garbage, a message that claims a gigabyte, and streams opened only to be reset.

use std::net::SocketAddr;
use std::time::Duration;

use proto::auth::v1::LoginRequest;
use proto::auth::v1::session_service_client::SessionServiceClient;
use rpc::{Forward, Listener, Peer};
use stack::Configs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use campaign::Extent;

use crate::input::stage::Stage;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// Resets that must have ended the connection long before all of them are read.
const RESETS: u32 = 5_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as HPACK literals with names of their own.
fn literals(fields: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // A length of 127 and more takes further bytes of seven bits each (RFC 7541 section 5.1).
            match text.len() {
                short @ 0..=126 => block.push(u8::try_from(short).unwrap()),
                long => {
                    block.push(127);
                    let mut rest = long - 127;
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap() | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap());
                }
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A call of `Login` as the gateway would make it.
fn call(peer: &Peer) -> Vec<u8> {
    let forward = Forward {
        request_id: "a-request-of-a-test",
        ..Forward::default()
    };
    let metadata = peer.forward(&forward, ()).metadata().clone().into_headers();
    let mut fields: Vec<(String, String)> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/auth.v1.SessionService/Login"),
        (":authority", "auth"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    fields.extend(
        metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())),
    );
    literals(&fields)
}

/// Sends bytes and tells what came until the server closed, or nothing more came.
async fn send(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut heard = Vec::new();
    let sending = async {
        let _ = writer.write_all(bytes).await;
    };
    let hearing = async {
        let mut part = vec![0; 16 * 1024];
        loop {
            match timeout(Duration::from_millis(1_500), reader.read(&mut part)).await {
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(count)) => heard.extend_from_slice(&part[..count]),
                Err(_) => return false,
            }
        }
    };
    let ((), closed) = tokio::join!(sending, hearing);
    (heard, closed)
}

/// The kinds of the frames in what was heard.
fn kinds(mut heard: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while heard.len() >= 9 {
        let length =
            usize::from(heard[0]) << 16 | usize::from(heard[1]) << 8 | usize::from(heard[2]);
        kinds.push(heard[3]);
        heard = heard.get(9 + length..).unwrap_or_default();
    }
    kinds
}

/// The service answers somebody else: it refuses a password, which is an answer.
async fn canary(peer: &Peer, listener_url: &str, after: &str) {
    let channel = peer.connect(&listener_url.parse().unwrap());
    let login = LoginRequest {
        email: "nobody@example.com".to_owned(),
        password: "a guess of fifteen".to_owned(),
        ..LoginRequest::default()
    };
    let forward = Forward {
        request_id: "a-request-of-a-test",
        ..Forward::default()
    };
    let status = SessionServiceClient::new(channel)
        .login(peer.forward(&forward, login))
        .await
        .unwrap_err();
    assert_eq!(
        status.code(),
        tonic::Code::Unauthenticated,
        "after {after}: {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "a table of cases, and what is done with each"
)]
async fn a_hostile_peer_of_a_service_is_cut_off() {
    let stage = Stage::start(&[]).await;
    let process = stage.platform.process.clone();
    let mut reader = stage.platform.settings.reader();
    let mut configs = Configs::read(&mut reader);
    configs.auth.amqp = testkit::amqp();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.endpoint().unwrap().to_string();
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .unwrap();
    let (config, running) = (configs.auth.clone(), process.clone());
    let serving = process
        .tasks
        .spawn("auth", auth::run(config, listener, running));
    let peer = Peer::new(
        configs.gateway.keyring.clone(),
        "auth",
        process.clock.clone(),
    );
    let open = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let call = call(&peer);

    for (name, bytes) in [
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (
            "noise",
            (0..20_000_u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect(),
        ),
        (
            "a frame of 16 MiB",
            [
                open.as_slice(),
                &[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1],
                &[0; 100],
            ]
            .concat(),
        ),
        (
            "data without a stream",
            [open.as_slice(), &frame(DATA, 0, 1, b"x")].concat(),
        ),
        (
            "an index beyond any number",
            [open.as_slice(), &frame(HEADERS, 4, 1, &[0xff; 64])].concat(),
        ),
    ] {
        let (heard, closed) = send(address, &bytes).await;
        assert!(
            closed,
            "{name}: the connection stays, with frames {:?}",
            kinds(&heard)
        );
        canary(&peer, &url, name).await;
    }
    // Headers without an end are bounded, whatever there is in them.
    let block = literals(&[("x".to_owned(), "y".repeat(15_000))]);
    let mut flood = [open.as_slice(), &frame(HEADERS, 0, 1, &call)].concat();
    for _ in 0..200 {
        flood.extend(frame(CONTINUATION, 0, 1, &block));
    }
    let (heard, closed) = send(address, &flood).await;
    assert!(closed, "headers without an end: frames {:?}", kinds(&heard));
    canary(&peer, &url, "headers without an end").await;
    a_claimed_gigabyte_is_refused(address, &open, &call).await;
    canary(&peer, &url, "a claimed gigabyte").await;
    resets_are_counted(address, &open, &call).await;
    canary(&peer, &url, "resets").await;
    drop(serving);
    stage.platform.stop().await;
}

async fn a_claimed_gigabyte_is_refused(address: SocketAddr, open: &[u8], call: &[u8]) {
    let claim = [&[0][..], &(1_u32 << 30).to_be_bytes(), &[0; 1_000]].concat();
    let message = [
        open,
        &frame(HEADERS, 4, 1, call),
        &frame(DATA, 0, 1, &claim),
    ]
    .concat();
    let before = resident_kib();
    let (heard, _) = send(address, &message).await;
    let grown = resident_kib().saturating_sub(before);
    let text = String::from_utf8_lossy(&heard).into_owned();
    assert!(kinds(&heard).contains(&HEADERS), "{text}");
    assert!(grown < 512 * 1024, "a claim cost {grown} KiB");
    Extent::of_this_run().tell("KiB for a claimed gigabyte", grown);
}

async fn resets_are_counted(address: SocketAddr, open: &[u8], call: &[u8]) {
    let mut flood = open.to_vec();
    for n in 0..RESETS {
        flood.extend(frame(HEADERS, 4, 2 * n + 1, call));
        flood.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    let (heard, closed) = send(address, &flood).await;
    assert!(
        closed && kinds(&heard).contains(&GOAWAY),
        "after {RESETS} resets: {:?}",
        kinds(&heard)
    );
}

/// What this process holds in memory.
pub fn resident_kib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4
}
