//! Kits, their activation per tenant, and the records that they shape.
//!
//! A kit is data (`kits/<key>/<version>/`); [`kits`] reads and lints it, [`forms`] compiles its forms, [`mappings`] turns rows of files into
//! records. [`niches`] activates kits and merges them with the tenant's overlay, [`records`] holds the tenant's data. `grpc.rs` decodes and
//! encodes; each noun's `store.rs` has its SQL. [`imports`] brings files into records: `upload.rs` takes them, `worker.rs` works on them.

mod actions;
mod config;
pub mod events_used;
pub mod forms;
pub mod grpc;
pub mod imports;
pub mod kitctl;
pub mod kits;
pub mod mappings;
pub mod merge;
pub mod niches;
pub mod objects;
pub mod records;
pub mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use db::Db;
use db::cursor::Sealer;
use kernel::{Clock, Code, Ids, RequestContext, TenantId};
use proto::niche::v1::import_service_server::ImportServiceServer;
use proto::niche::v1::kit_service_server::KitServiceServer;
use proto::niche::v1::niche_service_server::NicheServiceServer;
use proto::niche::v1::record_service_server::RecordServiceServer;
use runtime::settings::Reader;
use runtime::{Background, Process, Shutdown};
use secrecy::ExposeSecret as _;

pub use config::Config;

/// The forward-only migrations of schema `niche`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// How long to wait before noting the shipped kits in a database that could not be reached.
const SYNC_PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

/// What every use case needs. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub kits: kits::Kits,
    /// Effective configurations with their compiled forms.
    pub effective: niches::Effectives,
    pub sealer: Sealer,
    /// Files on their way in.
    pub objects: objects::Objects,
    /// Turns for batches of imports.
    pub background: Background,
    /// Seats for uploads.
    pub uploads: Arc<tokio::sync::Semaphore>,
    pub clock: Clock,
    pub ids: Ids,
}

impl App {
    /// Reads the kits and connects lazily: a database that is down answers `Unavailable` until it is back, a broken kit stops the start.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let kits = kits::Kits::embedded()
            .map_err(|problems| anyhow::anyhow!(kits::lint::render(&problems)))?;
        let db = Db::connect(&config.db, process.ids.clone(), process.clock.clone())
            .await
            .context("niche database")?;
        Ok(Self {
            db,
            kits,
            effective: niches::Effectives::default(),
            sealer: Sealer::new(&config.cursor_key, process.clock.clone()),
            objects: objects::Objects::connect(&config.s3, process.tasks.clone())?,
            background: process.background.clone(),
            uploads: Arc::new(tokio::sync::Semaphore::new(imports::UPLOADS_AT_ONCE)),
            clock: process.clock.clone(),
            ids: process.ids.clone(),
        })
    }
}

/// Serves gRPC and relays the outbox until shutdown.
pub async fn run(config: Config, listener: rpc::Listener, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    sync_kits(&app, &process).await?;
    let broker = events::Broker::connect(config.amqp.clone(), process.clock.clone())?;
    let outbox = db::Outbox::connect(&config.db)?;
    process.tasks.spawn(
        "niche-relay",
        events::relay(outbox, broker, process.shutdown.clone()),
    );
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
    rpc::Server::new("niche", config.keyring.clone(), process.clock.clone())
        .metrics(&process.metrics)
        .reflection(process.profile.is_dev())
        .service(KitServiceServer::new(api.clone()))
        .service(NicheServiceServer::new(api.clone()))
        .service(RecordServiceServer::new(api.clone()))
        .service(ImportServiceServer::new(api))
}

/// Works on imports, and sweeps files that nobody needs, until shutdown.
pub async fn run_worker(config: Config, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let broker = events::Broker::connect(config.amqp.clone(), process.clock.clone())?;
    let (sweeper, shutdown) = (app.clone(), process.shutdown.clone());
    process.tasks.spawn(
        "niche-sweep",
        db::keep_swept(app.db.clone(), shutdown.clone()),
    );
    process.tasks.spawn("niche-import-sweep", async move {
        worker::keep_sweeping(sweeper, shutdown).await;
    });
    process.health.started();
    events::consume(
        broker,
        events_used::imports_queue(),
        process.shutdown.clone(),
        move |delivery| worker::import_queued(app.clone(), delivery),
    )
    .await;
    Ok(())
}

/// Notes the shipped kits in the database. A kit that changed under its version stops the start; a database that is down does not: then it is
/// tried again in the background, and until it has happened no kit can be activated.
pub async fn sync_kits(app: &App, process: &Process) -> anyhow::Result<()> {
    let may_replace = process.profile.is_dev();
    let ctx = RequestContext::system("niche", TenantId::PLATFORM).build();
    match kits::store::sync(app, &ctx, may_replace).await {
        Err(error) if matches!(error.code(), Code::Unavailable | Code::Timeout) => {
            tracing::warn!(
                error = error.chain(),
                "the shipped kits could not be noted in the database yet; trying again"
            );
            let (app, shutdown) = (app.clone(), process.shutdown.clone());
            process.tasks.spawn(
                "niche-kit-sync",
                keep_syncing(app, ctx, may_replace, shutdown),
            );
            Ok(())
        }
        done => Ok(done?),
    }
}

async fn keep_syncing(app: App, ctx: RequestContext, may_replace: bool, shutdown: Shutdown) {
    while !shutdown.is_begun() {
        shutdown.or(tokio::time::sleep(SYNC_PAUSE)).await;
        match kits::store::sync(&app, &ctx, may_replace).await {
            Ok(()) => return,
            Err(error) if matches!(error.code(), Code::Unavailable | Code::Timeout) => {}
            Err(error) => {
                tracing::error!(
                    error = error.chain(),
                    "the shipped kits contradict the database; stopping"
                );
                return shutdown.begin();
            }
        }
    }
}

/// `niche serve`.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    if config.db.migrate_on_startup {
        let owner = owner_url(&config)?;
        db::migrate_with_patience(owner, &MIGRATOR, "niche", &process.shutdown).await?;
    }
    let listener = rpc::Listener::bind(&config.listen).await?;
    run(config, listener, process).await
}

/// `niche-worker serve`.
pub async fn serve_worker(process: Process) -> anyhow::Result<()> {
    run_worker(read_config()?, process).await
}

/// `niche republish`: puts published events back into the outbox.
pub async fn republish(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let republished = events::republish(&config.db, &process).await;
    republished.map(drop).map_err(anyhow::Error::msg)
}

/// `niche migrate`.
pub async fn migrate(_process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    Ok(db::migrate(owner_url(&config)?, &MIGRATOR, "niche").await?)
}

fn owner_url(config: &Config) -> anyhow::Result<&str> {
    let owner = config.db.owner_url.as_ref();
    Ok(owner
        .context("NICHE_DB_OWNER_URL is needed to migrate")?
        .expose_secret())
}

fn read_config() -> anyhow::Result<Config> {
    let mut reader = Reader::from_env();
    let config = Config::read(&mut reader);
    reader.finish()?;
    Ok(config)
}
