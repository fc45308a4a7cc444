//! A way to a service: over the network, or straight into it when it lives in the same process.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::ClientTlsConfig;
use tower::{Service, ServiceExt as _};

use crate::endpoint::{Endpoint, Place};
use crate::listener::{find, wait_for};
use crate::tls::Tls;
use crate::unsent::{ATTEMPTS, Kept, is_unsent};

/// A service that does not take the connection by then counts as down.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A peer that is silent for two of these is gone, even if its machine vanished without a word.
const KEEPALIVE: Duration = Duration::from_secs(5);
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
    Net(tonic::transport::Channel),
    Memory(Arc<str>),
}

/// Makes a way to a service without connecting yet. A service that is down fails calls with `Unavailable` within a second; later calls try again.
///
/// `mem:` endpoints call into the service directly: the same guard, no sockets, no framing.
///
/// # Panics
/// Outside a tokio runtime.
pub fn connect(endpoint: &Endpoint) -> Channel {
    open(endpoint, None)
}

/// Like [`connect`], with our certificate for `https://` endpoints.
pub(crate) fn open(endpoint: &Endpoint, tls: Option<&Tls>) -> Channel {
    match &endpoint.place {
        Place::Memory(name) => Channel(Way::Memory(name.as_str().into())),
        Place::Net(uri) => {
            let mut builder = tonic::transport::Endpoint::from(uri.clone())
                .connect_timeout(CONNECT_MAX)
                .tcp_nodelay(true)
                .tcp_keepalive(Some(KEEPALIVE * 6))
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
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
            Channel(Way::Net(builder.connect_lazy()))
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Way::Net(channel) => channel.poll_ready(cx).map_err(Into::into),
            Way::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &mut self.0 {
            // A body that goes on cannot be sent twice.
            Way::Net(channel) if is_streamed(&request) => {
                let answer = channel.call(request);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }
            Way::Net(channel) => {
                // The one that is ready is used; the clone is not.
                let spare = channel.clone();
                let ready = std::mem::replace(channel, spare);
                Box::pin(call(ready, request))
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

fn is_streamed(request: &Request<Body>) -> bool {
    proto::policy::of(request.uri().path()).is_none_or(|policy| policy.client_streaming)
}

/// Calls, and calls again what the connection gave back because its server ends.
async fn call(
    mut channel: tonic::transport::Channel,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let kept = Kept::of(request).await?;
    for _ in 1..ATTEMPTS {
        match channel.call(kept.request()).await {
            Err(error) if is_unsent(&error) => {
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
            Way::Net(_) => f.write_str("Channel(net)"),
            Way::Memory(name) => write!(f, "Channel(mem:{name})"),
        }
    }
}
