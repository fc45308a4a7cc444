//! A search service on a database of its own, a niche whose records a test sets, and people who search.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kernel::{Clock, Error, RequestContext, TenantId};
use proto::niche::v1 as niche;
use proto::niche::v1::record_service_server::{RecordService, RecordServiceServer};
use proto::search::v1 as pb;
use proto::search::v1::search_service_client::SearchServiceClient;
use runtime::settings::Profile;
use runtime::{Process, Reader};
use search::{App, Config, EmbedderConfig, documents, vectors};
use testkit::{ANN, TestDb};
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The service; its worker's handlers are called by the test.
pub struct Service {
    pub db: TestDb,
    pub app: App,
    pub clock: Clock,
    pub niche: Niche,
    channel: rpc::Channel,
    _servers: [testkit::Rpc; 2],
}

impl Service {
    pub async fn start() -> Self {
        Self::with_embedder(EmbedderConfig::Lexical).await
    }

    pub async fn with_embedder(embedder: EmbedderConfig) -> Self {
        let db = TestDb::new("search", &search::MIGRATOR).await;
        let clock = testkit::clock();
        let niche = Niche::default();
        let (listener, _) = testkit::rpc::listen().await;
        let endpoint = listener.endpoint().unwrap();
        let server = rpc::Server::new("niche", testkit::keyring("niche"), clock.clone())
            .service(RecordServiceServer::new(niche.clone()));
        let niche_server = testkit::Rpc::start_on(server, listener);
        let process = Process::new("search", Profile::Production, clock.clone());
        let config = Config {
            niche: endpoint,
            embedder,
            ..config(&db)
        };
        let app = App::connect(&config, &process).await.unwrap();
        let server = testkit::Rpc::start(search::server(app.clone(), &config, &process)).await;
        Self {
            db,
            app,
            clock,
            niche,
            channel: server.channel(),
            _servers: [niche_server, server],
        }
    }

    /// Indexes records as the worker does, embeddings included, and hands vectors over when it is time.
    pub async fn index(&self, tenant_id: TenantId, ids: &[Uuid]) {
        let ctx = worker_of(tenant_id);
        documents::index_records(&self.app, &ctx, ids)
            .await
            .unwrap();
        vectors::embed_documents(&self.app, &ctx, ids)
            .await
            .unwrap();
        vectors::hand_over_grown(&self.app).await.unwrap();
    }

    pub async fn search(
        &self,
        tenant_id: TenantId,
        request: pb::SearchRequest,
    ) -> Result<pb::SearchResponse> {
        let ctx = person_of(tenant_id);
        let answer = self
            .client()
            .search(testkit::rpc::request("search", &ctx, &self.clock, request))
            .await;
        answer.map(Response::into_inner).map_err(rpc::from_status)
    }

    /// The titles of what is found, best first.
    pub async fn titles(&self, tenant_id: TenantId, request: pb::SearchRequest) -> Vec<String> {
        self.search(tenant_id, request)
            .await
            .unwrap()
            .data
            .into_iter()
            .map(|hit| hit.title)
            .collect()
    }

    pub async fn status(&self, tenant_id: TenantId) -> pb::SearchStatus {
        let request = testkit::rpc::request(
            "search",
            &person_of(tenant_id),
            &self.clock,
            pb::GetSearchStatusRequest {},
        );
        self.client()
            .get_search_status(request)
            .await
            .unwrap()
            .into_inner()
            .data
            .unwrap()
    }

    fn client(&self) -> SearchServiceClient<rpc::Channel> {
        SearchServiceClient::new(self.channel.clone())
    }
}

pub fn worker_of(tenant_id: TenantId) -> RequestContext {
    RequestContext::system("search", tenant_id).build()
}

fn person_of(tenant_id: TenantId) -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(tenant_id)
        .permissions(["search.query"])
        .build()
}

pub fn query(text: &str) -> pb::SearchRequest {
    pb::SearchRequest {
        query: text.to_owned(),
        ..Default::default()
    }
}

pub fn only(facet: &str, values: &[&str]) -> pb::FacetFilter {
    pb::FacetFilter {
        facet: facet.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

fn config(db: &TestDb) -> Config {
    let mut reader = Reader::from_map([
        ("TENANTRY_PROFILE", "dev"),
        ("SEARCH_DB_URL", "postgres://search_app:x@localhost/x"),
        (
            "SEARCH_DB_RELAY_URL",
            "postgres://search_relay:x@localhost/x",
        ),
    ]);
    let read = Config::read(&mut reader);
    Config {
        db: db.config(),
        amqp: testkit::amqp(),
        keyring: testkit::keyring("search"),
        ..read
    }
}

/// A niche that knows the records that a test gives it, by tenant.
#[derive(Clone, Default)]
pub struct Niche(Arc<Mutex<BTreeMap<(TenantId, Uuid), niche::SearchDocument>>>);

impl Niche {
    /// Stores a record and answers its id.
    pub fn put(&self, tenant_id: TenantId, id: u128, [title, text, section]: [&str; 3]) -> Uuid {
        let id = Uuid::from_u128(id);
        let document = niche::SearchDocument {
            record_id: id.to_string(),
            niche: "software-catalog".to_owned(),
            entity: "packages".to_owned(),
            version: 1,
            title: title.to_owned(),
            text: text.to_owned(),
            facets: vec![niche::FacetValue {
                facet: "section".to_owned(),
                value: section.to_owned(),
            }],
        };
        self.0.lock().unwrap().insert((tenant_id, id), document);
        id
    }

    pub fn remove(&self, tenant_id: TenantId, id: Uuid) {
        self.0.lock().unwrap().remove(&(tenant_id, id));
    }
}

#[tonic::async_trait]
impl RecordService for Niche {
    async fn create_record(
        &self,
        _: Request<niche::CreateRecordRequest>,
    ) -> Result<Response<niche::CreateRecordResponse>, Status> {
        Err(Status::unimplemented("not asked by search"))
    }

    async fn list_records(
        &self,
        _: Request<niche::ListRecordsRequest>,
    ) -> Result<Response<niche::ListRecordsResponse>, Status> {
        Err(Status::unimplemented("not asked by search"))
    }

    async fn get_record(
        &self,
        _: Request<niche::GetRecordRequest>,
    ) -> Result<Response<niche::GetRecordResponse>, Status> {
        Err(Status::unimplemented("not asked by search"))
    }

    async fn update_record(
        &self,
        _: Request<niche::UpdateRecordRequest>,
    ) -> Result<Response<niche::UpdateRecordResponse>, Status> {
        Err(Status::unimplemented("not asked by search"))
    }

    async fn delete_record(
        &self,
        _: Request<niche::DeleteRecordRequest>,
    ) -> Result<Response<niche::DeleteRecordResponse>, Status> {
        Err(Status::unimplemented("not asked by search"))
    }

    async fn batch_get_search_documents(
        &self,
        request: Request<niche::BatchGetSearchDocumentsRequest>,
    ) -> Result<Response<niche::BatchGetSearchDocumentsResponse>, Status> {
        rpc::unary(
            request,
            |ctx, input: niche::BatchGetSearchDocumentsRequest| async move {
                let tenant_id = ctx.require_tenant()?;
                let records = self.0.lock().unwrap();
                let found = input
                    .record_ids
                    .iter()
                    .filter_map(|id| records.get(&(tenant_id, id.parse().unwrap())).cloned());
                Ok(niche::BatchGetSearchDocumentsResponse {
                    documents: found.collect(),
                })
            },
        )
        .await
    }
}
