//! Records and imports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use kernel::{Error, ErrorCode, Violation};
use proto::niche::v1::import_service_server::ImportService;
use proto::niche::v1::record_service_server::RecordService;
use proto::niche::v1::*;
use rpc::{client_stream, server_stream, unary};
use serde_json::json;
use tonic::{Request, Status, Streaming};

use super::{Answer, BROKEN, Boxed, Own, RECORD, SHORT, SILENT, stamp};

fn record(data: Option<proto::Document>, version: i32) -> Record {
    let time = stamp(chrono::DateTime::from_timestamp(1_780_000_000, 0).unwrap());
    Record {
        id: RECORD.into(),
        niche: "catalog".into(),
        entity: "package".into(),
        data,
        version,
        created_at: Some(time),
        updated_at: Some(time),
    }
}

/// Fails or stalls as the record asks: `{"fail": "conflict"}`.
async fn misbehave(data: &Option<proto::Document>) -> kernel::Result<()> {
    let data = data.as_ref().map(proto::Document::to_value);
    let Some(wish) = data.as_ref().and_then(|data| data["fail"].as_str()) else {
        return Ok(());
    };
    match wish {
        "slow" => {
            // sleeps because a service that outlasts every deadline is what the test asks for
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(())
        }
        "panic" => panic!("as the test wished"),
        "internal" => Err(Error::internal("select secret from table")),
        "form" => Err(Error::invalid(vec![
            Violation::new("data.home_page", "string.min_len", "too short").with("min", 3),
            Violation::new("data.name", "form.unheard_of", "only in english"),
        ])),
        code => Err(Error::new(
            ErrorCode::parse(code).expect("a public code"),
            "niche.test_only",
            "as the test wished",
        )
        .with_detail("seconds", 3)),
    }
}

#[tonic::async_trait]
impl RecordService for Own {
    async fn create_record(
        &self,
        request: Request<CreateRecordRequest>,
    ) -> Answer<CreateRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            misbehave(&message.data).await?;
            if ctx.idempotency_key() == Some("again") {
                ctx.mark_replayed();
            }
            Ok(CreateRecordResponse {
                data: Some(record(message.data, 1)),
            })
        })
        .await
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Answer<ListRecordsResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            let told = format!(
                "{}|{}|{}|{:?}",
                message.facet.join("+"),
                message.sort,
                message.cursor,
                message.created_at_from.map(|t| (t.seconds, t.nanos))
            );
            let data = json!({"told": told, "filler": "x".repeat(40)});
            let data = proto::Document::from_value(&data).unwrap();
            let rows = vec![record(Some(data), 1); usize::try_from(message.limit).unwrap()];
            let meta = proto::tenantry::api::v1::PageMeta {
                next_cursor: None,
                has_more: false,
            };
            Ok(ListRecordsResponse {
                data: rows,
                meta: Some(meta),
            })
        })
        .await
    }

    async fn get_record(&self, request: Request<GetRecordRequest>) -> Answer<GetRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            if message.record_id != RECORD {
                return Err(Error::not_found(
                    "niche.record_not_found",
                    "there is no such record",
                ));
            }
            Ok(GetRecordResponse {
                data: Some(record(None, 7)),
            })
        })
        .await
    }

    async fn update_record(
        &self,
        request: Request<UpdateRecordRequest>,
    ) -> Answer<UpdateRecordResponse> {
        let fake = Arc::clone(&self.0);
        unary(request, |ctx, message| async move {
            fake.note(&ctx);
            let mut data = message.data.unwrap_or_default().to_value();
            data["mask"] = message
                .update_mask
                .unwrap_or_default()
                .paths
                .join(",")
                .into();
            let data = proto::Document::from_value(&data).unwrap();
            Ok(UpdateRecordResponse {
                data: Some(record(Some(data), message.version.unwrap_or(0) + 1)),
            })
        })
        .await
    }

    async fn delete_record(
        &self,
        request: Request<DeleteRecordRequest>,
    ) -> Answer<DeleteRecordResponse> {
        unary(request, |_, _| async { Ok(DeleteRecordResponse {}) }).await
    }

    async fn batch_get_search_documents(
        &self,
        _: Request<BatchGetSearchDocumentsRequest>,
    ) -> Answer<BatchGetSearchDocumentsResponse> {
        Err(Status::unimplemented("not in this test"))
    }
}

