//! The auth service alone, over its real port, with a clock that the test moves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use auth::Config;
use kernel::{Clock, Error, RequestContext, SessionId, TenantId, UserId};
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::session_service_client::SessionServiceClient;
use rpc::{Channel, Forward, Peer};
use runtime::{Process, Profile, Reader};
use tempfile::TempDir;
use testkit::TestDb;

pub const PASSWORD: &str = "violet tractor mumbles quietly";

pub type Answer<T> = Result<T, Error>;

/// A running service. The broker is unreachable, so events stay in the outbox.
pub struct Service {
    pub db: TestDb,
    pub clock: Clock,
    process: Process,
    app: auth::App,
    channel: Channel,
    _folder: TempDir,
}

impl Service {
    pub async fn start() -> Self {
        let db = TestDb::new("auth", &auth::MIGRATOR).await;
        let folder = tempfile::tempdir().unwrap();
        let (config, clock) = (config(&db, folder.path()), testkit::clock());
        let process = Process::new("auth", Profile::Dev, clock.clone());
        let app = auth::App::connect(&config, &process).await.unwrap();
        let (listener, channel) = testkit::rpc::listen().await;
        let run = auth::run(config.clone(), listener, process.clone());
        process
            .tasks
            .spawn("auth", async move { run.await.unwrap() });
        Self {
            db,
            clock,
            process,
            app,
            channel,
            _folder: folder,
        }
    }

    pub async fn stop(self) {
        assert!(
            self.process.stop(Duration::from_secs(25)).await,
            "some part did not stop"
        );
    }

    /// Accounts with a proved address and a password, without the work of hashing one for each.
    pub async fn accounts(&self, count: usize) -> Vec<String> {
        let seat = self.app.passwords.admit(None).await.unwrap();
        let hash = seat.hash(PASSWORD).await.unwrap();
        let mut admin = self.db.admin().await;
        let mut emails = Vec::new();
        for number in 0..count {
            emails.push(format!("person-{number:05}@example.com"));
            sqlx::query(
                "with person as (
                     insert into auth.users (id, email, name, locale, status, email_verified_at, created_at, updated_at)
                     values ($1, $2, 'Ana', 'en', 'active', $4, $4, $4) returning id)
                 insert into auth.credentials (user_id, password_hash, updated_at) select id, $3, $4 from person",
            )
            .bind(self.app.ids.next())
            .bind(&emails[number])
            .bind(&hash)
            .bind(self.clock.now())
            .execute(&mut admin)
            .await
            .unwrap();
        }
        emails
    }

    /// People who each have a tenant of their own.
    pub async fn people(&self, count: usize) -> Vec<Person> {
        let mut people = Vec::new();
        let mut admin = self.db.admin().await;
        for email in self.accounts(count).await {
            let find =
                sqlx::query_scalar("select id from auth.users where email = $1").bind(&email);
            let user_id = UserId(find.fetch_one(&mut admin).await.unwrap());
            let person = Person {
                user_id,
                tenant_id: TenantId(self.app.ids.next()),
            };
            self.provision(&person).await;
            people.push(person);
        }
        people
    }

    async fn provision(&self, person: &Person) {
        let message = pb::ProvisionTenantRequest {
            access: Some(access(person.tenant_id, 1, "active")),
            owner_user_id: Some(person.user_id.to_string()),
            owner_email: None,
            owner_name: None,
        };
        let request = self
            .peer("tenant")
            .request(&within(person.tenant_id), message);
        self.access().provision_tenant(request).await.unwrap();
    }

    /// What the tenant service does when a tenant is suspended or comes back.
    pub async fn apply(&self, tenant_id: TenantId, version: i64, status: &str) -> Answer<()> {
        let message = pb::ApplyTenantAccessRequest {
            access: Some(access(tenant_id, version, status)),
        };
        let request = self.peer("tenant").request(&within(tenant_id), message);
        self.access()
            .apply_tenant_access(request)
            .await
            .map(drop)
            .map_err(rpc::from_status)
    }

    /// A session as a sign-in opens it, without the work of comparing the password.
    pub async fn open_session(&self, person: &Person) -> (SessionId, auth::sessions::TokenPair) {
        let (app, ctx) = (&self.app, testkit::context().build());
        let (user_id, session_id, tenant_id) = (
            person.user_id,
            SessionId(self.app.ids.next()),
            Some(person.tenant_id),
        );
        let now = self.clock.now();
        let session = auth::sessions::store::NewSession {
            id: session_id,
            user_id,
            created_at: now,
            expires_at: now + app.rules.session_lifetime,
            tenant_id,
            network_key: vec![7; 32],
        };
        let mut tx = auth::sessions::begin_in(app, &ctx, tenant_id)
            .await
            .unwrap();
        auth::sessions::store::insert_session(&mut tx, &session, ctx.client())
            .await
            .unwrap();
        let token = auth::refresh::start_chain(app, &mut tx, session_id, tenant_id)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let subject = auth::access_tokens::Subject {
            user_id,
            session_id,
            tenant_id,
        };
        (
            session_id,
            auth::sessions::token_pair(app, subject, token).unwrap(),
        )
    }

    pub async fn login(&self, message: pb::LoginRequest) -> Answer<()> {
        let answer = self.sessions().login(self.forward(None, message)).await;
        answer.map(drop).map_err(rpc::from_status)
    }

    pub async fn refresh(&self, refresh_token: &str) -> Answer<pb::TokenPair> {
        let message = pb::RefreshRequest {
            refresh_token: refresh_token.to_owned(),
        };
        let answer = self.sessions().refresh(self.forward(None, message)).await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn logout(&self, context_token: &str, everywhere: bool) -> Answer<()> {
        let request = self.forward(Some(context_token), pb::LogoutRequest { everywhere });
        self.sessions()
            .logout(request)
            .await
            .map(drop)
            .map_err(rpc::from_status)
    }

    pub async fn resolve(&self, credential: &str) -> Answer<pb::ResolveContextResponse> {
        let message = pb::ResolveContextRequest {
            credential: credential.to_owned(),
            tenant_header: None,
        };
        let request = self.peer("gateway").request(&anyone(), message);
        let answer = self.access().resolve_context(request).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(rpc::from_status)
    }

    fn peer(&self, from: &str) -> Peer {
        Peer::new(testkit::keyring(from), "auth", self.clock.clone())
    }

    fn forward<M>(&self, context_token: Option<&str>, message: M) -> tonic::Request<M> {
        let forward = Forward {
            context_token,
            request_id: "req-test",
            ..Forward::default()
        };
        self.peer("gateway").forward(&forward, message)
    }

    fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }

    fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }
}

