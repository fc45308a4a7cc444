//! A platform of one test's own in the test's process: its own database, names on the broker, keys in Redis, folders and ports.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kernel::Clock;
use runtime::{Process, Profile};
use serde_json::json;
use stack::demo::{Client, Resident, Walk};
use stack::{Configs, ObjectStore, Settings};
use tempfile::TempDir;
use testkit::TestDb;

use crate::gates::Gates;
use crate::ports::Port;

/// A running platform; stops with [`Platform::stop`].
pub struct Platform {
    /// Where the public port answers.
    pub base_url: String,
    /// Where mails are written, one file each.
    pub mail_dir: PathBuf,
    /// The process of all services, for its clock and its end.
    pub process: Process,
    /// What the services were told: their keys, and the endpoints at which they answer within this process.
    pub settings: Settings,
    /// The database of all services.
    pub db: TestDb,
    _folder: TempDir,
    _store: Port,
}

/// What a platform depends on.
pub struct Surroundings {
    /// The broker and the names on it.
    pub amqp: events::Config,
    /// Redis and the prefix of the keys.
    pub redis: cache::Config,
    /// In place of the built-in embedder.
    pub embedder_url: Option<String>,
    /// Settings by name, before all others.
    pub settings: Vec<(String, String)>,
    /// The time of all services.
    pub clock: Clock,
    /// Gates in the ways to everything, from [`Surroundings::behind`].
    pub gates: Option<Arc<Gates>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            amqp: testkit::amqp(),
            redis: testkit::redis(),
            embedder_url: None,
            settings: Vec::new(),
            clock: Clock::system(),
            gates: None,
        }
    }
}

