//! Methods with streams.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use kernel::{Clock, Error, ErrorCode, Result};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::access_service_server::{AccessService, AccessServiceServer};
use proto::auth::v1::{
    ApplyTenantAccessRequest, ApplyTenantAccessResponse, ProvisionTenantRequest,
    ProvisionTenantResponse, ResolveContextRequest, ResolveContextResponse, WatchAccessRequest,
    WatchAccessResponse,
};
use proto::google::api::HttpBody;
use proto::niche::v1::import_service_client::ImportServiceClient;
use proto::niche::v1::import_service_server::{ImportService, ImportServiceServer};
use proto::niche::v1::{
    CancelImportRequest, CancelImportResponse, CreateImportRequest, CreateImportResponse,
    GetImportRequest, GetImportResponse, Import, ListImportErrorsRequest, ListImportErrorsResponse,
    ListImportsRequest, ListImportsResponse, WatchImportRequest, WatchImportResponse,
};
use rpc::{Outbound, Peer, Server};
use testkit::{ANN, Rpc, TENANT_A};
use tonic::{Request, Response, Status, Streaming};

type Events = Arc<dyn Fn() -> BoxStream<'static, Result<WatchAccessResponse>> + Send + Sync>;

struct Access(Events);

#[tonic::async_trait]
impl AccessService for Access {
    type WatchAccessStream = Outbound<WatchAccessResponse>;

    async fn watch_access(
        &self,
        request: Request<WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        rpc::server_stream(request, |_, _| async { Ok((self.0)()) }).await
    }

    async fn resolve_context(
        &self,
        request: Request<ResolveContextRequest>,
    ) -> Result<Response<ResolveContextResponse>, Status> {
        rpc::unary(request, |_, _| async {
            Ok(ResolveContextResponse::default())
        })
        .await
    }

    async fn provision_tenant(
        &self,
        _: Request<ProvisionTenantRequest>,
    ) -> Result<Response<ProvisionTenantResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn apply_tenant_access(
        &self,
        _: Request<ApplyTenantAccessRequest>,
    ) -> Result<Response<ApplyTenantAccessResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn watching(events: Events) -> (Rpc, AccessServiceClient<rpc::Channel>, Peer) {
    let clock = testkit::clock();
    let server = Server::new("auth", testkit::keyring("auth"), clock.clone())
        .service(AccessServiceServer::new(Access(events)));
    let rpc = Rpc::start(server).await;
    let client = AccessServiceClient::new(rpc.channel());
    (
        rpc,
        client,
        Peer::new(testkit::keyring("gateway"), "auth", clock),
    )
}

fn watch(peer: &Peer) -> Request<WatchAccessRequest> {
    peer.stream_request(
        &testkit::context().internal("gateway").build(),
        WatchAccessRequest::default(),
    )
}

fn event(sequence: i64) -> Result<WatchAccessResponse> {
    Ok(WatchAccessResponse {
        sequence,
        change: None,
    })
}

#[tokio::test]
async fn a_stream_tells_its_items_and_then_its_failure() {
    let (rpc, mut client, peer) = watching(Arc::new(|| {
        let failure =
            Err(Error::precondition("demo.stale", "start anew").with_detail("sequence", 2));
        stream::iter([event(1), event(2), failure]).boxed()
    }))
    .await;
    let mut events = client
        .watch_access(watch(&peer))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().sequence, 1);
    assert_eq!(events.message().await.unwrap().unwrap().sequence, 2);
    let error = rpc::from_status(events.message().await.unwrap_err());
    assert_eq!(
        (error.error_code(), error.reason()),
        (ErrorCode::StateConflict, "demo.stale")
    );
    assert_eq!(error.details()["sequence"], "2");
    rpc.stop().await;
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_that_stream_and_not_its_connection() {
    let (rpc, mut client, peer) = watching(Arc::new(|| {
        stream::iter([1, 2])
            .then(|sequence| async move {
                // Items that are ready together leave together, so the first one gets a head start.
                tokio::task::yield_now().await;
                assert!(sequence == 1, "boom");
                event(sequence)
            })
            .boxed()
    }))
    .await;
    let mut other = client
        .watch_access(watch(&peer))
        .await
        .unwrap()
        .into_inner();
    let mut events = client
        .watch_access(watch(&peer))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().sequence, 1);
    let error = rpc::from_status(events.message().await.unwrap_err());
    assert_eq!(error.error_code(), ErrorCode::InternalError);
    assert_eq!(
        other.message().await.unwrap().unwrap().sequence,
        1,
        "the neighbour on the connection lives"
    );
    rpc.stop().await;
}