/// Counts a listener for as long as its stream lives.
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl ImportService for Own {
    async fn create_import(
        &self,
        request: Request<Streaming<CreateImportRequest>>,
    ) -> Answer<CreateImportResponse> {
        let fake = Arc::clone(&self.0);
        client_stream(request, |ctx, mut stream| async move {
            fake.note(&ctx);
            let mut first = true;
            loop {
                let message = match stream.next().await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => {
                        fake.upload.lock().unwrap().broken = true;
                        return Err(error);
                    }
                };
                let file = message.file.unwrap_or_default();
                {
                    let mut upload = fake.upload.lock().unwrap();
                    if std::mem::take(&mut first) {
                        upload.params = Some((
                            message.niche,
                            message.entity,
                            message.dry_run,
                            message.mapping,
                        ));
                        upload.content_type = file.content_type;
                    }
                    upload.bytes += file.data.len() as u64;
                    upload.sum += file.data.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                    upload.largest_part = upload.largest_part.max(file.data.len());
                }
                if fake.gated.load(Ordering::SeqCst) {
                    fake.gate.notified().await;
                }
            }
            let mut upload = fake.upload.lock().unwrap();
            upload.complete = true;
            Ok(CreateImportResponse {
                data: Some(Import {
                    id: SHORT.into(),
                    file_bytes: i64::try_from(upload.bytes).unwrap(),
                    ..Import::default()
                }),
            })
        })
        .await
    }

    async fn list_imports(&self, _: Request<ListImportsRequest>) -> Answer<ListImportsResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn get_import(&self, _: Request<GetImportRequest>) -> Answer<GetImportResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_import_errors(
        &self,
        _: Request<ListImportErrorsRequest>,
    ) -> Answer<ListImportErrorsResponse> {
        Err(Status::unimplemented("not in this test"))
    }

    type WatchImportStream = Boxed<WatchImportResponse>;

    async fn watch_import(
        &self,
        request: Request<WatchImportRequest>,
    ) -> Answer<Self::WatchImportStream> {
        let fake = Arc::clone(&self.0);
        server_stream(request, |_, message| async move {
            let state = |rows| {
                Ok(WatchImportResponse {
                    data: Some(Import {
                        id: SHORT.into(),
                        processed_rows: rows,
                        ..Import::default()
                    }),
                })
            };
            let failure = || {
                Err(Error::new(
                    ErrorCode::Conflict,
                    "niche.test_only",
                    "as the test wished",
                ))
            };
            let first: Vec<kernel::Result<WatchImportResponse>> = match message.import_id.as_str() {
                SHORT => vec![state(1), state(2), state(3)],
                BROKEN => vec![state(1), failure()],
                SILENT => vec![state(0)],
                _ => {
                    return Err(Error::not_found(
                        "niche.import_not_found",
                        "there is no such import",
                    ));
                }
            };
            let goes_on = message.import_id == SILENT;
            fake.listeners.fetch_add(1, Ordering::SeqCst);
            let guard = Counted(Arc::clone(&fake.listeners));
            let rest = futures::stream::once(async move {
                let _guard = guard;
                if goes_on {
                    std::future::pending::<()>().await;
                }
                None
            });
            Ok(futures::stream::iter(first)
                .map(Some)
                .chain(rest)
                .filter_map(std::future::ready))
        })
        .await
    }

    async fn cancel_import(
        &self,
        request: Request<CancelImportRequest>,
    ) -> Answer<CancelImportResponse> {
        unary(request, |_, message| async {
            Ok(CancelImportResponse {
                data: Some(Import {
                    id: message.import_id,
                    ..Import::default()
                }),
            })
        })
        .await
    }
}
