//! Serves the methods of one service.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use anyhow::Context as _;
use futures::{Stream, stream};
use http::Request;
use kernel::{Clock, Ids};
use runtime::{Metrics, Shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::RoutesBuilder;
use tonic_health::ServingStatus;
use tower::Service;

use crate::channel::{CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES};
use crate::guard::{Guard, Shared};
use crate::identity::Keyring;
use crate::listener::{Listener, Registration};
use crate::record::Instruments;
use crate::tls::Tls;
use crate::token::Verifier;

/// A client may reset this many streams that were not yet accepted before its connection is closed (the "rapid reset" attack).
const RESETS_MAX: usize = 32;
/// More calls than this at once on one connection wait in the client.
const STREAMS_PER_CONNECTION_MAX: u32 = 1024;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How much a server takes at once. What is over it is refused at once with `Unavailable` and a pause, not queued.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Unary calls in flight. At 5 ms each, 512 are 100,000 calls a second: only a service that hangs gets there.
    pub calls: usize,
    /// Open streams.
    pub streams: usize,
    /// What a unary call may take at most; a caller may ask for less.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 512,
            streams: 512,
            deadline: Duration::from_secs(5),
        }
    }
}

/// A service being set up.
pub struct Server {
    name: &'static str,
    keyring: Keyring,
    clock: Clock,
    limits: Limits,
    is_reflecting: bool,
    instruments: Instruments,
    routes: RoutesBuilder,
    served: Vec<&'static str>,
}

impl Server {
    /// A server for the service `name`, which is also the audience of the service tokens that it takes.
    pub fn new(name: &'static str, keyring: Keyring, clock: Clock) -> Self {
        Self {
            name,
            keyring,
            clock,
            limits: Limits::default(),
            is_reflecting: false,
            instruments: Instruments::new(&opentelemetry::global::meter("rpc")),
            routes: RoutesBuilder::default(),
            served: Vec::new(),
        }
    }

    /// Adds a generated service.
    #[must_use]
    pub fn service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self.served.push(S::NAME);
        self
    }

    /// Takes other limits than the default ones.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells the contract by gRPC reflection; for anywhere but production.
    #[must_use]
    pub const fn reflection(mut self, is_reflecting: bool) -> Self {
        self.is_reflecting = is_reflecting;
        self
    }

    /// Measures into these instead of the process's.
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.instruments = Instruments::new(&metrics.meter("rpc"));
        self
    }

    /// Serves until `shutdown`, then takes no more calls, ends streams with `Unavailable` and waits for the calls in flight.
    pub async fn serve(mut self, listener: Listener, shutdown: Shutdown) -> anyhow::Result<()> {
        let (reporter, health) = tonic_health::server::health_reporter();
        for name in &self.served {
            reporter
                .set_service_status(name, ServingStatus::Serving)
                .await;
        }
        self.routes.add_service(health);
        if self.is_reflecting {
            let reflection = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                .build_v1();
            self.routes
                .add_service(reflection.context("the descriptors of the contract")?);
        }
        let tls = self.keyring.tls.take();
        let guard = self.guard(shutdown.clone());
        let open = guard.shared.open.clone();
        match listener {
            Listener::Tcp(listener) => serve_tcp(guard, listener, tls, shutdown).await?,
            Listener::Memory(name) => {
                let registration = Registration::new(name, guard)?;
                shutdown.begun().await;
                drop(registration);
            }
        }
        open.close();
        open.wait().await;
        Ok(())
    }

    fn guard(self, shutdown: Shutdown) -> Guard {
        let shared = Shared {
            name: self.name,
            verifier: Verifier::new(self.keyring.trust, self.name, self.clock.clone()),
            ids: Ids::random(self.clock.clone()),
            clock: self.clock,
            limits: self.limits,
            calls: Arc::new(Semaphore::new(self.limits.calls)),
            streams: Arc::new(Semaphore::new(self.limits.streams)),
            instruments: self.instruments,
            shutdown,
            open: TaskTracker::new(),
        };
        Guard {
            shared: Arc::new(shared),
            routes: self.routes.routes().prepare(),
        }
    }
}

async fn serve_tcp(
    guard: Guard,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut builder = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    if let Some(tls) = tls {
        builder = builder
            .tls_config(tls.server())
            .context("the TLS certificates")?;
    }
    // The end of the connections is the signal; this one never comes, but with it the server waits for the calls in flight.
    builder
        .serve_with_incoming_shutdown(guard, arriving(listener, shutdown), future::pending())
        .await
        .context("serving gRPC")
}

/// The connections until `shutdown`, and then those that wait already: a port that closes resets them, and with them calls that were sent.
fn arriving(
    listener: TcpListener,
    shutdown: Shutdown,
) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold((listener, shutdown), |(listener, shutdown)| async move {
        let stopping = async {
            shutdown.begun().await;
            // The runtime looks at its sockets, so that it knows of those that wait.
            tokio::task::yield_now().await;
        };
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = stopping => return None,
        };
        let ready = accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream));
        Some((ready, (listener, shutdown)))
    })
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}
