//! What each process is told.

use std::collections::BTreeMap;
use std::path::Path;

use runtime::Process;
use secrecy::ExposeSecret as _;
use stack::Settings;
use testkit::TestDb;

use super::balancer::Balancer;
use super::member::Member;
use super::{FleetPlan, SERVICES};
use crate::embedder::FakeEmbedder;
use crate::platform::make_signing_key;
use crate::ports::Port;

/// Queues of a fleet that nobody has used for so long are deleted by the broker, also when the test was killed.
const QUEUES_EXPIRE_MS: u32 = 3_600_000;
/// Settings of one service that no other process may see.
const PRIVATE: [&str; 3] = [
    "AUTH_SIGNING_KEY_FILE",
    "AUTH_PASSWORD_PEPPER",
    "AUTH_REFRESH_KEY",
];

/// What all processes stand on.
pub(super) struct Ground {
    pub(super) db: TestDb,
    pub(super) amqp: events::Config,
    /// What turns texts into vectors: apart from the processes, as most installations have it.
    pub(super) embedder: FakeEmbedder,
    /// Where the object store listens.
    pub(super) store: Port,
    /// The settings in the form of the one-process platform, which makes the identities too.
    pub(super) stack: Settings,
    all: BTreeMap<String, String>,
    further: Vec<(String, String)>,
}

async fn database(plan: &FleetPlan) -> TestDb {
    let services = [
        ("auth", &auth::MIGRATOR),
        ("tenant", &tenant::MIGRATOR),
        ("niche", &niche::MIGRATOR),
        ("search", &search::MIGRATOR),
    ];
    match &plan.database {
        None => TestDb::with_services(&services).await,
        Some(server) => TestDb::with_services_on(server, &services).await,
    }
}

impl Ground {
    pub(super) async fn lay(plan: &FleetPlan, folder: &Path) -> Self {
        let db = database(plan).await;
        let mut all = BTreeMap::new();
        let mut set = |name: &str, value: String| drop(all.insert(name.to_owned(), value));
        for service in SERVICES {
            let upper = service.to_uppercase();
            for (setting, role) in [("URL", "app"), ("RELAY_URL", "relay")] {
                let url = db.url(&format!("{service}_{role}"));
                let url = plan
                    .postgres
                    .as_ref()
                    .map_or(url.clone(), |proxy| proxy.url_of(&url));
                set(&format!("{upper}_DB_{setting}"), url);
            }
            set(&format!("{upper}_DB_POOL_MAX"), "4".to_owned());
            // A machine that is busy with other tests is no outage.
            set(&format!("{upper}_DB_ACQUIRE_TIMEOUT_MS"), "4000".to_owned());
        }
        let (amqp, redis) = (testkit::amqp(), testkit::redis());
        let through = |proxy: &Option<std::sync::Arc<testkit::Proxy>>, url: &str| {
            proxy
                .as_ref()
                .map_or(url.to_owned(), |proxy| proxy.url_of(url))
        };
        set("AMQP_URL", through(&plan.amqp, amqp.url.expose_secret()));
        set("AMQP_PREFIX", amqp.prefix.clone());
        set("AMQP_RECONNECT_MAX_MS", "500".to_owned());
        set("AMQP_QUEUES_EXPIRE_MS", QUEUES_EXPIRE_MS.to_string());
        set("REDIS_URL", through(&plan.redis, redis.url.expose_secret()));
        set("REDIS_PREFIX", redis.prefix);
        set("TENANTRY_PROFILE", "dev".to_owned());
        set("TENANTRY_ADMIN_DB_URL", db.admin_url());
        let store = Port::reserve();
        set("S3_ENDPOINT", format!("http://{}", store.address()));
        set("S3_BUCKET", "tenantry".to_owned());
        set("S3_ACCESS_KEY", "test-access".to_owned());
        set("S3_SECRET_KEY", "test-secret-of-a-test".to_owned());
        set("S3_DATA_DIR", folder.join("s3").display().to_string());
        set("MAIL_DIR", folder.join("mail").display().to_string());
        let key_file = folder.join("signing-key.pem");
        make_signing_key(&key_file);
        set("AUTH_SIGNING_KEY_FILE", key_file.display().to_string());
        for name in ["AUTH_PASSWORD_PEPPER", "AUTH_REFRESH_KEY", "CURSOR_KEY"] {
            set(name, format!("{name} of a test, long enough to pass"));
        }
        set("AUTH_SEED_ADMIN_EMAIL", "admin@example.com".to_owned());
        set("AUTH_SEED_ADMIN_PASSWORD", crate::ADMIN_PASSWORD.to_owned());
        let embedder = FakeEmbedder::start().await;
        set("SEARCH_EMBEDDER_URL", embedder.url.clone());
        set("GATEWAY_RATE_LIMIT_FACTOR", "1000".to_owned());
        set("GATEWAY_WORKERS", "1".to_owned());
        set("GATEWAY_REPLICAS", plan.gateways.max(1).to_string());
        let stack = Settings::read(all.clone()).unwrap();
        identities(&stack, &mut all);
        Self {
            db,
            amqp,
            embedder,
            store,
            stack,
            all,
            further: plan.settings.clone(),
        }
    }

