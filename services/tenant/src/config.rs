//! The settings of the tenant service.

use runtime::settings::Reader;
use secrecy::SecretString;

/// Everything that the service and its worker can be told.
#[derive(Clone)]
pub struct Config {
    /// The database (`TENANT_DB_*`).
    pub db: db::Config,
    /// The broker (`AMQP_*`).
    pub amqp: events::Config,
    /// This service's key and whom it trusts (`TENANT_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS`).
    pub keyring: rpc::Keyring,
    /// Where auth answers.
    pub auth: rpc::Endpoint,
    /// Where this service listens.
    pub listen: String,
    /// Seals cursors; all replicas share it.
    pub cursor_key: SecretString,
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            db: db::Config::read(reader, "TENANT"),
            amqp: events::Config::read(reader),
            keyring: rpc::Keyring::read(reader, "tenant"),
            auth: reader
                .parsed(
                    "AUTH_GRPC_URL",
                    "http://127.0.0.1:9101",
                    "where auth answers gRPC",
                )
                .unwrap_or_else(|| rpc::Endpoint::memory("auth")),
            listen: reader.text(
                "TENANT_GRPC_LISTEN",
                "127.0.0.1:9102",
                "where this service answers gRPC",
            ),
            cursor_key: reader.secret(
                "CURSOR_KEY",
                "seals list cursors: at least 32 random characters, the same on all replicas",
            ),
        }
    }
}
