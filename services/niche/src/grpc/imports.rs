//! Imports over gRPC.

use kernel::PageRequest;
use proto::niche::v1 as pb;
use proto::niche::v1::import_service_server::ImportService;
use proto::tenantry::api::v1::PageMeta;
use tonic::{Request, Response, Status, Streaming};

use super::Api;
use crate::imports;

#[tonic::async_trait]
impl ImportService for Api {
    async fn create_import(
        &self,
        request: Request<Streaming<pb::CreateImportRequest>>,
    ) -> Result<Response<pb::CreateImportResponse>, Status> {
        let app = self.app.clone();
        rpc::client_stream(request, |ctx, inbound| async move {
            imports::create_import(&app, &ctx, inbound).await
        })
        .await
    }

    async fn list_imports(
        &self,
        request: Request<pb::ListImportsRequest>,
    ) -> Result<Response<pb::ListImportsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::ListImportsRequest| async move {
            let page = PageRequest::new(input.limit, input.cursor);
            let page = imports::list_imports(&app, &ctx, &input.status, &page).await?;
            let meta = Some(PageMeta {
                has_more: page.has_more(),
                next_cursor: page.next_cursor,
            });
            Ok(pb::ListImportsResponse {
                data: page
                    .rows
                    .iter()
                    .map(|i| imports::to_proto(i, ctx.locale()))
                    .collect(),
                meta,
            })
        })
        .await
    }

    async fn get_import(
        &self,
        request: Request<pb::GetImportRequest>,
    ) -> Result<Response<pb::GetImportResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::GetImportRequest| async move {
            let import = imports::get_import(&app, &ctx, &input.import_id).await?;
            Ok(pb::GetImportResponse {
                data: Some(imports::to_proto(&import, ctx.locale())),
            })
        })
        .await
    }

    async fn list_import_errors(
        &self,
        request: Request<pb::ListImportErrorsRequest>,
    ) -> Result<Response<pb::ListImportErrorsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::ListImportErrorsRequest| async move {
                let page = PageRequest::new(input.limit, input.cursor);
                let page = imports::list_import_errors(&app, &ctx, &input.import_id, &page).await?;
                let meta = Some(PageMeta {
                    has_more: page.has_more(),
                    next_cursor: page.next_cursor,
                });
                Ok(pb::ListImportErrorsResponse {
                    data: page.rows,
                    meta,
                })
            },
        )
        .await
    }

    type WatchImportStream = rpc::Outbound<pb::WatchImportResponse>;

    async fn watch_import(
        &self,
        request: Request<pb::WatchImportRequest>,
    ) -> Result<Response<Self::WatchImportStream>, Status> {
        let app = self.app.clone();
        rpc::server_stream(request, |ctx, input: pb::WatchImportRequest| async move {
            imports::watch_import(&app, &ctx, &input.import_id).await
        })
        .await
    }

    async fn cancel_import(
        &self,
        request: Request<pb::CancelImportRequest>,
    ) -> Result<Response<pb::CancelImportResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::CancelImportRequest| async move {
            let import = imports::cancel_import(&app, &ctx, &input.import_id).await?;
            Ok(pb::CancelImportResponse {
                data: Some(imports::to_proto(&import, ctx.locale())),
            })
        })
        .await
    }
}
