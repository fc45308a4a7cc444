//! A niche service on a database of its own, and people who call it.

use std::sync::Arc;

use kernel::{Clock, Error, Locale, RequestContext, TenantId, UserId};
use niche::{App, Config};
use proto::niche::v1 as pb;
use proto::niche::v1::kit_service_client::KitServiceClient;
use proto::niche::v1::niche_service_client::NicheServiceClient;
use proto::niche::v1::record_service_client::RecordServiceClient;
use runtime::settings::Profile;
use runtime::{Process, Reader};
use serde_json::Value;
use testkit::{ANN, TENANT_A, TENANT_B, TestDb};

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub const CATALOG: &str = "software-catalog";
pub const PERMISSIONS: [&str; 7] = [
    "niches.activate",
    "niches.read",
    "records.create",
    "records.read",
    "records.update",
    "records.delete",
    "imports.create",
];

/// The service, without its relay: events stay in the outbox, where a test can look at them.
pub struct Service {
    pub db: TestDb,
    pub app: App,
    pub clock: Clock,
    channel: rpc::Channel,
    _rpc: Arc<testkit::Rpc>,
}

impl Service {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let db = TestDb::new("niche", &niche::MIGRATOR).await;
        let clock = testkit::clock();
        let process = Process::new("niche", Profile::Production, clock.clone());
        let mut config = config(&db);
        change(&mut config);
        let app = App::connect(&config, &process).await.unwrap();
        niche::sync_kits(&app, &process).await.unwrap();
        let rpc = testkit::Rpc::start(niche::server(app.clone(), &config, &process)).await;
        Self {
            db,
            app,
            clock,
            channel: rpc.channel(),
            _rpc: Arc::new(rpc),
        }
    }

    /// A person of a tenant who may do everything.
    pub fn of(&self, tenant: TenantId) -> Person {
        Person {
            channel: self.channel.clone(),
            clock: self.clock.clone(),
            tenant,
            user: ANN,
            locale: Locale::En,
            key: None,
            permissions: &PERMISSIONS,
        }
    }

    /// Ann of tenant A, who has activated the catalogue of software.
    pub async fn ann(&self) -> Person {
        let ann = self.of(TENANT_A);
        ann.activate(CATALOG).await.unwrap();
        ann
    }

    /// Bob of tenant B, likewise.
    pub async fn bob(&self) -> Person {
        let bob = Person {
            user: testkit::BOB,
            ..self.of(TENANT_B)
        };
        bob.activate(CATALOG).await.unwrap();
        bob
    }

    /// The types of the events that wait in the outbox, in their order.
    pub async fn event_types(&self) -> Vec<String> {
        self.db
            .events()
            .await
            .into_iter()
            .map(|event| event.event_type)
            .collect()
    }

    /// Asks as the search service does.
    pub async fn documents(
        &self,
        tenant: TenantId,
        ids: &[&str],
    ) -> Result<Vec<pb::SearchDocument>> {
        let ctx = testkit::context().internal("search").tenant(tenant).build();
        let message = pb::BatchGetSearchDocumentsRequest {
            record_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let request = testkit::rpc::request("niche", &ctx, &self.clock, message);
        let answer = RecordServiceClient::new(self.channel.clone())
            .batch_get_search_documents(request)
            .await;
        answer
            .map(|a| a.into_inner().documents)
            .map_err(rpc::from_status)
    }
}

pub fn config(db: &TestDb) -> Config {
    // Settings that are not about the database come from the same reader as in production.
    let mut reader = Reader::from_map([
        ("TENANTRY_PROFILE", "dev"),
        ("NICHE_DB_URL", "postgres://niche_app:x@localhost/x"),
        ("NICHE_DB_RELAY_URL", "postgres://niche_relay:x@localhost/x"),
        ("CURSOR_KEY", "a cursor key for tests with 32 characters"),
    ]);
    let read = Config::read(&mut reader);
    Config {
        db: db.config(),
        keyring: testkit::keyring("niche"),
        ..read
    }
}

/// Somebody who calls the service through the gateway.
#[derive(Clone)]
pub struct Person {
    pub channel: rpc::Channel,
    clock: Clock,
    pub tenant: TenantId,
    pub user: UserId,
    pub locale: Locale,
    pub key: Option<String>,
    pub permissions: &'static [&'static str],
}

impl Person {
    pub fn speaking(&self, locale: Locale) -> Self {
        Self {
            locale,
            ..self.clone()
        }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    pub fn may(&self, permissions: &'static [&'static str]) -> Self {
        Self {
            permissions,
            ..self.clone()
        }
    }

