//! The thread that makes and drops databases.
//!
//! A thread of its own, because each test has its own runtime and the connection must outlive them all: it holds the lock that tells other processes that ours lives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread;

use db::ServiceRoles;
use kernel::{Clock, Ids};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{mpsc, oneshot};

use super::PASSWORD;

/// First keys of the advisory locks: of a running process, and of the templates.
const PROCESS_LOCK: i32 = 0x7465_7374;
const TEMPLATE_LOCK: i32 = 0x7465_6d70;
/// Templates of one service that are kept: of this state of the migrations, and of the branches that somebody else works on.
const TEMPLATES_KEPT: i64 = 4;

/// What a test's database is cloned from.
pub(super) struct Template {
    pub(super) name: String,
    pub(super) services: Vec<(String, Migrator)>,
}

enum Request {
    Clone(Template, oneshot::Sender<Result<String, String>>),
    Drop(String),
}

/// The thread of one server.
#[derive(Clone)]
pub(super) struct Janitor {
    pub(super) server: PgConnectOptions,
    requests: mpsc::UnboundedSender<Request>,
}

impl Janitor {
    /// Of the server of all tests.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are configured by one variable, before there are settings"
    )]
    pub(super) fn of_tests() -> Self {
        let url = std::env::var("TESTKIT_DATABASE_URL")
            .unwrap_or_else(|_| panic!("TESTKIT_DATABASE_URL is not set: run `./dev test`, or `./dev up` once and `. deploy/local/test-env.sh`"));
        Self::of(&url)
    }

    /// Of the server at `url`, one for all tests of this process.
    pub(super) fn of(url: &str) -> Self {
        static JANITORS: Mutex<BTreeMap<String, Janitor>> = Mutex::new(BTreeMap::new());
        let mut janitors = JANITORS.lock().unwrap_or_else(PoisonError::into_inner);
        let janitor = janitors
            .entry(url.to_owned())
            .or_insert_with(|| Self::start(url));
        janitor.clone()
    }

    fn start(url: &str) -> Self {
        let server: PgConnectOptions = url.parse().unwrap_or_else(|error| {
            panic!("the address of the test server cannot be read: {error}")
        });
        let (requests, receiver) = mpsc::unbounded_channel();
        let options = server
            .clone()
            .application_name("testkit")
            .disable_statement_logging();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a thread can have a runtime");
            runtime.block_on(serve(options, receiver));
        });
        Self { server, requests }
    }

    /// Clones the template, which is made first if need be. Answers the name of the new database.
    pub(super) async fn clone_of(&self, template: Template) -> String {
        let (sender, receiver) = oneshot::channel();
        self.requests
            .send(Request::Clone(template, sender))
            .unwrap_or_else(|_| panic!("the thread for test databases has ended"));
        match receiver.await {
            Ok(Ok(name)) => name,
            Ok(Err(problem)) => panic!("{problem}"),
            Err(_) => panic!("the thread for test databases has ended"),
        }
    }

    /// Drops a database in the background. What is not done when the process ends is left to the next one.
    pub(super) fn drop_later(&self, name: String) {
        if self.requests.send(Request::Drop(name)).is_err() {
            tracing::debug!("a test database is left to the next test process");
        }
    }
}

async fn serve(options: PgConnectOptions, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut worker = None;
    let mut made = 0_u32;
    while let Some(request) = requests.recv().await {
        match request {
            Request::Clone(template, reply) => {
                if worker.is_none() {
                    match Worker::start(&options).await {
                        Ok(started) => worker = Some(started),
                        Err(error) => {
                            reply
                                .send(Err(format!(
                                    "the test server cannot be used ({error}); `./dev up` starts it"
                                )))
                                .ok();
                            continue;
                        }
                    }
                }
                let Some(worker) = worker.as_mut() else {
                    continue;
                };
                made += 1;
                let name = format!("tk_{:08x}_{made}", worker.run);
                reply
                    .send(worker.make(&template, &name).await.map(|()| name))
                    .ok();
            }
            Request::Drop(name) => {
                let Some(worker) = worker.as_mut() else {
                    continue;
                };
                if let Err(error) = worker.drop_database(&name).await {
                    tracing::debug!(%error, name, "a test database is left to the next test process");
                }
            }
        }
    }
}

struct Worker {
    options: PgConnectOptions,
    connection: PgConnection,
    /// Names this process among the databases.
    run: i32,
}

impl Worker {
    async fn start(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(options).await?;
        let id = Ids::random(Clock::system()).next();
        let bytes = id.as_bytes();
        // Half of the range, so that the name has no sign; the last bytes are the random ones.
        let run = i32::from_be_bytes([bytes[12] & 0x7f, bytes[13], bytes[14], bytes[15]]);
        sqlx::query("select pg_advisory_lock($1, $2)")
            .bind(PROCESS_LOCK)
            .bind(run)
            .execute(&mut connection)
            .await?;
        let mut worker = Self {
            options: options.clone(),
            connection,
            run,
        };
        worker.sweep().await?;
        Ok(worker)
    }