/// Somebody with a tenant of their own.
pub struct Person {
    pub user_id: UserId,
    pub tenant_id: TenantId,
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(answer: Answer<T>) -> String {
    answer
        .expect_err("this must be refused")
        .error_code()
        .to_string()
}

/// Under a hundred callers a few may be told to come back; nobody may be told something else.
pub fn unless_busy<T>(answer: Answer<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error) => {
            let code = error.error_code().as_str();
            assert!(
                ["SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED"].contains(&code),
                "{error:?}"
            );
            None
        }
    }
}

fn access(tenant_id: TenantId, version: i64, status: &str) -> pb::TenantAccess {
    pb::TenantAccess {
        tenant_id: tenant_id.to_string(),
        version,
        slug: format!("t-{:.16}", tenant_id.0.simple().to_string().split_off(12)),
        name: "Pousada Azul".to_owned(),
        status: status.to_owned(),
        entitled_actions: vec!["records.read".to_owned()],
    }
}

fn within(tenant_id: TenantId) -> RequestContext {
    testkit::context()
        .internal("test")
        .tenant(tenant_id)
        .build()
}

fn anyone() -> RequestContext {
    testkit::context().internal("test").build()
}

fn config(db: &TestDb, folder: &Path) -> Config {
    let key: PathBuf = folder.join("signing-key.pem");
    let made = std::process::Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ])
        .arg(&key)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let seed = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let settings = [
        ("TENANTRY_PROFILE", "dev"),
        ("AUTH_DB_URL", "postgres://unused"),
        ("AUTH_DB_RELAY_URL", "postgres://unused"),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f"),
        ("AUTH_IDENTITY_KEY", seed),
        (
            "TRUSTED_SERVICE_KEYS",
            "auth=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        (
            "AUTH_PASSWORD_PEPPER",
            "a pepper of more than thirty-two characters",
        ),
        (
            "AUTH_REFRESH_KEY",
            "a key of more than thirty-two characters too",
        ),
        ("AUTH_SIGNING_KEY_FILE", key.to_str().unwrap()),
    ];
    let mut reader = Reader::from_map(settings);
    let mut config = Config::read(&mut reader);
    reader.finish().unwrap();
    config.db = db.config();
    // A hundred callers share few connections on a machine that also compiles.
    config.db.acquire_timeout = Duration::from_secs(10);
    config.keyring = testkit::keyring("auth");
    config.mail_dir = folder.join("mails");
    config
}