#[tokio::test]
async fn an_endless_stream_ends_with_unavailable_when_the_process_stops() {
    let (rpc, mut client, peer) = watching(Arc::new(|| {
        stream::iter([event(1)]).chain(stream::pending()).boxed()
    }))
    .await;
    let mut events = client
        .watch_access(watch(&peer))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().sequence, 1);
    let stopping = runtime::Tasks::new().spawn("stop", rpc.stop());
    let error = rpc::from_status(events.message().await.unwrap_err());
    assert_eq!(error.error_code(), ErrorCode::ServiceUnavailable);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stream_needs_its_token_like_any_call() {
    let (rpc, mut client, _) = watching(Arc::new(|| stream::empty().boxed())).await;
    let status = client
        .watch_access(Request::new(WatchAccessRequest::default()))
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    rpc.stop().await;
}

struct Imports;

#[tonic::async_trait]
impl ImportService for Imports {
    type WatchImportStream = Outbound<WatchImportResponse>;

    async fn create_import(
        &self,
        request: Request<Streaming<CreateImportRequest>>,
    ) -> Result<Response<CreateImportResponse>, Status> {
        rpc::client_stream(request, |ctx, mut inbound| async move {
            let mut bytes = 0;
            while let Some(message) = inbound.next().await? {
                bytes += message.file.map_or(0, |file| file.data.len());
            }
            let id = format!("{bytes} {}", ctx.idempotency_key().unwrap_or("none"));
            Ok(CreateImportResponse {
                data: Some(Import {
                    id,
                    ..Import::default()
                }),
            })
        })
        .await
    }

    async fn list_imports(
        &self,
        _: Request<ListImportsRequest>,
    ) -> Result<Response<ListImportsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_import(
        &self,
        _: Request<GetImportRequest>,
    ) -> Result<Response<GetImportResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_import_errors(
        &self,
        _: Request<ListImportErrorsRequest>,
    ) -> Result<Response<ListImportErrorsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_import(
        &self,
        _: Request<WatchImportRequest>,
    ) -> Result<Response<Self::WatchImportStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_import(
        &self,
        _: Request<CancelImportRequest>,
    ) -> Result<Response<CancelImportResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A server that counts the bytes of what is uploaded.
pub fn imports(clock: &Clock) -> Server {
    Server::new("niche", testkit::keyring("niche"), clock.clone())
        .service(ImportServiceServer::new(Imports))
}

async fn importing(clock: &Clock) -> (Rpc, ImportServiceClient<rpc::Channel>) {
    let rpc = Rpc::start(imports(clock)).await;
    let client = ImportServiceClient::new(rpc.channel());
    (rpc, client)
}

const PARTS: usize = 100;
const PART_BYTES: usize = 64 * 1024;
/// The size of the file of [`upload`].
pub const UPLOAD_BYTES: usize = PARTS * PART_BYTES;

/// An upload in many parts, by Ann.
pub fn upload(
    clock: &Clock,
    niche: &str,
    key: Option<&str>,
) -> Request<BoxStream<'static, CreateImportRequest>> {
    let first = CreateImportRequest {
        niche: niche.to_owned(),
        entity: "packages".to_owned(),
        ..CreateImportRequest::default()
    };
    let part = |_| CreateImportRequest {
        file: Some(HttpBody {
            data: vec![b'x'; PART_BYTES].into(),
            ..HttpBody::default()
        }),
        ..CreateImportRequest::default()
    };
    let key = key.map(str::to_owned);
    let ctx = testkit::context()
        .user(ANN)
        .tenant(TENANT_A)
        .permissions(["imports.create"])
        .with(move |b| b.idempotency_key(key))
        .build();
    testkit::rpc::request(
        "niche",
        &ctx,
        clock,
        stream::iter([first])
            .chain(stream::iter(0..PARTS).map(part))
            .boxed(),
    )
}

#[tokio::test]
async fn an_upload_is_taken_part_by_part_and_its_first_message_is_checked() {
    let clock = testkit::clock();
    let (rpc, mut client) = importing(&clock).await;
    let answer = client
        .create_import(upload(&clock, "software", None))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.data.unwrap().id, format!("{UPLOAD_BYTES} none"));
    let error = rpc::from_status(
        client
            .create_import(upload(&clock, "No such!", None))
            .await
            .unwrap_err(),
    );
    assert_eq!(
        (error.error_code(), error.violations()[0].field.as_str()),
        (ErrorCode::ValidationError, "niche")
    );
    rpc.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_reaches_a_method_that_takes_one_and_nonsense_is_refused() {
    let clock = testkit::clock();
    let (rpc, mut client) = importing(&clock).await;
    let answer = client
        .create_import(upload(&clock, "software", Some("key-1")))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.data.unwrap().id.ends_with(" key-1"));
    let long = "k".repeat(256);
    let error = rpc::from_status(
        client
            .create_import(upload(&clock, "software", Some(&long)))
            .await
            .unwrap_err(),
    );
    assert_eq!(error.violations()[0].rule, "idempotency_key.format");
    rpc.stop().await;
}
