//! Services under test over real gRPC, called as the gateway or another service would.

use std::net::{Ipv4Addr, SocketAddr};

use kernel::{Clock, Principal, RequestContext};
use ring::digest::{SHA256, digest};
use rpc::token::{Actor, CONTEXT_AUDIENCE, CONTEXT_ISSUER, ContextClaims, LIFETIME, mint_context};
use rpc::{Channel, Forward, Identity, Keyring, Listener, Peer, Trust};
use runtime::{Shutdown, Tasks};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Every service of the platform; in tests each believes all others.
const SERVICES: [&str; 8] = [
    "auth",
    "billing",
    "files",
    "gateway",
    "niche",
    "notification",
    "search",
    "tenant",
];

/// The identity of a service, the same in every test: its seed is the hash of its name.
pub fn identity(service: &str) -> Identity {
    Identity::from_seed(service, digest(&SHA256, service.as_bytes()).as_ref())
        .expect("a SHA-256 hash has 32 bytes")
}

/// The keyring of a service in a platform where every service believes every other.
pub fn keyring(service: &str) -> Keyring {
    let trust = SERVICES.iter().fold(Trust::new(), |trust, name| {
        trust.with(name, identity(name).public_key())
    });
    Keyring::new(identity(service), trust)
}

/// The claims of a context token for the caller of `ctx`, to be signed or tampered with.
///
/// # Panics
/// When the caller is nobody or one of our services: neither has a context token.
pub fn context_claims(ctx: &RequestContext, clock: &Clock) -> ContextClaims {
    let (act, sub, sid) = match ctx.principal() {
        Principal::User {
            user_id,
            session_id,
        } => (Actor::User, user_id.0, *session_id),
        Principal::Platform {
            user_id,
            session_id,
        } => (Actor::Platform, user_id.0, *session_id),
        Principal::Service { id } => (Actor::Service, *id, None),
        other => panic!("{other:?} has no context token"),
    };
    let now = clock.now().timestamp();
    ContextClaims {
        iss: CONTEXT_ISSUER.to_owned(),
        aud: CONTEXT_AUDIENCE.to_owned(),
        tid: ctx.tenant_id(),
        act,
        sub,
        sid,
        perms: ctx.permissions().map(str::to_owned).collect(),
        iat: now,
        nbf: None,
        exp: now + LIFETIME.as_secs().cast_signed(),
        jti: Uuid::from_u128(0x7001),
    }
}

/// A context token for the caller of `ctx`, as `auth` signs it.
pub fn context_token(ctx: &RequestContext, clock: &Clock) -> String {
    mint_context(&identity(CONTEXT_ISSUER), &context_claims(ctx, clock))
}

/// A call of `service` by the caller of `ctx`: people and service accounts come through the gateway, our own services come themselves.
pub fn request<M>(
    service: &str,
    ctx: &RequestContext,
    clock: &Clock,
    message: M,
) -> tonic::Request<M> {
    if let Principal::Internal { service: from, .. } = ctx.principal() {
        return Peer::new(keyring(from), service, clock.clone()).stream_request(ctx, message);
    }
    let token = (*ctx.principal() != Principal::Anonymous).then(|| context_token(ctx, clock));
    let forward = Forward {
        context_token: token.as_deref(),
        request_id: ctx.request_id(),
        traceparent: ctx.traceparent(),
        idempotency_key: ctx.idempotency_key(),
        locale: ctx.locale(),
        client: Some(ctx.client()),
        timeout: None,
    };
    Peer::new(keyring("gateway"), service, clock.clone()).forward(&forward, message)
}

/// A free port of this machine and a way to whatever will serve there, for `service::run(config, listener, process)`.
pub async fn listen() -> (Listener, Channel) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::Tcp(
        TcpListener::bind(address)
            .await
            .expect("this machine has a free port"),
    );
    let endpoint = listener.endpoint().expect("the port is bound");
    (listener, rpc::connect(&endpoint))
}

/// A server on a free port.
#[derive(Debug)]
pub struct Rpc {
    channel: Channel,
    shutdown: Shutdown,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Rpc {
    /// Serves on a free port until [`Rpc::stop`].
    pub async fn start(server: rpc::Server) -> Self {
        let (listener, _) = listen().await;
        Self::start_on(server, listener)
    }

    /// Serves on a port that is already bound, for callers that must know the address first.
    pub fn start_on(server: rpc::Server, listener: Listener) -> Self {
        let channel = rpc::connect(&listener.endpoint().expect("the port is bound"));
        let shutdown = Shutdown::new();
        let serving = Tasks::new().spawn("rpc", server.serve(listener, shutdown.clone()));
        Self {
            channel,
            shutdown,
            serving,
        }
    }

    /// A way to it, for the generated clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Ends it as a process would, and waits for the calls in flight.
    pub async fn stop(self) {
        self.shutdown.begin();
        self.serving
            .await
            .expect("the server does not panic")
            .expect("the server ends well");
    }
}
