//! A TCP proxy that fails on command.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the proxy does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Connections are closed, new ones at once.
    Cut,
    /// Connections stay open and nothing comes through.
    Stall,
    /// Everything comes through late: each piece by so much.
    Slow(Duration),
}

/// Stands between a client and a server, and fails on command. Ends with this value.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    budget: Arc<AtomicI64>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port for connections to the server of `url`, and passes everything on.
    pub async fn to(url: &str) -> Self {
        let upstream = authority(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback address has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (mode, watched) = watch::channel(Mode::Pass);
        let budget = Arc::new(AtomicI64::new(i64::MAX));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, watched, Arc::clone(&budget)));
        Self {
            address,
            mode,
            budget,
            _accepting: accepting,
        }
    }

    /// A proxy to the test broker.
    pub async fn to_amqp() -> Self {
        Self::to(&crate::broker::server_url("TESTKIT_AMQP_URL")).await
    }

    /// A proxy to the test PostgreSQL.
    pub async fn to_postgres() -> Self {
        Self::to(&crate::broker::server_url("TESTKIT_DATABASE_URL")).await
    }

    /// A proxy to the test Redis.
    pub async fn to_redis() -> Self {
        Self::to(&crate::broker::server_url("TESTKIT_REDIS_URL")).await
    }

    /// `url` with this proxy in place of its server.
    pub fn url_of(&self, url: &str) -> String {
        url.replacen(authority(url), &self.address.to_string(), 1)
    }

    /// Closes all connections, and new ones at once, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Lets nothing through, without closing anything, until [`Proxy::restore`].
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// Passes everything on, each piece late by `pause`, until [`Proxy::restore`].
    pub fn slow(&self, pause: Duration) {
        self.mode.send_replace(Mode::Slow(pause));
    }

    /// Passes everything on again.
    pub fn restore(&self) {
        self.mode.send_replace(Mode::Pass);
    }

    /// Closes the connection that brings the number of bytes towards the server to `bytes` from now; once.
    pub fn cut_after(&self, bytes: i64) {
        self.budget.store(bytes, Ordering::SeqCst);
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    mode: watch::Receiver<Mode>,
    budget: Arc<AtomicI64>,
) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        let (upstream, mode, budget) = (upstream.clone(), mode.clone(), Arc::clone(&budget));
        connections.spawn(async move {
            // The ends of a connection are what these tests are about, so its errors are of no interest.
            let _ended = pass(client, &upstream, mode, &budget).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(
    client: TcpStream,
    upstream: &str,
    mut mode: watch::Receiver<Mode>,
    budget: &AtomicI64,
) -> io::Result<()> {
    if *mode.borrow() == Mode::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(upstream).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let unlimited = AtomicI64::new(i64::MAX);
    tokio::select! {
        ended = copy(from_client, to_server, mode.clone(), budget) => ended,
        ended = copy(from_server, to_client, mode.clone(), &unlimited) => ended,
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => Ok(()),
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    budget: &AtomicI64,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 || mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return Ok(());
        }
        let pause = match *mode.borrow() {
            Mode::Slow(pause) => pause,
            Mode::Pass | Mode::Cut | Mode::Stall => Duration::ZERO,
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let before = budget.fetch_sub(count as i64, Ordering::SeqCst);
        if before <= count as i64 {
            budget.store(i64::MAX, Ordering::SeqCst);
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}