impl Platform {
    /// Starts one that depends on nothing unusual, and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_in(Surroundings::default()).await
    }

    /// Starts one in the given surroundings, and waits until it is ready.
    pub async fn start_in(surroundings: Surroundings) -> Self {
        let services = [
            ("auth", &auth::MIGRATOR),
            ("tenant", &tenant::MIGRATOR),
            ("niche", &niche::MIGRATOR),
            ("search", &search::MIGRATOR),
        ];
        let db = TestDb::with_services(&services).await;
        let folder = tempfile::tempdir().unwrap();
        let store = Port::reserve();
        let mail_dir = folder.path().join("mail");
        let key_file = folder.path().join("signing-key.pem");
        make_signing_key(&key_file);
        let mut overrides = database_settings(&db, &services.map(|(service, _)| service));
        let mut set = |name: &str, value: String| overrides.push((name.to_owned(), value));
        set("TENANTRY_PROFILE", "dev".to_owned());
        set("TENANTRY_ADMIN_DB_URL", db.admin_url());
        // The connections to broker and Redis are replaced below; these only satisfy the reader.
        set("AMQP_URL", "amqp://127.0.0.1:1".to_owned());
        set("REDIS_URL", "redis://127.0.0.1:1".to_owned());
        set("S3_ENDPOINT", format!("http://{}", store.address()));
        set("S3_BUCKET", "tenantry".to_owned());
        set("S3_ACCESS_KEY", "test-access".to_owned());
        set("S3_SECRET_KEY", "test-secret-of-a-test".to_owned());
        set(
            "S3_DATA_DIR",
            folder.path().join("s3").display().to_string(),
        );
        set("MAIL_DIR", mail_dir.display().to_string());
        set("AUTH_SIGNING_KEY_FILE", key_file.display().to_string());
        set(
            "AUTH_PASSWORD_PEPPER",
            "a pepper for tests, long enough to pass".to_owned(),
        );
        set(
            "AUTH_REFRESH_KEY",
            "a refresh key for tests, long enough to pass".to_owned(),
        );
        set(
            "CURSOR_KEY",
            "a cursor key for tests, long enough to pass".to_owned(),
        );
        set("AUTH_SEED_ADMIN_EMAIL", "admin@example.com".to_owned());
        set("AUTH_SEED_ADMIN_PASSWORD", ADMIN_PASSWORD.to_owned());
        set("GATEWAY_RATE_LIMIT_FACTOR", "1000".to_owned());
        set("GATEWAY_WORKERS", "1".to_owned());
        if let Some(url) = &surroundings.embedder_url {
            set("SEARCH_EMBEDDER_URL", url.clone());
        }
        if let Some(gates) = &surroundings.gates {
            overrides.extend(gates.settings(&db));
        }
        let mut set = |name: &str, value: String| overrides.push((name.to_owned(), value));
        for (name, value) in &surroundings.settings {
            set(name, value.clone());
        }
        Box::pin(Self::run(db, (folder, store), overrides, surroundings)).await
    }

    async fn run(
        db: TestDb,
        (folder, store): (TempDir, Port),
        overrides: Vec<(String, String)>,
        surroundings: Surroundings,
    ) -> Self {
        let process = Process::new("stack", Profile::Dev, surroundings.clock.clone());
        let settings = Settings::read(overrides).unwrap();
        let mut reader = settings.reader();
        let mut configs = Configs::read(&mut reader);
        reader.finish().unwrap();
        for amqp in [
            &mut configs.auth.amqp,
            &mut configs.tenant.amqp,
            &mut configs.niche.amqp,
            &mut configs.search.amqp,
        ] {
            *amqp = surroundings.amqp.clone();
        }
        configs.gateway.cache = surroundings.redis;
        ObjectStore::start(&settings.store, &process).await.unwrap();
        stack::seed(&configs, &process).await.unwrap();
        let public = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", public.local_addr().unwrap());
        match &surroundings.gates {
            None => stack::start(configs, &settings, public, &process),
            Some(gates) => gates.start(configs, public, &process).await,
        }
        let platform = Self {
            base_url,
            mail_dir: folder.path().join("mail"),
            process,
            settings,
            db,
            _folder: folder,
            _store: store,
        };
        platform.wait_until_ready().await;
        platform
    }

    /// Waits for the readiness of the gateway: it has heard from auth.
    async fn wait_until_ready(&self) {
        let client = self.client();
        let is_ready = async || {
            let answer = client.status("/health/ready").await;
            answer.is_ok_and(|status| status.is_success())
        };
        let waiting = async {
            while !is_ready().await {
                // sleeps because nine parts start in their own time
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // A debug build beside compilers may need this long.
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .expect("the platform becomes ready");
    }

    /// A client without a credential.
    pub fn client(&self) -> Client {
        Client::new(&self.base_url).unwrap()
    }

    /// A client with a fresh session of somebody.
    pub async fn sign_in(&self, email: &str, password: &str) -> Client {
        let client = self.client();
        let login = json!({"email": email, "password": password});
        let session = client.post("/v1/auth/login", &login).await.unwrap();
        client.with_token(session["data"]["accessToken"].as_str().unwrap())
    }

    /// A client of the first member of the platform's staff.
    pub async fn sign_in_as_admin(&self) -> Client {
        self.sign_in("admin@example.com", ADMIN_PASSWORD).await
    }

    /// Registers somebody with a tenant of their own and the niche `software-catalog`.
    pub async fn settle(&self, name: &str, house: &str) -> Resident {
        let walk = Walk {
            base_url: self.base_url.clone(),
            mail_dir: self.mail_dir.clone(),
            csv: Vec::new(),
            query: String::new(),
            section: String::new(),
            narrator: Arc::new(|_| {}),
        };
        walk.settle(name, house).await.unwrap()
    }

    /// Ends it; a part that does not stop within 25 seconds is a failure.
    pub async fn stop(self) {
        assert!(
            self.process.stop(Duration::from_secs(25)).await,
            "some part did not stop"
        );
    }
}

/// The first platform admin's password in tests.
pub const ADMIN_PASSWORD: &str = "an admin password of a test";

/// Where each service finds its schema.
fn database_settings(db: &TestDb, services: &[&str]) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for service in services {
        let upper = service.to_uppercase();
        let mut set = |name: &str, value: String| settings.push((format!("{upper}_{name}"), value));
        set("DB_URL", db.url(&format!("{service}_app")));
        set("DB_RELAY_URL", db.url(&format!("{service}_relay")));
        set("DB_OWNER_URL", db.url(&format!("{service}_owner")));
        set("DB_POOL_MAX", "4".to_owned());
        // A machine that compiles meanwhile is not an outage; proofs about outages say what they want.
        set("DB_ACQUIRE_TIMEOUT_MS", "5000".to_owned());
    }
    settings
}

/// No key is kept in the repository; the smallest sound one takes a fraction of a second to make.
pub(crate) fn make_signing_key(path: &std::path::Path) {
    let made = std::process::Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(path)
        .output()
        .expect("openssl is on every machine that runs the tests");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}
