//! The settings of the niche service.

use runtime::settings::Reader;
use secrecy::SecretString;

/// Everything that the service and its worker can be told.
#[derive(Clone)]
pub struct Config {
    /// The database (`NICHE_DB_*`).
    pub db: db::Config,
    /// The broker (`AMQP_*`).
    pub amqp: events::Config,
    /// This service's key and whom it trusts (`NICHE_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS`).
    pub keyring: rpc::Keyring,
    /// Where this service listens.
    pub listen: String,
    /// Seals cursors; all replicas share it.
    pub cursor_key: SecretString,
    /// The object store that keeps files on their way in (`S3_*`).
    pub s3: crate::objects::Config,
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            db: db::Config::read(reader, "NICHE"),
            amqp: events::Config::read(reader),
            keyring: rpc::Keyring::read(reader, "niche"),
            listen: reader.text(
                "NICHE_GRPC_LISTEN",
                "127.0.0.1:9103",
                "where this service answers gRPC",
            ),
            cursor_key: reader.secret(
                "CURSOR_KEY",
                "seals list cursors: at least 32 random characters, the same on all replicas",
            ),
            s3: crate::objects::Config::read(reader),
        }
    }
}
