//! A niche service with an object store and a broker, and what people do with imports.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use niche::Config;
use niche::imports::run::{Slice, Turn, work_on};
use proto::google::api::HttpBody;
use proto::niche::v1 as pb;
use proto::niche::v1::import_service_client::ImportServiceClient;
use runtime::Reader;
use testkit::{ObjectStore, TENANT_A};
use uuid::Uuid;

use crate::harness::{CATALOG, Person, Result, Service};

pub const IMPORTER: [&str; 8] = [
    "niches.activate",
    "niches.read",
    "records.create",
    "records.read",
    "records.update",
    "imports.create",
    "imports.read",
    "imports.cancel",
];

/// The service with the object store that its files go to.
pub struct Importing {
    pub service: Service,
    pub store: ObjectStore,
}

impl Importing {
    pub async fn start() -> Self {
        let store = ObjectStore::start().await;
        let url = store.url().to_owned();
        Self::with_endpoint(store, &url).await
    }

    /// Reaches the store at another address: through a proxy.
    pub async fn with_endpoint(store: ObjectStore, endpoint: &str) -> Self {
        let service = Service::start_with(|config| config.s3 = s3(endpoint)).await;
        Self { service, store }
    }

    pub async fn ann(&self) -> Person {
        self.service.ann().await.may(&IMPORTER)
    }

    /// Works on an import as one event does, until the slice is over.
    pub async fn slice(&self, import: &pb::Import, event: u128, slice: Slice) -> Result<()> {
        let ctx = testkit::context()
            .internal("niche")
            .tenant(TENANT_A)
            .build();
        work_on(&self.service.app, &ctx, turn(import, event), slice).await
    }

    /// Works on an import until its end.
    pub async fn finish(&self, ann: &Person, import: &pb::Import) -> pb::Import {
        self.slice(import, 0xe0_0000, Slice::default())
            .await
            .unwrap();
        let ended = ann.import(&import.id).await.unwrap();
        assert!(ended.finished_at.is_some(), "{ended:?}");
        ended
    }

    /// Uploads a file and works on it until its end.
    pub async fn import(&self, ann: &Person, csv: impl Into<Vec<u8>>) -> pb::Import {
        let import = ann.upload(csv).await.unwrap();
        self.finish(ann, &import).await
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.service.db.admin().await)
            .await
            .unwrap()
    }
}

pub fn turn(import: &pb::Import, event: u128) -> Turn {
    Turn {
        import_id: import.id.parse().unwrap(),
        event_id: Uuid::from_u128(event),
        is_last_attempt: false,
    }
}

pub fn s3(endpoint: &str) -> niche::objects::Config {
    let mut settings = vec![("TENANTRY_PROFILE", "dev".to_owned())];
    settings.extend(ObjectStore::settings(endpoint));
    Config::read(&mut Reader::from_map(settings)).s3
}

/// One batch, then hand on.
pub const ONE_BATCH: Slice = Slice {
    time: std::time::Duration::from_secs(60),
    batches: 1,
};

/// A catalogue of `rows` packages.
pub fn packages(rows: usize) -> String {
    let mut csv = String::from("Package,Version,Section,Maintainer,Summary\n");
    for n in 0..rows {
        csv.push_str(&format!(
            "package-{n},1.{n},web,Web Team <web@example.org>,\"The package, number {n}\"\n"
        ));
    }
    csv
}

pub fn counts(import: &pb::Import) -> (i64, i64, i64, i64, i64) {
    (
        import.processed_rows,
        import.created_rows,
        import.updated_rows,
        import.unchanged_rows,
        import.failed_rows,
    )
}

type Messages = Pin<Box<dyn Stream<Item = pb::CreateImportRequest> + Send>>;

/// The messages of an upload: the parameters with the first piece, then the others.
pub fn messages(
    head: pb::CreateImportRequest,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Messages {
    let mut head = Some(head);
    Box::pin(pieces.map(move |data| {
        let mut message = head.take().unwrap_or_default();
        message.file.get_or_insert_default().data = data;
        message
    }))
}

pub fn into_packages() -> pb::CreateImportRequest {
    pb::CreateImportRequest {
        niche: CATALOG.into(),
        entity: "packages".into(),
        file: Some(HttpBody {
            content_type: "text/csv".into(),
            ..HttpBody::default()
        }),
        ..Default::default()
    }
}

impl Person {
    pub fn imports(&self) -> ImportServiceClient<rpc::Channel> {
        ImportServiceClient::new(self.channel.clone())
    }

    pub async fn upload(&self, csv: impl Into<Vec<u8>>) -> Result<pb::Import> {
        self.upload_as(into_packages(), csv).await
    }

    pub async fn upload_as(
        &self,
        head: pb::CreateImportRequest,
        csv: impl Into<Vec<u8>>,
    ) -> Result<pb::Import> {
        let csv: Vec<u8> = csv.into();
        let mut pieces: Vec<Bytes> = csv.chunks(100_000).map(Bytes::copy_from_slice).collect();
        pieces.push(Bytes::new());
        self.send(messages(head, stream::iter(pieces))).await
    }

    pub async fn send(&self, messages: Messages) -> Result<pb::Import> {
        let answer = self.imports().create_import(self.request(messages)).await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn import(&self, id: &str) -> Result<pb::Import> {
        let answer = self
            .imports()
            .get_import(self.request(pb::GetImportRequest {
                import_id: id.into(),
            }))
            .await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn imports_list(
        &self,
        limit: i32,
        cursor: &str,
        status: &str,
    ) -> Result<pb::ListImportsResponse> {
        let message = pb::ListImportsRequest {
            limit,
            cursor: cursor.into(),
            status: status.into(),
        };
        self.imports()
            .list_imports(self.request(message))
            .await
            .map(tonic::Response::into_inner)
            .map_err(rpc::from_status)
    }

    pub async fn import_errors(
        &self,
        id: &str,
        limit: i32,
        cursor: &str,
    ) -> Result<pb::ListImportErrorsResponse> {
        let message = pb::ListImportErrorsRequest {
            import_id: id.into(),
            limit,
            cursor: cursor.into(),
        };
        self.imports()
            .list_import_errors(self.request(message))
            .await
            .map(tonic::Response::into_inner)
            .map_err(rpc::from_status)
    }

    /// All errors as `row column rule`.
    pub async fn error_lines(&self, id: &str) -> Vec<String> {
        let errors = self.import_errors(id, 100, "").await.unwrap();
        errors
            .data
            .iter()
            .map(|e| format!("{} {} {}", e.row, e.field, e.rule))
            .collect()
    }

    pub async fn cancel(&self, id: &str) -> Result<pb::Import> {
        let answer = self
            .imports()
            .cancel_import(self.request(pb::CancelImportRequest {
                import_id: id.into(),
            }))
            .await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    /// Watches an import to its end.
    pub async fn watch(&self, id: &str) -> Result<Vec<pb::Import>> {
        let request = self.request(pb::WatchImportRequest {
            import_id: id.into(),
        });
        let mut answers = self
            .imports()
            .watch_import(request)
            .await
            .map_err(rpc::from_status)?
            .into_inner();
        let mut states = Vec::new();
        while let Some(answer) = answers.message().await.map_err(rpc::from_status)? {
            states.push(answer.data.unwrap());
        }
        Ok(states)
    }
}
