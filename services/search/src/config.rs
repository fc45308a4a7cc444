//! The settings of the search service.

use std::time::Duration;

use runtime::settings::Reader;
use secrecy::SecretString;

/// Everything that the service and its worker can be told.
#[derive(Clone)]
pub struct Config {
    /// The database (`SEARCH_DB_*`).
    pub db: db::Config,
    /// The broker (`AMQP_*`).
    pub amqp: events::Config,
    /// This service's key and whom it trusts (`SEARCH_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS`).
    pub keyring: rpc::Keyring,
    /// Where niche answers.
    pub niche: rpc::Endpoint,
    /// Where this service listens.
    pub listen: String,
    /// Turns texts into vectors.
    pub embedder: EmbedderConfig,
}

/// Which embedder to use.
#[derive(Clone)]
pub enum EmbedderConfig {
    /// The built-in one, which compares words.
    Lexical,
    /// An endpoint that speaks the OpenAI embeddings API.
    Http {
        /// For example `https://api.openai.com/v1`.
        base_url: String,
        /// The model's name.
        model: String,
        /// The bearer token, if the endpoint wants one.
        api_key: Option<SecretString>,
        /// The longest that one call may take.
        timeout: Duration,
    },
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            db: db::Config::read(reader, "SEARCH"),
            amqp: events::Config::read(reader),
            keyring: rpc::Keyring::read(reader, "search"),
            niche: reader
                .parsed(
                    "NICHE_GRPC_URL",
                    "http://127.0.0.1:9103",
                    "where niche answers gRPC",
                )
                .unwrap_or_else(|| rpc::Endpoint::memory("niche")),
            listen: reader.text(
                "SEARCH_GRPC_LISTEN",
                "127.0.0.1:9104",
                "where this service answers gRPC",
            ),
            embedder: EmbedderConfig::read(reader),
        }
    }
}

impl EmbedderConfig {
    fn read(reader: &mut Reader) -> Self {
        let base_url = reader.text(
            "SEARCH_EMBEDDER_URL",
            "",
            "base address of an OpenAI-compatible embeddings API; empty: the built-in lexical embedder, which compares words, not meaning",
        );
        let model = reader.text(
            "SEARCH_EMBEDDER_MODEL",
            "text-embedding-3-small",
            "the model asked for; it must answer 384 dimensions",
        );
        let api_key = reader.optional_secret(
            "SEARCH_EMBEDDER_API_KEY",
            "bearer token of the embeddings API",
        );
        let timeout = reader.duration_ms(
            "SEARCH_EMBEDDER_TIMEOUT_MS",
            Duration::from_secs(3),
            Duration::from_millis(50)..=Duration::from_secs(60),
            "the longest that one call of the embeddings API may take; a search waits for it",
        );
        if base_url.is_empty() {
            Self::Lexical
        } else {
            Self::Http {
                base_url,
                model,
                api_key,
                timeout,
            }
        }
    }
}
