//! Tenants, the catalogue that entitles them, and the audit log.
//!
//! `grpc.rs` decodes and encodes, `tenants.rs`, `audit_logs.rs`, `catalog.rs` and `operations.rs` hold the rules, their `store.rs`
//! the SQL. `worker.rs` consumes the audit entries of all services.

pub mod audit_logs;
pub mod catalog;
mod config;
pub mod events_used;
pub mod grpc;
pub mod operations;
pub mod tenants;
mod worker;

use anyhow::Context as _;
use db::Db;
use db::cursor::Sealer;
use kernel::{Clock, Ids};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::tenant::v1::audit_service_server::AuditServiceServer;
use proto::tenant::v1::operations_service_server::OperationsServiceServer;
use proto::tenant::v1::tenant_service_server::TenantServiceServer;
use runtime::settings::Reader;
use runtime::{Process, Profile};
use secrecy::ExposeSecret as _;

pub use config::Config;

/// The forward-only migrations of schema `tenant`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What every use case needs. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub broker: events::Broker,
    pub auth: AccessServiceClient<rpc::Channel>,
    pub auth_peer: rpc::Peer,
    pub sealer: Sealer,
    pub clock: Clock,
    pub ids: Ids,
}

impl App {
    /// Connects lazily: what is down answers `Unavailable` until it is back.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let db = Db::connect(&config.db, process.ids.clone(), process.clock.clone())
            .await
            .context("tenant database")?;
        let auth_peer = rpc::Peer::new(config.keyring.clone(), "auth", process.clock.clone());
        Ok(Self {
            db,
            broker: events::Broker::connect(config.amqp.clone(), process.clock.clone())?,
            auth: AccessServiceClient::new(auth_peer.connect(&config.auth)),
            auth_peer,
            sealer: Sealer::new(&config.cursor_key, process.clock.clone()),
            clock: process.clock.clone(),
            ids: process.ids.clone(),
        })
    }
}

/// Serves gRPC and relays the outbox until shutdown.
pub async fn run(config: Config, listener: rpc::Listener, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let outbox = db::Outbox::connect(&config.db)?;
    let relay = events::relay(outbox, app.broker.clone(), process.shutdown.clone());
    process.tasks.spawn("tenant-relay", relay);
    process.health.started();
    server(app, &config, &process)
        .serve(listener, process.shutdown.clone())
        .await
}

/// Ready is only who reaches the database.
fn watch(db: &Db, process: &Process) {
    let db = db.clone();
    let name = format!("{} database", process.name);
    process.health.register(name, move || {
        let db = db.clone();
        async move { db.ping().await.map_err(|error| error.to_string()) }
    });
}

/// The gRPC server over an `App`, before it serves.
pub fn server(app: App, config: &Config, process: &Process) -> rpc::Server {
    let api = grpc::Api { app };
    rpc::Server::new("tenant", config.keyring.clone(), process.clock.clone())
        .metrics(&process.metrics)
        .reflection(process.profile == Profile::Dev)
        .service(TenantServiceServer::new(api.clone()))
        .service(AuditServiceServer::new(api.clone()))
        .service(OperationsServiceServer::new(api))
}

/// Consumes events until shutdown.
pub async fn run_worker(config: Config, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let (broker, shutdown) = (app.broker.clone(), process.shutdown.clone());
    process.tasks.spawn(
        "tenant-sweep",
        db::keep_swept(app.db.clone(), shutdown.clone()),
    );
    process.health.started();
    events::consume(
        broker,
        events_used::audit_queue(),
        shutdown,
        move |delivery| worker::audit_recorded(app.clone(), delivery),
    )
    .await;
    Ok(())
}

/// `tenant serve`.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let listener = rpc::Listener::bind(&config.listen).await?;
    run(config, listener, process).await
}

/// `tenant republish`: puts published events back into the outbox.
pub async fn republish(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let republished = events::republish(&config.db, &process).await;
    republished.map(drop).map_err(anyhow::Error::msg)
}

/// `tenant migrate`.
pub async fn migrate(_process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let owner = config
        .db
        .owner_url
        .as_ref()
        .context("TENANT_DB_OWNER_URL is needed to migrate")?;
    Ok(db::migrate(owner.expose_secret(), &MIGRATOR, "tenant").await?)
}

/// `tenant seed`: the catalogue.
pub async fn seed(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let app = App::connect(&config, &process).await?;
    let outcome = catalog::seed(&app).await?;
    tracing::info!(?outcome, "catalogue seeded");
    Ok(())
}

/// `tenant-worker serve`.
pub async fn serve_worker(process: Process) -> anyhow::Result<()> {
    run_worker(read_config()?, process).await
}

fn read_config() -> anyhow::Result<Config> {
    let mut reader = Reader::from_env();
    let config = Config::read(&mut reader);
    reader.finish()?;
    Ok(config)
}
