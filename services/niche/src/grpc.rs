//! The gRPC face: decode, call, encode.

mod encode;
mod imports;

use chrono::{DateTime, Utc};
use kernel::{Error, PageRequest, Result, SortOrder, Violation};
use proto::niche::v1 as pb;
use proto::niche::v1::kit_service_server::KitService;
use proto::niche::v1::niche_service_server::NicheService;
use proto::niche::v1::record_service_server::RecordService;
use proto::tenantry::api::v1::PageMeta;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::App;
use crate::niches;
use crate::records::{self, Place, RecordFilter};
pub use encode::{text_to_proto, time_to_proto};

/// All services of this package over one `App`.
#[derive(Clone)]
pub struct Api {
    pub app: App,
}

#[tonic::async_trait]
impl KitService for Api {
    async fn list_kits(
        &self,
        request: Request<pb::ListKitsRequest>,
    ) -> Result<Response<pb::ListKitsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |_, _| async move {
            Ok(pb::ListKitsResponse {
                data: app
                    .kits
                    .newest()
                    .map(|kit| encode::kit_summary(kit))
                    .collect(),
            })
        })
        .await
    }

    async fn get_kit(
        &self,
        request: Request<pb::GetKitRequest>,
    ) -> Result<Response<pb::GetKitResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |_, input: pb::GetKitRequest| async move {
            let kit = app.kits.get(&input.kit_key, &input.version)?;
            Ok(pb::GetKitResponse {
                data: Some(encode::kit(&kit)?),
            })
        })
        .await
    }
}

#[tonic::async_trait]
impl NicheService for Api {
    async fn activate_niche(
        &self,
        request: Request<pb::ActivateNicheRequest>,
    ) -> Result<Response<pb::ActivateNicheResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input| async move {
            niches::activate_niche(&app, &ctx, &input).await
        })
        .await
    }

    async fn list_niches(
        &self,
        request: Request<pb::ListNichesRequest>,
    ) -> Result<Response<pb::ListNichesResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::ListNichesRequest| async move {
            let page =
                niches::list_niches(&app, &ctx, &PageRequest::new(input.limit, input.cursor))
                    .await?;
            let meta = Some(PageMeta {
                has_more: page.has_more(),
                next_cursor: page.next_cursor,
            });
            Ok(pb::ListNichesResponse {
                data: page
                    .rows
                    .iter()
                    .map(|niche| niches::to_proto(&app, niche))
                    .collect(),
                meta,
            })
        })
        .await
    }

    async fn get_niche_config(
        &self,
        request: Request<pb::GetNicheConfigRequest>,
    ) -> Result<Response<pb::GetNicheConfigResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::GetNicheConfigRequest| async move {
                let effective = niches::get_niche_config(&app, &ctx, &input.niche).await?;
                Ok(pb::GetNicheConfigResponse {
                    data: Some(encode::niche_config(&effective)?),
                })
            },
        )
        .await
    }
}

#[tonic::async_trait]
impl RecordService for Api {
    async fn create_record(
        &self,
        request: Request<pb::CreateRecordRequest>,
    ) -> Result<Response<pb::CreateRecordResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input| async move {
            records::create_record(&app, &ctx, &input).await
        })
        .await
    }

    async fn list_records(
        &self,
        request: Request<pb::ListRecordsRequest>,
    ) -> Result<Response<pb::ListRecordsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::ListRecordsRequest| async move {
            let page = PageRequest::new(input.limit, input.cursor);
            let filter = RecordFilter {
                niche: input.niche,
                entity: input.entity,
                facets: input.facet,
                order: SortOrder::parse(&input.sort),
                created_from: time(input.created_at_from, "created_at_from")?,
                created_to: time(input.created_at_to, "created_at_to")?,
            };
            let page = records::list_records(&app, &ctx, &filter, &page).await?;
            let meta = Some(PageMeta {
                has_more: page.has_more(),
                next_cursor: page.next_cursor,
            });
            Ok(pb::ListRecordsResponse {
                data: page.rows,
                meta,
            })
        })
        .await
    }

    async fn get_record(
        &self,
        request: Request<pb::GetRecordRequest>,
    ) -> Result<Response<pb::GetRecordResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::GetRecordRequest| async move {
            let place = Place {
                niche: &input.niche,
                entity: &input.entity,
                id: records::parse_id(&input.record_id)?,
            };
            let record = records::get_record(&app, &ctx, place).await?;
            Ok(pb::GetRecordResponse { data: Some(record) })
        })
        .await
    }

    async fn update_record(
        &self,
        request: Request<pb::UpdateRecordRequest>,
    ) -> Result<Response<pb::UpdateRecordResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input| async move {
            records::update_record(&app, &ctx, &input).await
        })
        .await
    }

    async fn delete_record(
        &self,
        request: Request<pb::DeleteRecordRequest>,
    ) -> Result<Response<pb::DeleteRecordResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(request, |ctx, input: pb::DeleteRecordRequest| async move {
            let place = Place {
                niche: &input.niche,
                entity: &input.entity,
                id: records::parse_id(&input.record_id)?,
            };
            records::delete_record(&app, &ctx, place).await?;
            Ok(pb::DeleteRecordResponse {})
        })
        .await
    }

    async fn batch_get_search_documents(
        &self,
        request: Request<pb::BatchGetSearchDocumentsRequest>,
    ) -> Result<Response<pb::BatchGetSearchDocumentsResponse>, Status> {
        let app = self.app.clone();
        rpc::unary(
            request,
            |ctx, input: pb::BatchGetSearchDocumentsRequest| async move {
                // The contract has checked that each is a UUID.
                let ids: Vec<Uuid> = input
                    .record_ids
                    .iter()
                    .filter_map(|id| Uuid::parse_str(id).ok())
                    .collect();
                records::batch_get_search_documents(&app, &ctx, &ids).await
            },
        )
        .await
    }
}

fn time(value: Option<prost_types::Timestamp>, field: &str) -> Result<Option<DateTime<Utc>>> {
    let Some(value) = value else { return Ok(None) };
    u32::try_from(value.nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(value.seconds, nanos))
        .map(Some)
        .ok_or_else(|| {
            Error::invalid(vec![Violation::new(
                field,
                "timestamp.range",
                "the time is out of range",
            )])
        })
}