    /// Drops the databases of processes that no longer hold their lock.
    async fn sweep(&mut self) -> Result<(), sqlx::Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "select datname::text from pg_database where datname ~ '^tk_[0-9a-f]{8}_'",
        )
        .fetch_all(&mut self.connection)
        .await?;
        for name in names {
            let Some(run) = name
                .get(3..11)
                .and_then(|hex| i32::from_str_radix(hex, 16).ok())
            else {
                continue;
            };
            if run == self.run {
                continue;
            }
            let is_dead: bool = sqlx::query_scalar("select pg_try_advisory_lock($1, $2)")
                .bind(PROCESS_LOCK)
                .bind(run)
                .fetch_one(&mut self.connection)
                .await?;
            if is_dead {
                // Somebody else may sweep the same one.
                self.drop_database(&name).await.ok();
                sqlx::query("select pg_advisory_unlock($1, $2)")
                    .bind(PROCESS_LOCK)
                    .bind(run)
                    .execute(&mut self.connection)
                    .await?;
            }
        }
        Ok(())
    }

    async fn make(&mut self, template: &Template, name: &str) -> Result<(), String> {
        for _ in 0..3 {
            self.lock("pg_advisory_lock_shared").await?;
            let cloned = self.try_clone(template, name).await;
            self.lock("pg_advisory_unlock_shared").await?;
            if cloned.map_err(explain)? {
                return Ok(());
            }
            self.lock("pg_advisory_lock").await?;
            let made = self.make_template(template).await;
            self.lock("pg_advisory_unlock").await?;
            made?;
        }
        Err(format!(
            "the template {} disappears as soon as it is made",
            template.name
        ))
    }

    async fn lock(&mut self, function: &str) -> Result<(), String> {
        let sql = format!("select {function}({TEMPLATE_LOCK}, 0)");
        self.execute(sql).await.map_err(explain)
    }

    /// `false` when there is no finished template.
    async fn try_clone(&mut self, template: &Template, name: &str) -> Result<bool, sqlx::Error> {
        if !self.is_made(template).await? {
            return Ok(false);
        }
        self.execute(format!("create database {name} template {}", template.name))
            .await?;
        // Privileges on the database itself are not copied.
        let mut grants = format!("revoke all on database {name} from public");
        for (service, _) in &template.services {
            grants.push_str(&format!("; grant connect on database {name} to {service}_owner, {service}_app, {service}_relay"));
        }
        self.execute(grants).await?;
        Ok(true)
    }

    async fn is_made(&mut self, template: &Template) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from pg_database where datname = $1 and datistemplate)",
        )
        .bind(&template.name)
        .fetch_one(&mut self.connection)
        .await
    }

    async fn make_template(&mut self, template: &Template) -> Result<(), String> {
        if self.is_made(template).await.map_err(explain)? {
            return Ok(());
        }
        let name = &template.name;
        // What another process left half made has no mark and is made anew.
        self.drop_database(name).await.map_err(explain)?;
        self.execute(format!("create database {name}"))
            .await
            .map_err(explain)?;
        let url = |role: &str| {
            let server = self.options.clone().database(name);
            let server = if role.is_empty() {
                server
            } else {
                server.username(role).password(PASSWORD)
            };
            server.to_url_lossy().to_string()
        };
        let roles: Vec<ServiceRoles> = template
            .services
            .iter()
            .map(|(service, _)| ServiceRoles::with_one_password(service, PASSWORD))
            .collect();
        db::bootstrap(&url(""), &roles)
            .await
            .map_err(|error| format!("preparing a test database: {}", chain(&error)))?;
        for (service, migrator) in &template.services {
            let migrated = db::migrate(&url(&format!("{service}_owner")), migrator, service).await;
            migrated.map_err(|error| format!("migrating a test database: {}", chain(&error)))?;
        }
        // Nobody may connect any more, or cloning would fail; the mark says that it is finished.
        self.execute(format!(
            "alter database {name} with allow_connections false is_template true"
        ))
        .await
        .map_err(explain)?;
        self.drop_old_templates(name).await.map_err(explain)
    }

    async fn drop_old_templates(&mut self, name: &str) -> Result<(), sqlx::Error> {
        let family = name.rsplit_once('_').map_or(name, |(family, _)| family);
        let old: Vec<String> = sqlx::query_scalar(
            "select datname::text from pg_database where datname ~ ('^' || $1 || '_[0-9a-f]{16}$') and datistemplate order by oid desc offset $2",
        )
        .bind(family)
        .bind(TEMPLATES_KEPT)
        .fetch_all(&mut self.connection)
        .await?;
        for name in old {
            self.drop_database(&name).await?;
        }
        Ok(())
    }

    async fn drop_database(&mut self, name: &str) -> Result<(), sqlx::Error> {
        let known: bool = sqlx::query_scalar(
            "select exists (select from pg_database where datname = $1 and datistemplate)",
        )
        .bind(name)
        .fetch_one(&mut self.connection)
        .await?;
        if known {
            self.execute(format!("alter database {name} is_template false"))
                .await?;
        }
        self.execute(format!("drop database if exists {name} with (force)"))
            .await
    }

    /// One statement after the other: CREATE and DROP DATABASE refuse to share a message.
    async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        for statement in sql.split("; ") {
            self.connection
                .execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())))
                .await?;
        }
        Ok(())
    }
}

fn explain(error: sqlx::Error) -> String {
    format!("making a test database: {error}")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
