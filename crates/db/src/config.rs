//! How a service reaches its part of the database.

use std::time::Duration;

use runtime::settings::Reader;
use secrecy::SecretString;

/// Connection settings of one service. The roles and the schema are named after the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connection string of `<service>_app`, the role that serves requests.
    pub url: SecretString,
    /// Connection string of `<service>_relay`, which empties the outbox.
    pub relay_url: SecretString,
    /// Connection string of `<service>_owner`; only `migrate` needs it.
    pub owner_url: Option<SecretString>,
    /// The schema, which is also the name of the service and the source of its events.
    pub schema: String,
    /// Connections at most. PostgreSQL spends about 10 MiB on each, and two cores keep about ten busy.
    pub pool_max: u32,
    /// How long a request waits for a free connection before it is told to come back later.
    pub acquire_timeout: Duration,
    /// A read or transaction that takes longer is counted and logged, without its SQL and its parameters.
    pub slow_after: Duration,
    /// Whether the process migrates before it serves: for laptops and Compose, never for a cluster.
    pub migrate_on_startup: bool,
}

/// Connections of one process at most, unless the setting says otherwise.
const POOL_MAX_DEFAULT: u32 = 10;
/// Waiting longer than this for a connection only makes a queue longer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// A twentieth of the statement timeout; the usual read takes a millisecond.
const SLOW_AFTER: Duration = Duration::from_millis(250);

impl Config {
    /// Reads the settings of a service; `service` is its name in any case, for example `AUTH`.
    pub fn read(reader: &mut Reader, service: &str) -> Self {
        let prefix = service.to_ascii_uppercase();
        let schema = service.to_ascii_lowercase();
        let url = |role: &str| {
            format!(
                "connection string of the role {schema}_{role}, postgres://{schema}_{role}:password@host:5432/database"
            )
        };
        Self {
            url: reader.secret(&format!("{prefix}_DB_URL"), &url("app")),
            relay_url: reader.secret(&format!("{prefix}_DB_RELAY_URL"), &url("relay")),
            owner_url: reader.optional_secret(&format!("{prefix}_DB_OWNER_URL"), &format!("{}; only migrations need it", url("owner"))),
            pool_max: reader.number(
                &format!("{prefix}_DB_POOL_MAX"),
                POOL_MAX_DEFAULT,
                1..=500,
                "connections at most; the sum over all processes stays below max_connections of the server",
            ),
            acquire_timeout: reader.duration_ms(
                &format!("{prefix}_DB_ACQUIRE_TIMEOUT_MS"),
                ACQUIRE_TIMEOUT,
                Duration::from_millis(10)..=Duration::from_secs(30),
                "how long a request waits for a free connection before it is told to come back later",
            ),
            slow_after: reader.duration_ms(
                &format!("{prefix}_DB_SLOW_MS"),
                SLOW_AFTER,
                Duration::from_millis(1)..=Duration::from_secs(60),
                "reads and transactions that take longer are counted and logged, without SQL and parameters",
            ),
            migrate_on_startup: reader.flag("MIGRATE_ON_STARTUP", false, "migrate before serving; for laptops and Compose, a cluster runs `migrate` as a job"),
            schema,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn the_settings_are_named_after_the_service() {
        let mut reader = Reader::from_map([
            ("AUTH_DB_URL", "postgres://auth_app:x7@db/tenantry"),
            ("AUTH_DB_RELAY_URL", "postgres://auth_relay:x7@db/tenantry"),
            ("AUTH_DB_POOL_MAX", "4"),
            ("AUTH_DB_SLOW_MS", "40"),
        ]);
        let config = Config::read(&mut reader, "AUTH");
        reader.finish().unwrap();
        assert_eq!((config.schema.as_str(), config.pool_max), ("auth", 4));
        assert!(config.url.expose_secret().contains("auth_app") && config.owner_url.is_none());
        assert_eq!(config.slow_after, Duration::from_millis(40));
        assert!(!config.migrate_on_startup);
    }

    #[test]
    fn every_missing_setting_is_told_at_once_and_no_password_is_shown() {
        let mut reader = Reader::from_map([
            ("AUTH_DB_POOL_MAX", "0"),
            ("AUTH_DB_OWNER_URL", "postgres://o:geheim@db/t"),
        ]);
        let config = Config::read(&mut reader, "AUTH");
        let problems = reader.finish().unwrap_err().to_string();
        for name in ["AUTH_DB_URL", "AUTH_DB_RELAY_URL", "AUTH_DB_POOL_MAX"] {
            assert!(problems.contains(name), "{problems}");
        }
        let shown = format!("{problems}{}{config:?}", reader.describe());
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
