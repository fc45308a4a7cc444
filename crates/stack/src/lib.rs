//! All services and workers in one process: the laptop profile and the harness of the end-to-end tests.
//!
//! Nothing here is logic of the product. Each service runs by the same `run(config, listener, process)` as in its own binary;
//! calls between services stay in the process (`mem:` endpoints), everything else is the real thing: PostgreSQL, Redis, RabbitMQ,
//! and an S3 server that keeps its objects in a folder.
#![warn(missing_docs)]

pub mod demo;
mod objects;
mod preparation;
mod settings;

use std::future::Future;
use std::net::TcpListener;

use anyhow::Context as _;
use runtime::{Process, Reader};

pub use objects::ObjectStore;
pub use preparation::{bootstrap, migrate, seed};
pub use settings::Settings;

/// Every service's configuration.
pub struct Configs {
    /// The public port.
    pub gateway: gateway::Config,
    /// Identities and sessions.
    pub auth: auth::Config,
    /// Tenants, catalogue, audit.
    pub tenant: tenant::Config,
    /// Kits, records, imports.
    pub niche: niche::Config,
    /// The index.
    pub search: search::Config,
}

impl Configs {
    /// Reads all of them; problems are kept in `reader`, so that the operator sees those of all services at once.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            gateway: gateway::Config::read(reader),
            auth: auth::Config::read(reader),
            tenant: tenant::Config::read(reader),
            niche: niche::Config::read(reader),
            search: search::Config::read(reader),
        }
    }
}

/// How many parts [`start`] starts; the process is ready when each of them is.
const PARTS: usize = 9;

/// Starts everything and returns at once; the parts end with `process.shutdown`. A part that fails ends the process with its reason.
///
/// The order does not matter: a part that needs another one waits for it or answers `Unavailable` meanwhile.
pub fn start(configs: Configs, settings: &Settings, public: TcpListener, process: &Process) {
    let Configs {
        gateway,
        auth,
        tenant,
        niche,
        search,
    } = configs;
    process.health.expect(PARTS);
    let endpoint = |service: &str| rpc::Listener::memory(&settings.memory_name(service));
    part(process, "auth", |p| {
        auth::run(auth.clone(), endpoint("auth"), p)
    });
    part(process, "auth-worker", |p| auth::run_worker(auth, p));
    part(process, "tenant", |p| {
        tenant::run(tenant.clone(), endpoint("tenant"), p)
    });
    part(process, "tenant-worker", |p| tenant::run_worker(tenant, p));
    part(process, "niche", |p| {
        niche::run(niche.clone(), endpoint("niche"), p)
    });
    part(process, "niche-worker", |p| niche::run_worker(niche, p));
    part(process, "search", |p| {
        search::run(search.clone(), endpoint("search"), p)
    });
    part(process, "search-worker", |p| search::run_worker(search, p));
    part(process, "gateway", |p| gateway::run(gateway, public, p));
}

fn part<F>(process: &Process, name: &'static str, run: impl FnOnce(Process) -> F)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let running = run(Process {
        name,
        ..process.clone()
    });
    let shutdown = process.shutdown.clone();
    process.tasks.spawn(name, async move {
        if let Err(error) = running.await {
            tracing::error!("{name} stopped: {error:#}");
            shutdown.begin();
        }
    });
}

/// `stack up`: prepares the database, starts the object store and everything else, and runs until told to stop.
///
/// A second run finds the database prepared and is ready in a moment.
pub async fn up(process: Process) -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    // The port is taken before anything else is touched, so that a second `stack up` changes nothing.
    let public = bind(&settings.http_listen)?;
    preparation::bootstrap(&settings).await?;
    let mut reader = settings.reader();
    let configs = Configs::read(&mut reader);
    reader.finish()?;
    preparation::migrate(&configs).await?;
    let store = ObjectStore::start(&settings.store, &process).await?;
    preparation::seed(&configs, &process).await?;
    tracing::info!(objects = %store.address, "object store listens");
    start(configs, &settings, public, &process);
    process.health.started();
    process.shutdown.begun().await;
    Ok(())
}

fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address} (GATEWAY_HTTP_LISTEN): another program has the port; stop it or choose another one with TENANTRY_HTTP_PORT")
    })
}
