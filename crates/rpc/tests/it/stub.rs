//! Services to call: one whose answer a test decides, and hollow ones that answer everything.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kernel::{Clock, Error, RequestContext, Result};
use proto::search::v1::search_service_client::SearchServiceClient;
use proto::search::v1::search_service_server::{SearchService, SearchServiceServer};
use proto::search::v1::{
    GetSearchStatusRequest, GetSearchStatusResponse, SearchRequest, SearchResponse,
};
use rpc::{Channel, Server};
use testkit::{ANN, Rpc, TENANT_A};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

pub type Client = SearchServiceClient<Channel>;

type Behaviour = dyn Fn(RequestContext, SearchRequest) -> BoxFuture<'static, Result<SearchResponse>>
    + Send
    + Sync;

/// A search service whose answer a test decides.
#[derive(Clone)]
pub struct Search(Arc<Behaviour>);

#[tonic::async_trait]
impl SearchService for Search {
    async fn search(
        &self,
        request: Request<SearchRequest>,
    ) -> Result<Response<SearchResponse>, Status> {
        rpc::unary(request, |ctx, message| (self.0)(ctx, message)).await
    }

    async fn get_search_status(
        &self,
        request: Request<GetSearchStatusRequest>,
    ) -> Result<Response<GetSearchStatusResponse>, Status> {
        rpc::unary(request, |_, _| async {
            Ok(GetSearchStatusResponse::default())
        })
        .await
    }
}

/// A [`Search`] that answers as `answer` says.
pub fn stub<F, Fut>(answer: F) -> Search
where
    F: Fn(RequestContext, SearchRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<SearchResponse>> + Send + 'static,
{
    Search(Arc::new(move |ctx, message| Box::pin(answer(ctx, message))))
}

/// A server of [`Search`] that answers as `answer` says.
pub fn searching<F, Fut>(clock: &Clock, answer: F) -> Server
where
    F: Fn(RequestContext, SearchRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<SearchResponse>> + Send + 'static,
{
    Server::new("search", testkit::keyring("search"), clock.clone())
        .service(SearchServiceServer::new(stub(answer)))
}

/// Serves [`searching`] on a port.
pub async fn serve<F, Fut>(clock: &Clock, answer: F) -> (Rpc, Client)
where
    F: Fn(RequestContext, SearchRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<SearchResponse>> + Send + 'static,
{
    let rpc = Rpc::start(searching(clock, answer)).await;
    let client = SearchServiceClient::new(rpc.channel());
    (rpc, client)
}

/// A query that breaks no rule.
pub fn query() -> SearchRequest {
    SearchRequest {
        query: "play video".to_owned(),
        ..SearchRequest::default()
    }
}

/// Ann in tenant A, who may search.
pub fn ann() -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(["search.query"])
        .build()
}

/// A call as Ann.
pub fn as_ann(clock: &Clock) -> Request<SearchRequest> {
    testkit::rpc::request("search", &ann(), clock, query())
}

/// Calls and reads the failure back.
pub async fn search(
    client: &mut Client,
    request: Request<SearchRequest>,
) -> Result<SearchResponse, Error> {
    client
        .search(request)
        .await
        .map(Response::into_inner)
        .map_err(rpc::from_status)
}

/// A service that answers every method with an empty message: for what happens before a handler.
#[derive(Clone)]
pub struct Hollow<const N: usize>;

impl NamedService for Hollow<0> {
    const NAME: &'static str = "auth.v1.AccessService";
}

impl NamedService for Hollow<1> {
    const NAME: &'static str = "auth.v1.SessionService";
}

impl NamedService for Hollow<2> {
    const NAME: &'static str = "tenant.v1.TenantService";
}

impl<const N: usize> Service<http::Request<Body>> for Hollow<N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(Grpc::new(ProstCodec::<(), ()>::default())
                .unary(Nothing, request)
                .await)
        })
    }
}

struct Nothing;

impl UnaryService<()> for Nothing {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// Serves the hollow services as `auth`.
pub async fn serve_hollow(clock: &Clock) -> Rpc {
    let server = Server::new("auth", testkit::keyring("auth"), clock.clone());
    Rpc::start(
        server
            .service(Hollow::<0>)
            .service(Hollow::<1>)
            .service(Hollow::<2>),
    )
    .await
}

/// Calls any method with an empty message.
pub async fn call(rpc: &Rpc, path: &str, request: Request<()>) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(rpc.channel());
    grpc.ready().await.unwrap();
    let path = path.parse().unwrap();
    let codec = ProstCodec::<(), ()>::default();
    grpc.unary(request, path, codec).await.map(|_| ())
}
