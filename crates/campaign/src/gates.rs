//! Gates in every way between the platform and what it depends on, for proofs that shut them.

use std::net::TcpListener;
use std::sync::Arc;

use runtime::Process;
use stack::Configs;
use testkit::{Proxy, TestDb};

use crate::platform::Surroundings;
use crate::ports::Port;

/// One gate per dependency. A platform behind gates calls its services by TCP, so that each of them can be away alone.
pub struct Gates {
    /// Before PostgreSQL, for all services.
    pub postgres: Proxy,
    /// Before Redis.
    pub redis: Proxy,
    /// Before RabbitMQ.
    pub amqp: Proxy,
    /// Before the object store.
    pub s3: Proxy,
    services: Vec<Service>,
    store: String,
    _store_port: Port,
}

struct Service {
    name: &'static str,
    listen: Port,
    proxy: Proxy,
}

impl Gates {
    /// Open gates, before anything stands behind them.
    pub async fn build() -> Arc<Self> {
        let store_port = Port::reserve();
        let store = format!("http://{}", store_port.address());
        let mut services = Vec::new();
        for name in ["auth", "tenant", "niche", "search"] {
            let listen = Port::reserve();
            let proxy = Proxy::to(&format!("http://{}", listen.address())).await;
            services.push(Service {
                name,
                listen,
                proxy,
            });
        }
        Arc::new(Self {
            postgres: Proxy::to_postgres().await,
            redis: Proxy::to_redis().await,
            amqp: Proxy::to_amqp().await,
            s3: Proxy::to(&store).await,
            services,
            store,
            _store_port: store_port,
        })
    }

    /// Before a service, for those that call it.
    pub fn service(&self, name: &str) -> &Proxy {
        &self.find(name).proxy
    }

    fn find(&self, name: &str) -> &Service {
        let found = self.services.iter().find(|service| service.name == name);
        found.expect("the platform has such a service")
    }

    /// The settings that lead a platform through the gates.
    pub(crate) fn settings(&self, db: &TestDb) -> Vec<(String, String)> {
        let mut settings = vec![("S3_ENDPOINT".to_owned(), self.store.clone())];
        for service in &self.services {
            let (name, upper) = (service.name, service.name.to_uppercase());
            for (setting, role) in [("DB_URL", "app"), ("DB_RELAY_URL", "relay")] {
                let url = self.postgres.url_of(&db.url(&format!("{name}_{role}")));
                settings.push((format!("{upper}_{setting}"), url));
            }
            let url = format!("http://{}", service.listen.address());
            settings.push((format!("{upper}_GRPC_URL"), service.proxy.url_of(&url)));
        }
        settings
    }

    /// Starts everything as [`stack::start`] does, but with services that listen on ports.
    pub(crate) async fn start(&self, mut configs: Configs, public: TcpListener, process: &Process) {
        configs.niche.s3.endpoint = self.s3.url_of(&self.store);
        let Configs {
            gateway,
            auth,
            tenant,
            niche,
            search,
        } = configs;
        let listener = async |name: &str| {
            let address = self.find(name).listen.address().to_string();
            let bound = rpc::Listener::bind(&address).await;
            bound.expect("the port is reserved")
        };
        let (at, p) = (listener("auth").await, process.clone());
        part(process, "auth", auth::run(auth.clone(), at, p.clone()));
        part(process, "auth-worker", auth::run_worker(auth, p.clone()));
        let at = listener("tenant").await;
        part(
            process,
            "tenant",
            tenant::run(tenant.clone(), at, p.clone()),
        );
        part(
            process,
            "tenant-worker",
            tenant::run_worker(tenant, p.clone()),
        );
        let at = listener("niche").await;
        part(process, "niche", niche::run(niche.clone(), at, p.clone()));
        part(process, "niche-worker", niche::run_worker(niche, p.clone()));
        let at = listener("search").await;
        part(
            process,
            "search",
            search::run(search.clone(), at, p.clone()),
        );
        part(
            process,
            "search-worker",
            search::run_worker(search, p.clone()),
        );
        part(process, "gateway", gateway::run(gateway, public, p));
    }
}

impl Surroundings {
    /// Those of a platform behind gates.
    pub fn behind(gates: &Arc<Gates>) -> Self {
        Self {
            amqp: testkit::amqp_through(&gates.amqp),
            redis: testkit::redis_through(&gates.redis),
            gates: Some(Arc::clone(gates)),
            ..Self::default()
        }
    }
}

fn part(
    process: &Process,
    name: &'static str,
    running: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let shutdown = process.shutdown.clone();
    process.tasks.spawn(name, async move {
        if let Err(error) = running.await {
            tracing::error!("{name} stopped: {error:#}");
            shutdown.begin();
        }
    });
}
