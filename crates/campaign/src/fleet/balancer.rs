//! A load balancer as every cluster has one: it passes bytes and knows who is ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::{Process, Shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How often readiness is asked for. A process must take work for at least this long after it has said that it wants no more.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// A probe that takes longer counts as "not ready".
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Spreads connections over those backends that say they are ready, in turn. A connection that a backend refuses goes to the next one, before
/// any byte was passed; nothing else is ever repeated. Connections that stand are left alone.
pub struct Balancer {
    address: SocketAddr,
}

struct Backend {
    serving: SocketAddr,
    admin: SocketAddr,
    is_ready: AtomicBool,
}

impl Balancer {
    /// Listens on a free port for connections to `backends`: where each serves, and where it tells its readiness. Ends with `process`.
    pub async fn start(backends: Vec<(SocketAddr, SocketAddr)>, process: &Process) -> Self {
        let backends: Arc<[Backend]> = backends
            .into_iter()
            .map(|(serving, admin)| Backend {
                serving,
                admin,
                is_ready: AtomicBool::new(false),
            })
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        process.tasks.spawn(
            "balancer.probe",
            probe(Arc::clone(&backends), process.shutdown.clone()),
        );
        process.tasks.spawn(
            "balancer",
            accept(listener, backends, process.shutdown.clone()),
        );
        Self { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn probe(backends: Arc<[Backend]>, shutdown: Shutdown) {
    while !shutdown.is_begun() {
        let probes = backends.iter().map(|backend| async {
            let is_ready = is_ready(backend.admin).await;
            backend.is_ready.store(is_ready, Ordering::SeqCst);
        });
        futures::future::join_all(probes).await;
        shutdown.or(tokio::time::sleep(PROBE_INTERVAL)).await;
    }
}

async fn accept(listener: TcpListener, backends: Arc<[Backend]>, shutdown: Shutdown) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    while let Some(Ok((client, _))) = shutdown.or(listener.accept()).await {
        let (backends, next) = (Arc::clone(&backends), Arc::clone(&next));
        connections.spawn(async move {
            if let Some(server) = connect(&backends, &next).await {
                pass(client, server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The next one that is ready and takes the connection; when none is ready, any.
async fn connect(backends: &[Backend], next: &AtomicUsize) -> Option<TcpStream> {
    let first = next.fetch_add(1, Ordering::Relaxed);
    let in_turn = || (0..backends.len()).map(|step| &backends[(first + step) % backends.len()]);
    let ready = in_turn().filter(|backend| backend.is_ready.load(Ordering::SeqCst));
    let others = in_turn().filter(|backend| !backend.is_ready.load(Ordering::SeqCst));
    for backend in ready.chain(others) {
        if let Ok(stream) = TcpStream::connect(backend.serving).await {
            return Some(stream);
        }
    }
    None
}

async fn pass(mut client: TcpStream, mut server: TcpStream) {
    // Whole messages pass; waiting for more would only delay them.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // How connections end is for the two ends to judge.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// Asks an admin port for readiness.
pub(super) async fn is_ready(admin: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(admin).await.ok()?;
        let request = format!("GET /health/ready HTTP/1.1\r\nhost: {admin}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(
        tokio::time::timeout(PROBE_MAX, asking).await,
        Ok(Some(true))
    )
}
