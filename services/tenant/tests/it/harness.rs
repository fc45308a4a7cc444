//! A tenant service on a database of its own, an auth that remembers what it was told, and people who call.

use std::sync::{Arc, Mutex};

use kernel::{Clock, Error, RequestContext, TenantId};
use proto::auth::v1 as auth;
use proto::auth::v1::access_service_server::{AccessService, AccessServiceServer};
use proto::tenant::v1 as pb;
use proto::tenant::v1::audit_service_client::AuditServiceClient;
use proto::tenant::v1::tenant_service_client::TenantServiceClient;
use runtime::settings::Profile;
use runtime::{Process, Reader};
use tenant::{App, Config};
use testkit::{ANN, TestDb};
use tonic::{Request, Response, Status};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The service, without its relay: events stay in the outbox, where a test can look at them.
pub struct Service {
    pub db: TestDb,
    pub app: App,
    pub clock: Clock,
    pub auth: Auth,
    channel: rpc::Channel,
    auth_server: testkit::Rpc,
    _server: testkit::Rpc,
}

impl Service {
    pub async fn start() -> Self {
        let db = TestDb::new("tenant", &tenant::MIGRATOR).await;
        let clock = testkit::clock();
        let auth = Auth::default();
        let (listener, _) = testkit::rpc::listen().await;
        let endpoint = listener.endpoint().unwrap();
        let server = rpc::Server::new("auth", testkit::keyring("auth"), clock.clone())
            .service(AccessServiceServer::new(auth.clone()));
        let auth_server = testkit::Rpc::start_on(server, listener);
        let process = Process::new("tenant", Profile::Production, clock.clone());
        let config = Config {
            auth: endpoint,
            ..config(&db)
        };
        let app = App::connect(&config, &process).await.unwrap();
        tenant::catalog::seed(&app).await.unwrap();
        let server = testkit::Rpc::start(tenant::server(app.clone(), &config, &process)).await;
        Self {
            db,
            app,
            clock,
            auth,
            channel: server.channel(),
            auth_server,
            _server: server,
        }
    }

    /// Auth goes away.
    pub async fn without_auth(self) -> Self {
        let Self {
            db,
            app,
            clock,
            auth,
            channel,
            auth_server,
            _server,
        } = self;
        auth_server.stop().await;
        let nobody = testkit::Rpc::start(rpc::Server::new(
            "nobody",
            testkit::keyring("auth"),
            clock.clone(),
        ))
        .await;
        Self {
            db,
            app,
            clock,
            auth,
            channel,
            auth_server: nobody,
            _server,
        }
    }

