//! Calls to the services: one generic client that passes encoded messages through.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::Stream;
use kernel::{Clock, Error, ErrorCode, Result};
use rpc::{Channel, Forward, Keyring, Peer};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status, Streaming};

use crate::routes::Method;

/// The largest answer. A page of a hundred records stays far below; files travel as streams.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where each service is, and who we are to it. Shared by all threads; [`Links::open`] makes a thread's own connections.
pub struct Links {
    targets: Vec<(&'static str, rpc::Endpoint, Peer)>,
}

impl Links {
    /// Reads the addresses. `Err` names the setting that is none.
    pub fn new(
        upstreams: &crate::config::Upstreams,
        keyring: &Keyring,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let targets = upstreams.all().into_iter().map(|(name, address)| {
            let endpoint = address.parse().map_err(|problem| {
                anyhow::anyhow!("{}_GRPC_URL is '{address}': {problem}", name.to_uppercase())
            })?;
            Ok((
                name,
                endpoint,
                Peer::new(keyring.clone(), name, clock.clone()),
            ))
        });
        Ok(Self {
            targets: targets.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Opens a connection to each service that belongs to this thread: answers are then woken on the thread that waits for them.
    pub fn open(&self) -> Upstreams {
        Upstreams(
            self.targets
                .iter()
                .map(|(name, endpoint, peer)| Upstream {
                    name,
                    channel: peer.connect(endpoint),
                    peer: peer.clone(),
                })
                .collect(),
        )
    }
}

/// The services as one thread reaches them.
pub struct Upstreams(Vec<Upstream>);

/// One service.
#[derive(Clone)]
pub struct Upstream {
    name: &'static str,
    pub channel: Channel,
    pub peer: Peer,
}

impl Upstreams {
    /// The service of a name. A contract with a service that has no address is caught when the gateway starts.
    pub fn get(&self, name: &str) -> Result<&Upstream> {
        let known = self.0.iter().find(|upstream| upstream.name == name);
        known.ok_or_else(|| Error::internal(format!("there is no address for the service {name}")))
    }
}

/// Fails when the contract has a method whose service has no address.
pub fn check(links: &Links, methods: &[Method]) -> anyhow::Result<()> {
    for method in methods {
        let owner = method.policy.owner;
        anyhow::ensure!(
            links.targets.iter().any(|(name, ..)| *name == owner),
            "the contract has the service {owner}, which has no address here"
        );
    }
    Ok(())
}

impl Upstream {
    fn client(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Calls a method that takes and answers one message.
    pub async fn unary(
        &self,
        method: &Method,
        forward: &Forward<'_>,
        message: Bytes,
    ) -> Result<Response<Bytes>> {
        let request = self.peer.forward(forward, message);
        let call = async {
            let mut client = self.ready().await?;
            client.unary(request, method.path.clone(), Raw).await
        };
        within(forward.timeout, call).await
    }

    /// Calls a method that answers with a stream. What fails before the first message fails here.
    pub async fn streaming(
        &self,
        method: &Method,
        forward: &Forward<'_>,
        message: Bytes,
        patience: Duration,
    ) -> Result<Streaming<Bytes>> {
        let request: Request<Bytes> = self.peer.forward(forward, message);
        let call = async {
            let mut client = self.ready().await?;
            client
                .server_streaming(request, method.path.clone(), Raw)
                .await
        };
        Ok(within(Some(patience), call).await?.into_inner())
    }

    /// Calls a method that takes a stream; the message `None` breaks the call off.
    pub async fn upload<S>(
        &self,
        method: &Method,
        forward: &Forward<'_>,
        messages: S,
    ) -> Result<Response<Bytes>>
    where
        S: Stream<Item = Option<Bytes>> + Send + 'static,
    {
        let request = self.peer.forward(forward, messages);
        let call = async {
            let mut client = self.ready().await?;
            client
                .client_streaming(request, method.path.clone(), Breakable)
                .await
        };
        within(forward.timeout, call).await
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut client = self.client();
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client)
    }
}

/// The service keeps the deadline too; this one holds when it does not answer at all.
async fn within<T>(
    timeout: Option<Duration>,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T> {
    let outcome = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, call)
            .await
            .map_err(|_| late())?,
        None => call.await,
    };
    outcome.map_err(rpc::from_peer)
}

fn late() -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        "service.deadline",
        "it took too long; try again",
    )
}

/// Passes messages through as they are encoded.
#[derive(Clone, Copy, Default)]
struct Raw;

/// Like [`Raw`] for requests that may break off: a stream that merely ended would look complete.
#[derive(Clone, Copy, Default)]
struct Breakable;

impl Codec for Breakable {
    type Encode = Option<Bytes>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Raw;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Breakable {
    type Item = Option<Bytes>;
    type Error = Status;

    fn encode(&mut self, item: Option<Bytes>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let item = item.ok_or_else(|| Status::cancelled("the body broke off"))?;
        out.put(item);
        Ok(())
    }
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}
