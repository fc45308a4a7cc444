//! The service under test, and what its clients do: sign up, sign in, refresh.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth::{App, Config};
use kernel::{ClientInfo, Clock, Error, RequestContext, TenantId, UserId};
use proto::auth::v1 as pb;
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::session_service_client::SessionServiceClient;
use rpc::{Channel, Forward, Peer};
use runtime::Process;
use runtime::settings::{Profile, Reader};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use testkit::TestDb;
use uuid::Uuid;

pub const PASSWORD: &str = "violet tractor mumbles quietly";

/// A running service. The broker is unreachable, so events stay in the outbox where a test can read them.
pub struct Service {
    pub db: TestDb,
    pub clock: Clock,
    pub config: Config,
    pub app: App,
    mail: TempDir,
    process: Process,
    channel: Channel,
}

pub type Answer<T> = Result<T, Error>;

impl Service {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let db = TestDb::new("auth", &auth::MIGRATOR).await;
        let mail = tempfile::tempdir().unwrap();
        let mut config = config(&db, mail.path());
        change(&mut config);
        Self::serve(db, mail, config, testkit::clock()).await
    }

    /// The same database, served by a new process: what a restart leaves is what was stored.
    pub async fn restart(self) -> Self {
        assert!(
            self.process.stop(Duration::from_secs(5)).await,
            "the service ends in time"
        );
        Self::serve(self.db, self.mail, self.config, self.clock).await
    }

    /// Without a port and a relay: for what the worker does.
    pub async fn start_without_relay() -> Self {
        let db = TestDb::new("auth", &auth::MIGRATOR).await;
        let mail = tempfile::tempdir().unwrap();
        let (config, clock) = (config(&db, mail.path()), testkit::clock());
        let process = Process::new("auth", Profile::Dev, clock.clone());
        let app = App::connect(&config, &process).await.unwrap();
        let channel = rpc::connect(&rpc::Endpoint::memory("nobody"));
        Self {
            db,
            clock,
            config,
            app,
            mail,
            process,
            channel,
        }
    }

    async fn serve(db: TestDb, mail: TempDir, config: Config, clock: Clock) -> Self {
        let process = Process::new("auth", Profile::Dev, clock.clone());
        let app = App::connect(&config, &process).await.unwrap();
        let (listener, channel) = testkit::rpc::listen().await;
        let run = auth::run(config.clone(), listener, process.clone());
        process
            .tasks
            .spawn("auth", async move { run.await.unwrap() });
        Self {
            db,
            clock,
            config,
            app,
            mail,
            process,
            channel,
        }
    }

    pub fn client(&self) -> Client {
        Client {
            channel: self.channel.clone(),
            peer: Peer::new(testkit::keyring("gateway"), "auth", self.clock.clone()),
            ip: [203, 0, 113, 7].into(),
        }
    }

    /// Calls as another service.
    pub fn access_of(&self, service: &str) -> (AccessServiceClient<Channel>, Peer) {
        (
            AccessServiceClient::new(self.channel.clone()),
            Peer::new(testkit::keyring(service), "auth", self.clock.clone()),
        )
    }

    pub async fn send_mails(&self) -> usize {
        auth::mails::send_due(&self.app, &self.app.own_context("test"))
            .await
            .unwrap()
    }

    /// The mails to an address, oldest first.
    pub fn mails_to(&self, email: &str) -> Vec<String> {
        let Ok(folder) = std::fs::read_dir(&self.config.mail_dir) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
        let read = files
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap());
        read.filter(|mail| mail.contains(&format!("To: <{email}>\r\n")))
            .collect()
    }

    /// The token of the latest verification mail.
    pub async fn link_token(&self, email: &str) -> String {
        self.send_mails().await;
        let mails = self.mails_to(email);
        let tokens: Vec<&str> = mails
            .iter()
            .filter_map(|mail| mail.split("/verify-email?token=").nth(1))
            .collect();
        tokens
            .last()
            .expect("a verification mail has arrived")
            .split("\r\n")
            .next()
            .unwrap()
            .to_owned()
    }

    /// A person with a proved address.
    pub async fn sign_up(&self, email: &str) -> UserId {
        let client = self.client();
        client.register(email, PASSWORD).await.unwrap();
        let token = self.link_token(email).await;
        client.verify(&token).await.unwrap();
        self.user_id(email).await
    }

    /// The same without the port.
    pub async fn sign_up_directly(&self, email: &str) -> UserId {
        let ctx = testkit::context().build();
        let sign_up = auth::users::SignUp {
            email: email.to_owned(),
            password: PASSWORD.to_owned().into(),
            name: "Ana".to_owned(),
            locale: kernel::Locale::En,
        };
        auth::users::register(&self.app, &ctx, sign_up)
            .await
            .unwrap();
        auth::users::verify_email(&self.app, &ctx, &self.link_token(email).await)
            .await
            .unwrap();
        self.user_id(email).await
    }

    pub async fn user_id(&self, email: &str) -> UserId {
        let mut admin = self.db.admin().await;
        let id: Uuid = sqlx::query_scalar("select id from auth.users where email = $1")
            .bind(email)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        UserId(id)
    }

    /// A tenant of this person.
    pub async fn tenant_of(&self, owner: UserId, tenant: u128) -> TenantId {
        let tenant_id = TenantId(Uuid::from_u128(tenant));
        self.provision(access(tenant_id, 1, "active"), Some(owner), None)
            .await
            .unwrap();
        tenant_id
    }

    pub async fn provision(
        &self,
        access: pb::TenantAccess,
        owner: Option<UserId>,
        email: Option<&str>,
    ) -> Answer<String> {
        let (mut client, peer) = self.access_of("tenant");
        let ctx = in_tenant_of(&access);
        let message = pb::ProvisionTenantRequest {
            access: Some(access),
            owner_user_id: owner.map(|id| id.to_string()),
            owner_email: email.map(str::to_owned),
            owner_name: email.map(|_| "Olga Owner".to_owned()),
        };
        let answer = client.provision_tenant(peer.request(&ctx, message)).await;
        answer
            .map(|answer| answer.into_inner().owner_user_id)
            .map_err(rpc::from_status)
    }

    pub async fn apply(&self, access: pb::TenantAccess) -> Answer<()> {
        let (mut client, peer) = self.access_of("tenant");
        let ctx = in_tenant_of(&access);
        let message = pb::ApplyTenantAccessRequest {
            access: Some(access),
        };
        client
            .apply_tenant_access(peer.request(&ctx, message))
            .await
            .map(drop)
            .map_err(rpc::from_status)
    }

    pub async fn resolve(&self, credential: &str) -> Answer<pb::ResolveContextResponse> {
        self.resolve_with(credential, None).await
    }

    pub async fn resolve_with(
        &self,
        credential: &str,
        header: Option<String>,
    ) -> Answer<pb::ResolveContextResponse> {
        let (mut client, peer) = self.access_of("gateway");
        let message = pb::ResolveContextRequest {
            credential: credential.to_owned(),
            tenant_header: header,
        };
        client
            .resolve_context(peer.request(&anyone(), message))
            .await
            .map(|answer| answer.into_inner())
            .map_err(rpc::from_status)
    }

    /// Everything measured so far.
    pub fn metrics(&self) -> String {
        self.process.metrics.render()
    }

    /// Runs a statement that no service may: to arrange what another release or an operator would.
    pub async fn arrange(&self, sql: &'static str) {
        use sqlx::Executor as _;
        self.db.admin().await.execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.db.admin().await)
            .await
            .unwrap()
    }

    /// The types of the events so far, with the actions of audit entries.
    pub async fn events(&self) -> Vec<String> {
        let name =
            |event: db::Envelope| match event.data.get("action").and_then(|action| action.as_str())
            {
                Some(action) => format!("audit {action}"),
                None => event.event_type,
            };
        self.db.events().await.into_iter().map(name).collect()
    }
}

