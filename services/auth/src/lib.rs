//! Who somebody is, and what they may do where.
//!
//! `users.rs` are identities over all tenants, `memberships.rs`, `roles.rs` and `tenants.rs` their places in tenants. `sessions.rs` signs in
//! and out, `refresh.rs` rotates refresh tokens, `access_tokens.rs` and `keys.rs` make and read access tokens. `access.rs` turns a credential
//! into a context token and tells when cached ones are stale. `passwords.rs` and `secrets.rs` hash and derive, `attempts.rs` slows guessing
//! down, `mails.rs` writes to people. `grpc.rs` is the face, `worker.rs` what happens beside requests.

pub mod access;
pub mod access_tokens;
pub mod attempts;
mod config;
pub mod events_used;
pub mod grpc;
pub mod keys;
mod listener;
pub mod mails;
pub mod memberships;
pub mod passwords;
pub mod refresh;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod tenants;
pub mod users;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use db::Db;
use kernel::{Clock, Ids, RequestContext, TenantId};
use proto::auth::v1::access_service_server::AccessServiceServer;
use proto::auth::v1::session_service_server::SessionServiceServer;
use runtime::Process;
use runtime::settings::Reader;
use secrecy::ExposeSecret as _;

pub use config::Config;

use access_tokens::AccessTokens;
use keys::SigningKeys;
use listener::AccessNews;
use mails::Mailer;
use passwords::Passwords;
use secrets::Derivation;

/// The forward-only migrations of schema `auth`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// The contract's shortest password, which the seed must keep too (NIST SP 800-63B-4: 15 without a second factor).
const SEED_PASSWORD_CHARS_MIN: usize = 15;

/// What every use case needs. Cloning is cheap.
#[derive(Clone)]
pub struct App {
    /// The database.
    pub db: Db,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Mints and verifies access tokens.
    pub access_tokens: AccessTokens,
    /// Derives refresh tokens and links.
    pub derivation: Derivation,
    /// Signs context tokens.
    pub identity: rpc::Identity,
    /// Writes mails.
    pub mailer: Mailer,
    /// What the settings decide.
    pub rules: Arc<Rules>,
    /// The time.
    pub clock: Clock,
    /// New ids.
    pub ids: Ids,
}

/// What the settings decide about sessions and mails.
#[derive(Clone, Debug)]
pub struct Rules {
    /// See [`Config::public_url`].
    pub public_url: String,
    /// See [`Config::refresh_lifetime`].
    pub refresh_lifetime: TimeDelta,
    /// See [`Config::refresh_retry`].
    pub refresh_retry: TimeDelta,
    /// See [`Config::session_lifetime`].
    pub session_lifetime: TimeDelta,
    /// See [`Config::platform_login_without_mfa`].
    pub platform_login_without_mfa: bool,
}

impl App {
    /// Loads keys and connects lazily. Fails, naming the file and the remedy, when a signing key is missing.
    pub async fn connect(config: &Config, process: &Process) -> anyhow::Result<Self> {
        let db = Db::connect(&config.db, process.ids.clone(), process.clock.clone())
            .await
            .context("auth database")?;
        Ok(Self {
            db,
            passwords: Passwords::new(
                config.password_pepper.expose_secret().as_bytes(),
                config.hash_slots,
                process.clock.clone(),
                &process.metrics.meter("auth"),
            )?,
            access_tokens: AccessTokens {
                keys: SigningKeys::load(&config.signing_key_files)?,
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                lifetime: delta(config.access_lifetime),
            },
            derivation: Derivation::new(config.refresh_key.expose_secret().as_bytes()),
            identity: config.keyring.identity.clone(),
            mailer: Mailer::new(&config.mail_dir),
            rules: Arc::new(Rules {
                public_url: config.public_url.clone(),
                refresh_lifetime: delta(config.refresh_lifetime),
                refresh_retry: delta(config.refresh_retry),
                session_lifetime: delta(config.session_lifetime),
                platform_login_without_mfa: config.platform_login_without_mfa,
            }),
            clock: process.clock.clone(),
            ids: process.ids.clone(),
        })
    }

