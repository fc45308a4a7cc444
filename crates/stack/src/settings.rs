//! What the one process needs beside the settings of its services, and what it decides for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;
use runtime::Reader;
use secrecy::SecretString;

/// The services that own a schema, in the order in which their schemas are prepared.
pub(crate) const SERVICES: [&str; 4] = ["auth", "tenant", "niche", "search"];

/// Two stacks in one process, as tests have them, must not answer each other's calls.
static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// The settings of the one process.
pub struct Settings {
    /// Where the public port listens.
    pub http_listen: String,
    /// The superuser's connection string, for the preparation of the database alone.
    pub admin_db_url: SecretString,
    /// The embedded object store.
    pub store: crate::objects::StoreSettings,
    overrides: BTreeMap<String, String>,
    instance: u32,
}

impl Settings {
    /// Reads the environment.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::read([])
    }

    /// Reads `overrides` first and the environment for what they lack.
    pub fn read(overrides: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let mut overrides: BTreeMap<String, String> = overrides.into_iter().collect();
        let mut reader = Reader::from_map_over_env(overrides.clone());
        let http_listen = reader.text(
            "GATEWAY_HTTP_LISTEN",
            "127.0.0.1:8080",
            "where the public port listens",
        );
        let admin_db_url = reader.secret(
            "TENANTRY_ADMIN_DB_URL",
            "connection string of a PostgreSQL superuser, to prepare the database",
        );
        let store = crate::objects::StoreSettings::read(&mut reader);
        reader.finish()?;
        for (name, value) in identities(instance)? {
            overrides.entry(name).or_insert(value);
        }
        Ok(Self {
            http_listen,
            admin_db_url,
            store,
            overrides,
            instance,
        })
    }

    /// Reads settings of services: what this process decides for them first, then the environment.
    pub fn reader(&self) -> Reader {
        Reader::from_map_over_env(self.overrides.clone())
    }

    /// The name under which a service answers within the process.
    pub(crate) fn memory_name(&self, service: &str) -> String {
        format!("{service}-{}", self.instance)
    }
}

/// Keys that live as long as the process, and endpoints within it.
fn identities(instance: u32) -> anyhow::Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    let mut trusted = Vec::new();
    for service in ["gateway"].into_iter().chain(SERVICES) {
        let mut seed = [0_u8; 32];
        ring::rand::SystemRandom::new()
            .fill(&mut seed)
            .ok()
            .context("the system gives no random bytes")?;
        let identity = rpc::Identity::from_seed(service, &seed).context("a seed has 32 bytes")?;
        trusted.push(format!("{service}={}", identity.public_key()));
        let upper = service.to_uppercase();
        settings.push((format!("{upper}_IDENTITY_KEY"), STANDARD.encode(seed)));
        settings.push((
            format!("{upper}_GRPC_URL"),
            format!("mem:{service}-{instance}"),
        ));
    }
    settings.push(("TRUSTED_SERVICE_KEYS".to_owned(), trusted.join(",")));
    Ok(settings)
}