/// An outside client, behind the gateway.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    peer: Peer,
    pub ip: IpAddr,
}

impl Client {
    pub fn from(mut self, ip: &str) -> Self {
        self.ip = ip.parse().unwrap();
        self
    }

    fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    fn public<M>(&self, message: M) -> tonic::Request<M> {
        self.signed_in(None, message)
    }

    fn signed_in<M>(&self, context_token: Option<&str>, message: M) -> tonic::Request<M> {
        let client = ClientInfo {
            ip: Some(self.ip),
            user_agent: "test".to_owned(),
        };
        let forward = Forward {
            context_token,
            request_id: "req-test",
            client: Some(&client),
            ..Forward::default()
        };
        self.peer.forward(&forward, message)
    }

    pub async fn register(&self, email: &str, password: &str) -> Answer<pb::RegisterResponse> {
        let message = pb::RegisterRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            name: "Ana".to_owned(),
            locale: "en".to_owned(),
        };
        self.sessions()
            .register(self.public(message))
            .await
            .map(|answer| answer.into_inner())
            .map_err(rpc::from_status)
    }

    pub async fn verify(&self, token: &str) -> Answer<()> {
        let message = pb::VerifyEmailRequest {
            token: token.to_owned(),
        };
        self.sessions()
            .verify_email(self.public(message))
            .await
            .map(drop)
            .map_err(rpc::from_status)
    }

    pub async fn login(&self, email: &str, password: &str) -> Answer<pb::TokenPair> {
        self.login_to(email, password, None).await
    }

    pub async fn login_to(
        &self,
        email: &str,
        password: &str,
        tenant_id: Option<TenantId>,
    ) -> Answer<pb::TokenPair> {
        let tenant_id = tenant_id.map(|id| id.to_string());
        let message = pb::LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            tenant_id,
        };
        let answer = self.sessions().login(self.public(message)).await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn refresh(&self, refresh_token: &str) -> Answer<pb::TokenPair> {
        let message = pb::RefreshRequest {
            refresh_token: refresh_token.to_owned(),
        };
        let answer = self.sessions().refresh(self.public(message)).await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn logout(
        &self,
        context: &pb::ResolveContextResponse,
        everywhere: bool,
    ) -> Answer<()> {
        let request = self.signed_in(
            Some(&context.context_token),
            pb::LogoutRequest { everywhere },
        );
        self.sessions()
            .logout(request)
            .await
            .map(drop)
            .map_err(rpc::from_status)
    }

    pub async fn switch(
        &self,
        context: &pb::ResolveContextResponse,
        tenant_id: TenantId,
    ) -> Answer<pb::TokenPair> {
        let message = pb::SwitchTenantRequest {
            tenant_id: tenant_id.to_string(),
        };
        let answer = self
            .sessions()
            .switch_tenant(self.signed_in(Some(&context.context_token), message))
            .await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn me(&self, context: &pb::ResolveContextResponse) -> Answer<pb::Me> {
        let answer = self
            .sessions()
            .get_me(self.signed_in(Some(&context.context_token), pb::GetMeRequest {}))
            .await;
        answer
            .map(|answer| answer.into_inner().data.unwrap())
            .map_err(rpc::from_status)
    }

    pub async fn jwks(&self) -> Vec<pb::Jwk> {
        self.sessions()
            .get_jwks(self.public(pb::GetJwksRequest {}))
            .await
            .unwrap()
            .into_inner()
            .keys
    }
}

/// What the tenant service says of a tenant.
pub fn access(tenant_id: TenantId, version: i64, status: &str) -> pb::TenantAccess {
    pb::TenantAccess {
        tenant_id: tenant_id.to_string(),
        version,
        slug: format!("t-{}", tenant_id.0.as_u128() % 1_000),
        name: "Pousada Azul".to_owned(),
        status: status.to_owned(),
        entitled_actions: ["records.read", "records.create", "search.query"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// The error's public code and reason: all that a client can tell errors apart by.
pub fn told<T: std::fmt::Debug>(answer: Answer<T>) -> (String, String) {
    let error = answer.expect_err("this must be refused");
    (error.error_code().to_string(), error.reason().to_owned())
}

/// The tenant service at work in the tenant that a message speaks of.
fn in_tenant_of(access: &pb::TenantAccess) -> RequestContext {
    let tenant_id = access.tenant_id.parse().unwrap();
    testkit::context()
        .internal("tenant")
        .tenant(tenant_id)
        .build()
}

pub fn anyone() -> RequestContext {
    testkit::context().internal("test").build()
}

fn config(db: &TestDb, mail: &Path) -> Config {
    let key = signing_key(1);
    let settings = [
        ("TENANTRY_PROFILE", "dev"),
        ("AUTH_DB_URL", "postgres://unused"),
        ("AUTH_DB_RELAY_URL", "postgres://unused"),
        ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/%2f"),
        (
            "AUTH_IDENTITY_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
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
        ("AUTH_SEED_ADMIN_EMAIL", "Root@Example.com"),
        ("AUTH_SEED_ADMIN_PASSWORD", PASSWORD),
    ];
    let mut reader = Reader::from_map(settings);
    let mut config = Config::read(&mut reader);
    reader.finish().unwrap();
    assert!(config.password_pepper.expose_secret().len() > 32);
    config.db = db.config();
    // Many callers share few connections on a machine that also compiles.
    config.db.acquire_timeout = Duration::from_secs(5);
    config.keyring = testkit::keyring("auth");
    config.mail_dir = mail.join("mails");
    config
}

/// An RSA key of this machine, made once by OpenSSL and kept beside the build: no key is in the repository.
pub fn signing_key(number: u32) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("auth-signing-{number}.pem"));
    if !file.exists() {
        let made = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let openssl = std::process::Command::new("openssl")
            .args([
                "genpkey",
                "-quiet",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-out",
            ])
            .arg(made.path())
            .output()
            .expect("openssl is installed; ./dev up installs it");
        assert!(
            openssl.status.success(),
            "{}",
            String::from_utf8_lossy(&openssl.stderr)
        );
        // Tests that start together each make one. The first stays: a service reads the file more than once and must find the same key.
        if let Err(error) = made.persist_noclobber(&file) {
            assert!(file.exists(), "{error}");
        }
    }
    file
}