    /// The context of work that no request asked for.
    pub fn own_context(&self, doing: &str) -> RequestContext {
        RequestContext::system("auth", TenantId::PLATFORM)
            .request_id(format!("{doing}-{}", self.ids.next()))
            .build()
    }
}

/// The settings bound every duration to a year, so the fallback is never reached.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// Serves gRPC, relays the outbox and tells changes of access until shutdown.
pub async fn run(config: Config, listener: rpc::Listener, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let broker = events::Broker::connect(config.amqp.clone(), process.clock.clone())?;
    let outbox = db::Outbox::connect(&config.db)?;
    process.tasks.spawn(
        "auth-relay",
        events::relay(outbox, broker, process.shutdown.clone()),
    );
    let news = AccessNews::listen(&config.db, &process);
    let api = grpc::Api { app, news };
    process.health.started();
    rpc::Server::new("auth", config.keyring.clone(), process.clock.clone())
        .metrics(&process.metrics)
        .reflection(process.profile.is_dev())
        .service(SessionServiceServer::new(api.clone()))
        .service(AccessServiceServer::new(api))
        .serve(listener, process.shutdown.clone())
        .await
}

/// Consumes events, sends mails and sweeps until shutdown.
pub async fn run_worker(config: Config, process: Process) -> anyhow::Result<()> {
    let app = App::connect(&config, &process).await?;
    watch(&app.db, &process);
    let broker = events::Broker::connect(config.amqp.clone(), process.clock.clone())?;
    process.health.started();
    worker::run(app, broker, &process).await;
    Ok(())
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

/// `auth serve`.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    if config.db.migrate_on_startup {
        let owner = config
            .db
            .owner_url
            .as_ref()
            .context("MIGRATE_ON_STARTUP needs AUTH_DB_OWNER_URL")?;
        db::migrate_with_patience(owner.expose_secret(), &MIGRATOR, "auth", &process.shutdown)
            .await?;
    }
    let listener = rpc::Listener::bind(&config.listen).await?;
    run(config, listener, process).await
}

/// `auth republish`: puts published events back into the outbox.
pub async fn republish(process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let republished = events::republish(&config.db, &process).await;
    republished.map(drop).map_err(anyhow::Error::msg)
}

/// `auth migrate`.
pub async fn migrate(_process: Process) -> anyhow::Result<()> {
    let config = read_config()?;
    let owner = config
        .db
        .owner_url
        .as_ref()
        .context("AUTH_DB_OWNER_URL is needed to migrate")?;
    Ok(db::migrate(owner.expose_secret(), &MIGRATOR, "auth").await?)
}

/// `auth seed`: the first platform admin.
pub async fn seed(process: Process) -> anyhow::Result<()> {
    let created = seed_platform_admin(&read_config()?, &process).await?;
    tracing::info!(created, "platform admin seeded");
    Ok(())
}

/// Creates the platform admin that the settings name; answers whether it was missing. A second call changes nothing, not even the password.
pub async fn seed_platform_admin(config: &Config, process: &Process) -> anyhow::Result<bool> {
    let email = config
        .seed_admin_email
        .as_deref()
        .context("AUTH_SEED_ADMIN_EMAIL is needed to seed")?;
    let password = config
        .seed_admin_password
        .as_ref()
        .context("AUTH_SEED_ADMIN_PASSWORD is needed to seed")?
        .expose_secret();
    ensure!(
        password.chars().count() >= SEED_PASSWORD_CHARS_MIN,
        "AUTH_SEED_ADMIN_PASSWORD is shorter than {SEED_PASSWORD_CHARS_MIN} characters"
    );
    ensure!(
        email.contains('@'),
        "AUTH_SEED_ADMIN_EMAIL is no e-mail address"
    );
    let app = App::connect(config, process).await?;
    let ctx = app.own_context("seed");
    Ok(users::seed_platform_admin(&app, &ctx, email, password).await?)
}

/// `auth-worker serve`.
pub async fn serve_worker(process: Process) -> anyhow::Result<()> {
    run_worker(read_config()?, process).await
}

fn read_config() -> anyhow::Result<Config> {
    let mut reader = Reader::from_env();
    let config = Config::read(&mut reader);
    reader.finish()?;
    Ok(config)
}