    /// A process gets what it needs: no other service's access to the database, and no other service's key.
    pub(super) fn settings_of(
        &self,
        member: &Member,
        services: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let own = member.service();
        let foreign = |name: &str| {
            let of_another = SERVICES
                .iter()
                .chain(&["gateway"])
                .filter(|service| **service != own)
                .map(|service| service.to_uppercase())
                .any(|upper| {
                    name.starts_with(&format!("{upper}_DB_"))
                        || name == format!("{upper}_IDENTITY_KEY")
                });
            let of_auth = PRIVATE.contains(&name) || name.starts_with("AUTH_SEED_");
            of_another || (of_auth && own != "auth") || name == "TENANTRY_ADMIN_DB_URL"
        };
        let mut settings: BTreeMap<String, String> = self
            .all
            .iter()
            .filter(|(name, _)| !foreign(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        settings.extend(services.iter().cloned());
        let listens = if own == "gateway" {
            "GATEWAY_HTTP_LISTEN".to_owned()
        } else {
            format!("{}_GRPC_LISTEN", own.to_uppercase())
        };
        settings.insert(listens, member.serving.address().to_string());
        settings.insert(
            "TENANTRY_ADMIN_ADDRESS".to_owned(),
            member.admin.address().to_string(),
        );
        settings.extend(self.further.iter().cloned());
        settings
    }
}

/// The keys by which services know each other.
fn identities(stack: &Settings, all: &mut BTreeMap<String, String>) {
    let mut reader = stack.reader();
    let names = SERVICES.iter().chain(&["gateway"]);
    let keys = names.map(|service| format!("{}_IDENTITY_KEY", service.to_uppercase()));
    for name in keys.chain(["TRUSTED_SERVICE_KEYS".to_owned()]) {
        let value = reader.secret(&name, "made by the settings themselves");
        all.insert(name, value.expose_secret().to_owned());
    }
}

/// All processes, none of them started.
pub(super) fn members(plan: &FleetPlan, folder: &Path) -> BTreeMap<String, Member> {
    let mut names = Vec::new();
    for service in SERVICES {
        names.push(service.to_owned());
        names.extend((2..=plan.replicas).map(|number| format!("{service}-{number}")));
        names.push(format!("{service}-worker"));
    }
    names.extend((1..=plan.gateways).map(|number| format!("gateway-{number}")));
    let member = |name: String| (name.clone(), Member::new(name, folder));
    names.into_iter().map(member).collect()
}

/// Where everything is reached.
pub(super) struct Addresses {
    pub(super) public: String,
    /// Settings that name the services.
    pub(super) services: Vec<(String, String)>,
}

pub(super) async fn addresses(
    plan: &FleetPlan,
    members: &BTreeMap<String, Member>,
    process: &Process,
) -> Addresses {
    let of = |wanted: &'static str| {
        members
            .values()
            .filter(move |member| member.service() == wanted && !member.name.ends_with("worker"))
            .map(|member| (member.serving.address(), member.admin.address()))
            .collect::<Vec<_>>()
    };
    let mut services = Vec::new();
    for service in SERVICES {
        let replicas = of(service);
        let address = if plan.replicas > 1 {
            Balancer::start(replicas, process).await.address()
        } else {
            replicas[0].0
        };
        services.push((
            format!("{}_GRPC_URL", service.to_uppercase()),
            format!("http://{address}"),
        ));
    }
    let front = Balancer::start(of("gateway"), process).await;
    Addresses {
        public: format!("http://{}", front.address()),
        services,
    }
}