    fn ctx(&self) -> RequestContext {
        let (locale, key) = (self.locale, self.key.clone());
        testkit::context()
            .user(self.user)
            .tenant(self.tenant)
            .permissions(self.permissions.iter().copied())
            .with(move |b| b.locale(locale).idempotency_key(key))
            .build()
    }

    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        testkit::rpc::request("niche", &self.ctx(), &self.clock, message)
    }

    fn records(&self) -> RecordServiceClient<rpc::Channel> {
        RecordServiceClient::new(self.channel.clone())
    }

    fn niches(&self) -> NicheServiceClient<rpc::Channel> {
        NicheServiceClient::new(self.channel.clone())
    }

    pub async fn kits(&self) -> Result<Vec<pb::KitSummary>> {
        let answer = KitServiceClient::new(self.channel.clone())
            .list_kits(self.request(pb::ListKitsRequest {}))
            .await;
        answer
            .map(|a| a.into_inner().data)
            .map_err(rpc::from_status)
    }

    pub async fn kit(&self, key: &str, version: &str) -> Result<pb::Kit> {
        let request = self.request(pb::GetKitRequest {
            kit_key: key.into(),
            version: version.into(),
        });
        let answer = KitServiceClient::new(self.channel.clone())
            .get_kit(request)
            .await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn activate(&self, kit: &str) -> Result<pb::Niche> {
        self.activate_version(kit, "").await
    }

    pub async fn activate_version(&self, kit: &str, version: &str) -> Result<pb::Niche> {
        let request = self.request(pb::ActivateNicheRequest {
            kit: kit.into(),
            version: version.into(),
        });
        self.niches()
            .activate_niche(request)
            .await
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn list_niches(&self, limit: i32, cursor: &str) -> Result<pb::ListNichesResponse> {
        let request = self.request(pb::ListNichesRequest {
            limit,
            cursor: cursor.into(),
        });
        self.niches()
            .list_niches(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(rpc::from_status)
    }

    pub async fn niche_config(&self, niche: &str) -> Result<pb::NicheConfig> {
        let request = self.request(pb::GetNicheConfigRequest {
            niche: niche.into(),
        });
        self.niches()
            .get_niche_config(request)
            .await
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    /// Creates a record of an entity such as `software-catalog/packages`.
    pub async fn create(&self, entity: &str, data: Value) -> Result<pb::Record> {
        let (niche, entity) = split(entity);
        let data = Some(proto::Document::from_value(&data).unwrap());
        let answer = self
            .records()
            .create_record(self.request(pb::CreateRecordRequest {
                niche,
                entity,
                data,
            }))
            .await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    /// Creates a package.
    pub async fn package(&self, data: Value) -> Result<pb::Record> {
        self.create(PACKAGES, data).await
    }

    pub async fn get(&self, entity: &str, id: &str) -> Result<pb::Record> {
        let (niche, entity) = split(entity);
        let answer = self
            .records()
            .get_record(self.request(pb::GetRecordRequest {
                niche,
                entity,
                record_id: id.into(),
            }))
            .await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn update(
        &self,
        entity: &str,
        id: &str,
        (version, data): (Option<i32>, Value),
    ) -> Result<pb::Record> {
        let (niche, entity) = split(entity);
        let data = Some(proto::Document::from_value(&data).unwrap());
        let message = pb::UpdateRecordRequest {
            niche,
            entity,
            record_id: id.into(),
            data,
            version,
            update_mask: None,
        };
        let answer = self.records().update_record(self.request(message)).await;
        answer
            .map(|a| a.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn delete(&self, entity: &str, id: &str) -> Result<()> {
        let (niche, entity) = split(entity);
        let answer = self
            .records()
            .delete_record(self.request(pb::DeleteRecordRequest {
                niche,
                entity,
                record_id: id.into(),
            }))
            .await;
        answer.map(drop).map_err(rpc::from_status)
    }

    pub async fn list(
        &self,
        change: impl FnOnce(&mut pb::ListRecordsRequest),
    ) -> Result<pb::ListRecordsResponse> {
        let (niche, entity) = split(PACKAGES);
        let mut message = pb::ListRecordsRequest {
            niche,
            entity,
            ..Default::default()
        };
        change(&mut message);
        self.records()
            .list_records(self.request(message))
            .await
            .map(tonic::Response::into_inner)
            .map_err(rpc::from_status)
    }

    /// The names of the packages that match some facets, in alphabetical order.
    pub async fn names(&self, facets: &[&str]) -> Result<Vec<String>> {
        let answer = self.list(|r| {
            r.facet = facets.iter().map(|f| (*f).to_owned()).collect();
            r.limit = 100;
        });
        let mut names: Vec<String> = answer.await?.data.iter().map(name).collect();
        names.sort();
        Ok(names)
    }
}

pub const PACKAGES: &str = "software-catalog/packages";
pub const PEOPLE: &str = "people/people";

fn split(entity: &str) -> (String, String) {
    let (niche, entity) = entity.split_once('/').unwrap();
    (niche.to_owned(), entity.to_owned())
}

pub fn data(record: &pb::Record) -> Value {
    record.data.as_ref().unwrap().to_value()
}

pub fn name(record: &pb::Record) -> String {
    data(record)["name"].as_str().unwrap().to_owned()
}

/// The broken rules of a refusal as `field rule`.
pub fn rules(error: &Error) -> Vec<String> {
    error
        .violations()
        .iter()
        .map(|v| format!("{} {}", v.field, v.rule))
        .collect()
}
