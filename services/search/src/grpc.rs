//! The gRPC face: decode, call, encode.

use proto::search::v1::search_service_server::SearchService;
use proto::search::v1::{
    GetSearchStatusRequest, GetSearchStatusResponse, SearchRequest, SearchResponse, SearchStatus,
};
use tonic::{Request, Response, Status};

use crate::{App, documents, query};

/// The service over one `App`.
#[derive(Clone)]
pub struct Api {
    pub app: App,
}

#[tonic::async_trait]
impl SearchService for Api {
    async fn search(
        &self,
        request: Request<SearchRequest>,
    ) -> Result<Response<SearchResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input| async move {
            query::search(&app, &ctx, &input).await
        })
        .await
    }

    async fn get_search_status(
        &self,
        request: Request<GetSearchStatusRequest>,
    ) -> Result<Response<GetSearchStatusResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, _| async move {
            let progress = documents::progress(&app, &ctx).await?;
            let data = SearchStatus {
                documents: progress.documents,
                pending_embeddings: progress.pending_embeddings,
                embedding_model: app.embedder.model().to_owned(),
            };
            Ok(GetSearchStatusResponse { data: Some(data) })
        })
        .await
    }
}
