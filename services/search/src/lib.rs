//! Finds records by words and by likeness.
//!
//! `documents.rs` keeps the index in step with the records, driven by `worker.rs`; `vectors.rs` decides which vectors are walked; `query.rs` searches. Both ways into the
//! database are worth knowing: the index is written under row-level security like everything else, and searched through
//! `search.hybrid`, whose migration says why.

mod config;
pub mod documents;
pub mod embedder;
pub mod events_used;
pub mod grpc;
pub mod lexical;
pub mod passages;
pub mod query;
pub mod vectors;
mod worker;

use std::sync::Arc;

use anyhow::Context as _;
use db::Db;
use kernel::Clock;
use proto::niche::v1::record_service_client::RecordServiceClient;
use proto::search::v1::search_service_server::SearchServiceServer;
use runtime::settings::Reader;
use runtime::{Background, Process, Profile};
use secrecy::ExposeSecret as _;

pub use config::{Config, EmbedderConfig};
use embedder::{Embedder, HttpEmbedder};

/// The forward-only migrations of schema `search`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// What every use case needs. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub niche: RecordServiceClient<rpc::Channel>,
    pub niche_peer: rpc::Peer,
    pub embedder: Embedder,
    /// Turns for what the index is told.
    pub background: Background,
    pub walked: query::Walked,
    pub walk: vectors::Walk,
    pub grown: Arc<vectors::Grown>,
    pub clock: Clock,
}

impl App {
    /// Connects lazily: what is down answers `Unavailable` until it is back.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let db = Db::connect(&config.db, process.ids.clone(), process.clock.clone())
            .await
            .context("search database")?;
        let embedder = match &config.embedder {
            EmbedderConfig::Lexical => Embedder::Lexical,
            EmbedderConfig::Http {
                base_url,
                model,
                api_key,
                timeout,
            } => Embedder::Http(HttpEmbedder::new(
                base_url,
                model,
                api_key.clone(),
                *timeout,
            )?),
        };
        if matches!(embedder, Embedder::Lexical) {
            tracing::info!(
                model = embedder.model(),
                "searching with the built-in lexical embedder: it compares words, not meaning"
            );
        }
        let niche_peer = rpc::Peer::new(config.keyring.clone(), "niche", process.clock.clone());
        Ok(Self {
            db,
            niche: RecordServiceClient::new(niche_peer.connect(&config.niche))
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            niche_peer,
            embedder,
            background: process.background.clone(),
            walked: query::walked(),
            walk: vectors::Walk::default(),
            grown: Arc::default(),
            clock: process.clock.clone(),
        })
    }
}

/// 500 documents of 64 KiB each, which is the most that niche stores in a record.
const MESSAGE_BYTES_MAX: usize = 40 * 1024 * 1024;

/// Serves gRPC until shutdown.
pub async fn run(config: Config, listener: rpc::Listener, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
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
    rpc::Server::new("search", config.keyring.clone(), process.clock.clone())
        .metrics(&process.metrics)
        .reflection(process.profile == Profile::Dev)
        .service(SearchServiceServer::new(grpc::Api { app }))
}

/// Consumes events and relays the outbox until shutdown.
pub async fn run_worker(config: Config, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let broker = events::Broker::connect(config.amqp.clone(), process.clock.clone())?;
    process.tasks.spawn(
        "search-sweep",
        db::keep_swept(app.db.clone(), process.shutdown.clone()),
    );
    // Only the worker writes events, so the relay lives beside it.
    let outbox = db::Outbox::connect(&config.db)?;
    process.tasks.spawn(
        "search-relay",
        events::relay(outbox, broker.clone(), process.shutdown.clone()),
    );
    process.tasks.spawn(
        "search-hand-over",
        vectors::keep_handing_over(app.clone(), process.shutdown.clone()),
    );
    process.health.started();
    let (for_records, for_embeddings) = (app.clone(), app);
    let records = events::consume(
        broker.clone(),
        events_used::records_queue(),
        process.shutdown.clone(),
        move |delivery| worker::records_changed(for_records.clone(), delivery),
    );
    let embeddings = events::consume(
        broker,
        events_used::embeddings_queue(),
        process.shutdown.clone(),
        move |delivery| worker::documents_indexed(for_embeddings.clone(), delivery),
    );
    tokio::join!(records, embeddings);
    Ok(())
}

/// `search serve`.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let listener = rpc::Listener::bind(&config.listen).await?;
    run(config, listener, process).await
}

/// `search republish`: puts published events back into the outbox.
pub async fn republish(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let republished = events::republish(&config.db, &process).await;
    republished.map(drop).map_err(anyhow::Error::msg)
}

/// `search migrate`.
pub async fn migrate(_process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let owner = config
        .db
        .owner_url
        .as_ref()
        .context("SEARCH_DB_OWNER_URL is needed to migrate")?;
    Ok(db::migrate(owner.expose_secret(), &MIGRATOR, "search").await?)
}

/// `search-worker serve`.
pub async fn serve_worker(process: Process) -> anyhow::Result<()> {
    run_worker(read_config()?, process).await
}

fn read_config() -> anyhow::Result<Config> {
    let mut reader = Reader::from_env();
    let config = Config::read(&mut reader);
    reader.finish()?;
    Ok(config)
}
