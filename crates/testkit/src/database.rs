//! A database per test: cloned from a template that is migrated once per state of the migrations, and dropped after the test.
//!
//! Correct for any number of test processes at once: templates are made and dropped under an advisory lock of the server, and the databases of a process that
//! died are recognised by the lock that it no longer holds.

mod janitor;

use std::time::Duration;

use db::{Db, Envelope};
use kernel::{Clock, Ids};
use ring::digest::{Context, SHA256};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use janitor::{Janitor, Template};

/// The password of every role on the test server, which listens on the loopback address alone.
const PASSWORD: &str = "testkit";
/// Small, so that tests that run side by side stay below `max_connections`.
const POOL_MAX: u32 = 8;

/// A fresh, migrated database of one test. Dropped with this value.
pub struct TestDb {
    janitor: Janitor,
    name: String,
    services: Vec<String>,
}

impl TestDb {
    /// A database with one service's schema, migrated to the newest state.
    ///
    /// # Panics
    /// Without a test server: the message says how to start it.
    pub async fn new(service: &str, migrator: &Migrator) -> Self {
        Self::with_services(&[(service, migrator)]).await
    }

    /// A database with the schemas of several services, as a laptop has it.
    pub async fn with_services(services: &[(&str, &Migrator)]) -> Self {
        Self::clone_by(Janitor::of_tests(), services).await
    }

    /// The same on a server of the test's own; its superuser comes with `url`.
    pub async fn with_services_on(url: &str, services: &[(&str, &Migrator)]) -> Self {
        Self::clone_by(Janitor::of(url), services).await
    }

    async fn clone_by(janitor: Janitor, services: &[(&str, &Migrator)]) -> Self {
        let template = Template {
            name: template_name(services),
            services: services
                .iter()
                .map(|(name, migrator)| ((*name).to_owned(), copy_of(migrator)))
                .collect(),
        };
        let names = services
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let name = janitor.clone_of(template).await;
        Self {
            janitor,
            name,
            services: names,
        }
    }

    /// How a service reaches this database: of the first or only service.
    pub fn config(&self) -> db::Config {
        self.config_of(&self.services[0])
    }

    /// How `service` reaches this database.
    pub fn config_of(&self, service: &str) -> db::Config {
        db::Config {
            url: self.url(&format!("{service}_app")).into(),
            relay_url: self.url(&format!("{service}_relay")).into(),
            owner_url: Some(self.url(&format!("{service}_owner")).into()),
            schema: service.to_owned(),
            pool_max: POOL_MAX,
            acquire_timeout: Duration::from_secs(1),
            slow_after: Duration::from_secs(1),
            migrate_on_startup: false,
        }
    }

    /// The connection string of a role, for example `auth_app`.
    pub fn url(&self, role: &str) -> String {
        self.janitor
            .server
            .clone()
            .username(role)
            .password(PASSWORD)
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    /// The superuser's connection string, for tests of what must be refused.
    pub fn admin_url(&self) -> String {
        self.janitor
            .server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    /// A handle with the machine's clock and random ids.
    pub async fn db(&self) -> Db {
        let clock = Clock::system();
        self.db_with(Ids::random(clock.clone()), clock).await
    }

    /// A handle with the test's own ids and clock.
    pub async fn db_with(&self, ids: Ids, clock: Clock) -> Db {
        Db::connect(&self.config(), ids, clock)
            .await
            .expect("a fresh test database takes its runtime role")
    }

    /// A connection that no policy restricts: to look at what is really there, never to do what the product does.
    pub async fn admin(&self) -> PgConnection {
        PgConnection::connect(&self.admin_url())
            .await
            .expect("the test server takes its superuser")
    }

    /// A bare connection as `role`, for attacks.
    pub async fn role(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.url(role))
            .await
            .expect("the roles of a service can log in")
    }

    /// The events of the first service that wait for the broker, in their order.
    pub async fn events(&self) -> Vec<Envelope> {
        self.events_of(&self.services[0]).await
    }

    /// The events of `service` that wait for the broker, in their order.
    pub async fn events_of(&self, service: &str) -> Vec<Envelope> {
        let mut admin = self.admin().await;
        let sql = format!("select envelope from {service}.outbox order by seq");
        let rows: Vec<serde_json::Value> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut admin)
            .await
            .expect("the service has an outbox");
        rows.into_iter()
            .map(|row| serde_json::from_value(row).expect("an outbox row holds an envelope"))
            .collect()
    }

    /// Fails unless the catalogue gate passes: for the tenancy test of every service.
    pub async fn assert_gate_passes(&self) {
        let findings = db::gate::check(&mut self.admin().await)
            .await
            .expect("the gate runs on any prepared database");
        let lines: Vec<String> = findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.rule, finding.object, finding.problem))
            .collect();
        assert!(
            lines.is_empty(),
            "the catalogue gate found:\n{}",
            lines.join("\n")
        );
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        self.janitor.drop_later(std::mem::take(&mut self.name));
    }
}

fn copy_of(migrator: &Migrator) -> Migrator {
    Migrator::with_migrations(migrator.iter().cloned().collect())
}

/// Equal for equal migrations and bootstrap, so that a template serves every test until one of them changes.
fn template_name(services: &[(&str, &Migrator)]) -> String {
    let mut hash = Context::new(&SHA256);
    hash.update(db::bootstrap::SQL.as_bytes());
    for (service, migrator) in services {
        hash.update(service.as_bytes());
        for migration in migrator.iter() {
            hash.update(&migration.version.to_be_bytes());
            hash.update(&migration.checksum);
        }
    }
    let label = if services.len() == 1 {
        services[0].0
    } else {
        "several"
    };
    let digest = hash.finish();
    let hex: String = digest.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("tkt_{label}_{hex}")
}