    pub async fn create(
        &self,
        ctx: &RequestContext,
        request: pb::CreateTenantRequest,
    ) -> Result<pb::Tenant> {
        let request = testkit::rpc::request("tenant", ctx, &self.clock, request);
        let answer = self.tenants().create_tenant(request).await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn get(&self, ctx: &RequestContext, tenant_id: TenantId) -> Result<pb::Tenant> {
        let request = pb::GetTenantRequest {
            tenant_id: tenant_id.to_string(),
        };
        let answer = self
            .tenants()
            .get_tenant(testkit::rpc::request("tenant", ctx, &self.clock, request))
            .await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn list(
        &self,
        ctx: &RequestContext,
        request: pb::ListTenantsRequest,
    ) -> Result<pb::ListTenantsResponse> {
        let answer = self
            .tenants()
            .list_tenants(testkit::rpc::request("tenant", ctx, &self.clock, request))
            .await;
        answer.map(Response::into_inner).map_err(rpc::from_status)
    }

    pub async fn suspend(&self, ctx: &RequestContext, tenant_id: &str) -> Result<pb::Tenant> {
        let request = pb::SuspendTenantRequest {
            tenant_id: tenant_id.to_owned(),
            reason: "unpaid since May".to_owned(),
        };
        let answer = self
            .tenants()
            .suspend_tenant(testkit::rpc::request("tenant", ctx, &self.clock, request))
            .await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn reactivate(&self, ctx: &RequestContext, tenant_id: &str) -> Result<pb::Tenant> {
        let request = pb::ReactivateTenantRequest {
            tenant_id: tenant_id.to_owned(),
        };
        let answer = self
            .tenants()
            .reactivate_tenant(testkit::rpc::request("tenant", ctx, &self.clock, request))
            .await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn audit(
        &self,
        ctx: &RequestContext,
        request: pb::ListAuditLogsRequest,
    ) -> Result<pb::ListAuditLogsResponse> {
        let mut client = AuditServiceClient::new(self.channel.clone());
        let answer = client
            .list_audit_logs(testkit::rpc::request("tenant", ctx, &self.clock, request))
            .await;
        answer.map(Response::into_inner).map_err(rpc::from_status)
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

    fn tenants(&self) -> TenantServiceClient<rpc::Channel> {
        TenantServiceClient::new(self.channel.clone())
    }
}

fn config(db: &TestDb) -> Config {
    let mut reader = Reader::from_map([
        ("TENANTRY_PROFILE", "dev"),
        ("TENANT_DB_URL", "postgres://tenant_app:x@localhost/x"),
        (
            "TENANT_DB_RELAY_URL",
            "postgres://tenant_relay:x@localhost/x",
        ),
        ("CURSOR_KEY", "a cursor key for tests with 32 characters"),
    ]);
    let read = Config::read(&mut reader);
    Config {
        db: db.config(),
        amqp: testkit::amqp(),
        keyring: testkit::keyring("tenant"),
        ..read
    }
}

/// A request that has everything it needs.
pub fn request(slug: &str) -> pb::CreateTenantRequest {
    pb::CreateTenantRequest {
        slug: slug.to_owned(),
        name: "Pousada Azul".to_owned(),
        ..Default::default()
    }
}

/// Ann, signed in, without a tenant.
pub fn ann() -> RequestContext {
    testkit::context().user(ANN).build()
}

/// Ann within a tenant.
pub fn ann_of(tenant_id: TenantId) -> RequestContext {
    testkit::context()
        .user(ANN)
        .tenant(tenant_id)
        .permissions(["tenants.read", "audit.read"])
        .build()
}

/// Platform staff.
pub fn staff() -> RequestContext {
    testkit::context().platform(testkit::BOB).build()
}

/// An auth that remembers what it was told.
#[derive(Clone, Default)]
pub struct Auth {
    pub provisioned: Arc<Mutex<Vec<auth::ProvisionTenantRequest>>>,
    pub applied: Arc<Mutex<Vec<auth::TenantAccess>>>,
}

#[tonic::async_trait]
impl AccessService for Auth {
    type WatchAccessStream = rpc::Outbound<auth::WatchAccessResponse>;

    async fn resolve_context(
        &self,
        _: Request<auth::ResolveContextRequest>,
    ) -> Result<Response<auth::ResolveContextResponse>, Status> {
        Err(Status::unimplemented("not asked by tenant"))
    }

    async fn watch_access(
        &self,
        _: Request<auth::WatchAccessRequest>,
    ) -> Result<Response<Self::WatchAccessStream>, Status> {
        Err(Status::unimplemented("not asked by tenant"))
    }

    async fn provision_tenant(
        &self,
        request: Request<auth::ProvisionTenantRequest>,
    ) -> Result<Response<auth::ProvisionTenantResponse>, Status> {
        rpc::unary(request, |_, input| async move {
            self.provisioned.lock().unwrap().push(input);
            Ok(auth::ProvisionTenantResponse::default())
        })
        .await
    }

    async fn apply_tenant_access(
        &self,
        request: Request<auth::ApplyTenantAccessRequest>,
    ) -> Result<Response<auth::ApplyTenantAccessResponse>, Status> {
        rpc::unary(
            request,
            |_, input: auth::ApplyTenantAccessRequest| async move {
                self.applied.lock().unwrap().push(input.access.unwrap());
                Ok(auth::ApplyTenantAccessResponse {})
            },
        )
        .await
    }
}
