//! What a method of a service is wrapped in: context, rules, and failures as statuses.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use kernel::{Error, RequestContext, Result, Violation};
use proto::Validate;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

use crate::metadata;
use crate::record::{Call, note};
use crate::status::{from_status, to_status};

/// What a server-streaming method answers.
pub type Outbound<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// Runs one method: checks every declared rule, runs `work`, and tells a failure in full.
pub async fn unary<M, R, F, Fut>(request: Request<M>, work: F) -> Result<Response<R>, Status>
where
    M: Validate + prost::Name,
    F: FnOnce(RequestContext, M) -> Fut,
    Fut: Future<Output = Result<R>>,
{
    let (call, message) = open(request)?;
    let outcome = match check(&message) {
        Ok(()) => work(call.ctx.clone(), message).await,
        Err(error) => Err(error),
    };
    answer(&call, outcome)
}

/// Runs a method that answers with a stream. Ending early with an error tells the error.
///
/// The stream is ended by the server when the process stops: the caller sees `Unavailable` and connects again.
pub async fn server_stream<M, R, S, F, Fut>(
    request: Request<M>,
    work: F,
) -> Result<Response<Outbound<R>>, Status>
where
    M: Validate + prost::Name,
    R: Send + 'static,
    S: Stream<Item = Result<R>> + Send + 'static,
    F: FnOnce(RequestContext, M) -> Fut,
    Fut: Future<Output = Result<S>>,
{
    let (call, message) = open(request)?;
    let outcome = match check(&message) {
        Ok(()) => work(call.ctx.clone(), message).await,
        Err(error) => Err(error),
    };
    let own = call.clone();
    answer(
        &call,
        outcome.map(|stream| {
            Box::pin(stream.map(move |item| item.map_err(|error| own.fail(&error)))) as Outbound<R>
        }),
    )
}

/// Runs a method that takes a stream. There is no total deadline; `work` must bound what it takes.
pub async fn client_stream<M, R, F, Fut>(
    request: Request<Streaming<M>>,
    work: F,
) -> Result<Response<R>, Status>
where
    M: Validate + prost::Name,
    F: FnOnce(RequestContext, Inbound<M>) -> Fut,
    Fut: Future<Output = Result<R>>,
{
    let (call, stream) = open(request)?;
    let outcome = work(
        call.ctx.clone(),
        Inbound {
            stream,
            is_begun: false,
        },
    )
    .await;
    answer(&call, outcome)
}

/// The messages that a caller streams. The first carries the parameters and is checked by its declared rules; the rest carry bytes.
#[derive(Debug)]
pub struct Inbound<M> {
    stream: Streaming<M>,
    is_begun: bool,
}

impl<M: Validate + prost::Name> Inbound<M> {
    /// The next message; `None` when the caller has sent all. A caller that went away is `Unavailable`.
    pub async fn next(&mut self) -> Result<Option<M>> {
        let Some(message) = self.stream.message().await.map_err(from_status)? else {
            return Ok(None);
        };
        if !self.is_begun {
            self.is_begun = true;
            check(&message)?;
        }
        Ok(Some(message))
    }
}

fn open<T>(request: Request<T>) -> Result<(Call, T), Status> {
    let (_, extensions, message) = request.into_parts();
    match extensions.get::<Call>() {
        Some(call) => Ok((call.clone(), message)),
        None => {
            let error = Error::internal("the method is served without rpc::Server");
            note(&error);
            Err(to_status(&error))
        }
    }
}

fn check<M: Validate + prost::Name>(message: &M) -> Result<()> {
    let broken = proto::validate(message);
    if broken.is_empty() {
        return Ok(());
    }
    let read = |v: proto::Violation| Violation {
        field: v.field,
        rule: v.rule,
        message: v.message,
        params: v.params,
    };
    Err(Error::invalid(broken.into_iter().map(read).collect()))
}

fn answer<R>(call: &Call, outcome: Result<R>) -> Result<Response<R>, Status> {
    let mut response = Response::new(outcome.map_err(|error| call.fail(&error))?);
    if call.ctx.is_replayed() {
        response
            .metadata_mut()
            .insert(metadata::REPLAYED, MetadataValue::from_static("true"));
    }
    Ok(response)
}
