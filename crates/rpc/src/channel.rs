//! A way to a service: over the network, or straight into it when it lives in the same process.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use kernel::Clock;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::ClientTlsConfig;
use tower::{Service, ServiceExt as _};

use crate::circuit::Circuit;
use crate::endpoint::{Endpoint, Place};
use crate::listener::{find, wait_for};
use crate::tls::Tls;
use crate::unsent::{ATTEMPTS, Kept, is_unsent};

/// A service that does not take the connection by then counts as down.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A connection on which nothing has come for so long is asked whether it lives.
const PING_AFTER: Duration = Duration::from_secs(1);
/// A service answers pings however busy its methods are; without an answer by then it is silent, and its calls fail before their deadline.
const PONG_WITHIN: Duration = Duration::from_secs(2);
/// The same for whoever listens in between and does not know HTTP/2.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// Wide enough that a page of records never waits for a window update.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Answers carry every broken rule in their headers; requests carry permissions.
pub(crate) const HEADERS_BYTES_MAX: u32 = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A way to a service, for the generated clients. Cloning is cheap and shares the connection.
#[derive(Clone)]
pub struct Channel(Way);

#[derive(Clone)]
enum Way {
    Net(tonic::transport::Channel, Arc<Circuit>),
    Memory(Arc<str>),
}

/// Makes a way to a service without connecting yet. A service that is down fails calls with `Unavailable` within a second; later calls try again.
/// One that is silent fails the first calls after three seconds, most others at once until it speaks.
///
/// `mem:` endpoints call into the service directly: the same guard, no sockets, no framing.
///
/// # Panics
/// Outside a tokio runtime.
pub fn connect(endpoint: &Endpoint) -> Channel {
    open(endpoint, None, Clock::system())
}

/// Like [`connect`], with our certificate for `https://` endpoints.
pub(crate) fn open(endpoint: &Endpoint, tls: Option<&Tls>, clock: Clock) -> Channel {
    match &endpoint.place {
        Place::Memory(name) => Channel(Way::Memory(name.as_str().into())),
        Place::Net(uri) => {
            let mut builder = tonic::transport::Endpoint::from(uri.clone())
                .connect_timeout(CONNECT_MAX)
                .tcp_nodelay(true)
                .tcp_keepalive(Some(TCP_KEEPALIVE))
                .http2_keep_alive_interval(PING_AFTER)
                .keep_alive_timeout(PONG_WITHIN)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .http2_max_header_list_size(HEADERS_BYTES_MAX);
            if uri.scheme_str() == Some("https") {
                let config =
                    tls.map_or_else(|| ClientTlsConfig::new().with_enabled_roots(), Tls::client);
                match builder.clone().tls_config(config) {
                    Ok(secured) => builder = secured,
                    // Without TLS an https endpoint refuses to connect, so nothing travels in the clear.
                    Err(error) => tracing::error!(%error, %endpoint, "no usable certificates"),
                }
            }
            let circuit = Circuit::new(endpoint, clock);
            Channel(Way::Net(builder.connect_lazy(), Arc::new(circuit)))
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Way::Net(channel, _) => channel.poll_ready(cx).map_err(Into::into),
            Way::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            Way::Net(channel, circuit) => {
                if let Err(refused) = circuit.admit() {
                    return Box::pin(async move { Err(refused.into()) });
                }
                // The one that is ready is used; the clone is not.
                let spare = channel.clone();
                let ready = std::mem::replace(channel, spare);
                let circuit = Arc::clone(circuit);
                Box::pin(async move {
                    let answer = call(ready, request).await;
                    circuit.learn(&answer);
                    answer
                })
            }
            Way::Memory(name) => match find(name) {
                Some(mut guard) => {
                    let answer = guard.call(request);
                    Box::pin(async move { answer.await.map_err(|never| match never {}) })
                }
                None => Box::pin(late(Arc::clone(name), request)),
            },
        }
    }
}

/// Calls, and calls again what the connection gave back because its server ends.
async fn call(
    mut channel: tonic::transport::Channel,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let kept = Kept::of(request).await?;
    for _ in 1..ATTEMPTS {
        match channel.call(kept.request()).await {
            Err(error) if is_unsent(&error) && kept.is_whole() => {
                tracing::debug!(%error, "a call did not leave and goes to another connection");
                channel.ready().await?;
            }
            answer => return answer.map_err(Into::into),
        }
    }
    channel.call(kept.request()).await.map_err(Into::into)
}

async fn late(name: Arc<str>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let Some(mut guard) = wait_for(&name).await else {
        return Err(Box::new(Status::unavailable(format!(
            "mem:{name} is not served in this process"
        ))));
    };
    guard.call(request).await.map_err(|never| match never {})
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Net(..) => f.write_str("Channel(net)"),
            Way::Memory(name) => write!(f, "Channel(mem:{name})"),
        }
    }
}
