//! The settings of the auth service.

use std::path::PathBuf;
use std::time::Duration;

use runtime::settings::Reader;
use secrecy::{ExposeSecret as _, SecretString};

/// Shorter keys could be guessed.
const KEY_CHARS_MIN: usize = 32;
const DAY_S: u64 = 24 * 60 * 60;
const SLOTS: std::ops::RangeInclusive<usize> = 1..=64;

/// Everything that the service and its worker can be told.
#[derive(Clone)]
pub struct Config {
    /// The database (`AUTH_DB_*`).
    pub db: db::Config,
    /// The broker (`AMQP_*`).
    pub amqp: events::Config,
    /// This service's key, which also signs context tokens, and whom it trusts (`AUTH_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS`).
    pub keyring: rpc::Keyring,
    /// Where this service listens.
    pub listen: String,
    /// PEM files of RSA keys: the first signs access tokens, all verify and are published.
    pub signing_key_files: Vec<PathBuf>,
    /// Mixed into every password before hashing. Changing it makes every password wrong.
    pub password_pepper: SecretString,
    /// Derives refresh tokens and verification links. Changing it ends the links that are open.
    pub refresh_key: SecretString,
    /// Passwords hashed at the same time, 19 MiB each.
    pub hash_slots: usize,
    /// Where people find the product; links in mails lead there. Never taken from a request.
    pub public_url: String,
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How long a refresh token waits to be used.
    pub refresh_lifetime: Duration,
    /// How long the same refresh token answers the same successor. Zero is the strict mode: any second use is theft.
    pub refresh_retry: Duration,
    /// When a session ends however often it is refreshed.
    pub session_lifetime: Duration,
    /// Whether platform staff may sign in although a second factor cannot be asked for yet.
    pub platform_login_without_mfa: bool,
    /// Where mails are written.
    pub mail_dir: PathBuf,
    /// The address of the first platform admin, for `auth seed`.
    pub seed_admin_email: Option<String>,
    /// The password of the first platform admin.
    pub seed_admin_password: Option<SecretString>,
}

impl Config {
    /// Reads the settings; problems are kept in `reader`.
    pub fn read(reader: &mut Reader) -> Self {
        let public_url = reader.required_or_dev(
            "AUTH_PUBLIC_URL",
            "http://127.0.0.1:8080",
            "where people find the product, for example https://app.example.com",
        );
        let is_dev = reader.profile().is_dev();
        Self {
            db: db::Config::read(reader, "AUTH"),
            amqp: events::Config::read(reader),
            keyring: rpc::Keyring::read(reader, "auth"),
            listen: reader.text("AUTH_GRPC_LISTEN", "127.0.0.1:9101", "where this service answers gRPC"),
            signing_key_files: signing_key_files(reader),
            password_pepper: key(reader, "AUTH_PASSWORD_PEPPER", "mixed into every password before hashing; keep it apart from the database, changing it makes every password wrong"),
            refresh_key: key(reader, "AUTH_REFRESH_KEY", "derives refresh tokens and verification links; changing it ends the links that are open"),
            hash_slots: reader.number("AUTH_HASH_SLOTS", half_of_the_cores(), SLOTS, "passwords hashed at the same time, by default half as many as there are cores: each takes a core and 19 MiB"),
            issuer: reader.text("AUTH_ISSUER", &public_url, "iss of access tokens"),
            audience: reader.text("AUTH_AUDIENCE", "tenantry", "aud of access tokens"),
            public_url,
            access_lifetime: seconds(reader, "AUTH_ACCESS_TTL_S", 900, 60..=crate::access_tokens::LIFETIME_MAX_S, "how long an access token lives"),
            refresh_lifetime: seconds(reader, "AUTH_REFRESH_TTL_S", 30 * DAY_S, 7 * DAY_S..=30 * DAY_S, "how long a refresh token waits to be used"),
            session_lifetime: seconds(reader, "AUTH_SESSION_TTL_S", 90 * DAY_S, DAY_S..=365 * DAY_S, "when a session ends however often it is refreshed"),
            refresh_retry: reader.duration_ms(
                "AUTH_REFRESH_RETRY_MS",
                Duration::from_secs(10),
                Duration::ZERO..=Duration::from_secs(60),
                "how long a refresh whose answer got lost may be repeated; 0 is the strict mode",
            ),
            platform_login_without_mfa: reader.flag(
                "AUTH_PLATFORM_LOGIN_WITHOUT_MFA",
                is_dev,
                "lets platform staff sign in with a password alone; off, they cannot sign in until second factors are supported",
            ),
            mail_dir: PathBuf::from(reader.required_or_dev("MAIL_DIR", ".dev/mail", "the folder that mails are written to")),
            seed_admin_email: reader.optional("AUTH_SEED_ADMIN_EMAIL", "address of the first platform admin, for `auth seed`"),
            seed_admin_password: reader.optional_secret("AUTH_SEED_ADMIN_PASSWORD", "password of the first platform admin, at least 15 characters"),
        }
    }
}

/// The other half stays for everything else, so that a flood of sign-ins slows nobody down who is signed in.
fn half_of_the_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (cores / 2).clamp(*SLOTS.start(), *SLOTS.end())
}

fn signing_key_files(reader: &mut Reader) -> Vec<PathBuf> {
    let doc = "PEM files of RSA keys with commas: the first signs access tokens, all verify; make one with openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072";
    let files = reader.list("AUTH_SIGNING_KEY_FILE", "", doc);
    if files.is_empty() {
        reader.problem("AUTH_SIGNING_KEY_FILE", "is not set", doc);
    }
    files.into_iter().map(PathBuf::from).collect()
}

fn key(reader: &mut Reader, name: &str, doc: &str) -> SecretString {
    let key = reader.secret(name, doc);
    let chars = key.expose_secret().chars().count();
    if chars > 0 && chars < KEY_CHARS_MIN {
        reader.problem(
            name,
            "is shorter than 32 characters",
            "the output of: openssl rand -base64 32",
        );
    }
    key
}

fn seconds(
    reader: &mut Reader,
    name: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    doc: &str,
) -> Duration {
    Duration::from_secs(reader.number(name, default, range, doc))
}
