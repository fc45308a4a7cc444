//! Every service and every worker as an operating-system process of its own, as a cluster runs them.
//!
//! A fleet has its own database, names on the broker, keys in Redis, object store, ports, settings and folders; logs go to files and are
//! shown when a test fails. Processes are named after their binary: `auth`, `niche-worker`, with a number where there are several of
//! them (`gateway-1`, `auth-2`). Where a service has replicas, its callers and the tests reach it through a [`Balancer`].

mod balancer;
mod build;
mod member;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use kernel::Clock;
use runtime::{Process, Profile};
use serde_json::json;
use stack::ObjectStore;
use stack::demo::{Client, Resident, Walk};
use tempfile::TempDir;
use testkit::{Proxy, TestDb};

use crate::embedder::FakeEmbedder;
use crate::faults::Fault;
use crate::ports::Port;
pub use balancer::Balancer;
pub use build::Build;
use member::Member;
use settings::Ground;

/// A debug build beside compilers may need this long.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// The drain of a process takes 25 seconds at most.
const END_PATIENCE: Duration = Duration::from_secs(35);
/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// What a failed test shows of each log.
const LINES_SHOWN: usize = 12;

/// The services that own a schema.
pub(crate) const SERVICES: [&str; 4] = ["auth", "tenant", "niche", "search"];

/// What a fleet consists of and what it depends on.
#[derive(Clone)]
pub struct FleetPlan {
    /// `gateway-1` to `gateway-<n>`.
    pub gateways: usize,
    /// Processes of each service: with two there are `auth` and `auth-2`, and a balancer before them. Workers are one each.
    pub replicas: usize,
    /// The way to RabbitMQ.
    pub amqp: Option<Arc<Proxy>>,
    /// The way to Redis.
    pub redis: Option<Arc<Proxy>>,
    /// The way to PostgreSQL, for services and workers alone.
    pub postgres: Option<Arc<Proxy>>,
    /// The superuser's address of another PostgreSQL than that of all tests.
    pub database: Option<String>,
    /// Settings of every process, before all others.
    pub settings: Vec<(String, String)>,
    /// Which binaries.
    pub build: Build,
}

impl Default for FleetPlan {
    fn default() -> Self {
        Self {
            gateways: 2,
            replicas: 1,
            amqp: None,
            redis: None,
            postgres: None,
            database: None,
            settings: Vec::new(),
            build: Build::Faulty,
        }
    }
}

impl FleetPlan {
    /// Adds a setting of every process.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A platform of real processes; dropped, all of them are killed.
pub struct Fleet {
    /// Where the balancer before the gateways answers.
    pub base_url: String,
    /// Where mails are written, one file each.
    pub mail_dir: PathBuf,
    /// The database of all services.
    pub db: TestDb,
    /// What the broker's names start with, and how it is reached without a proxy.
    pub amqp: events::Config,
    members: BTreeMap<String, Member>,
    _store: Port,
    _embedder: FakeEmbedder,
    /// Balancers and the object store live in this process.
    own: Process,
    folder: TempDir,
}

impl Fleet {
    /// Starts all processes at the same time and waits until each is ready.
    pub async fn start(plan: FleetPlan) -> Self {
        let fleet = Self::prepare(plan).await;
        for name in fleet.names() {
            fleet.spawn(&name);
        }
        for name in fleet.names() {
            fleet.wait_ready(&name).await;
        }
        fleet
    }

    /// Prepares everything, the first data included, and starts no process.
    pub async fn prepare(plan: FleetPlan) -> Self {
        let (binaries, target) = build::binaries(plan.build).await;
        let scratch = target.join("tmp");
        std::fs::create_dir_all(&scratch).unwrap();
        let folder = tempfile::Builder::new()
            .prefix("fleet-")
            .tempdir_in(scratch)
            .unwrap();
        // Links of our own: a build beside this test may replace the originals at any moment.
        for binary in build::NAMES {
            std::fs::hard_link(binaries.join(binary), folder.path().join(binary)).unwrap();
        }
        let ground = Ground::lay(&plan, folder.path()).await;
        let own = Process::new("fleet", Profile::Dev, Clock::system());
        ObjectStore::start(&ground.stack.store, &own).await.unwrap();
        let mut members = settings::members(&plan, folder.path());
        let urls = settings::addresses(&plan, &members, &own).await;
        for member in members.values_mut() {
            member.settings = ground.settings_of(member, &urls.services);
        }
        let fleet = Self {
            base_url: urls.public,
            mail_dir: folder.path().join("mail"),
            db: ground.db,
            amqp: ground.amqp,
            members,
            _store: ground.store,
            _embedder: ground.embedder,
            own,
            folder,
        };
        fleet.seed().await;
        fleet
    }

    /// The catalogue and the first platform admin, by the binaries' own command.
    async fn seed(&self) {
        for service in ["tenant", "auth"] {
            let member = self.member(service);
            member.run(&["seed"]);
            let status = self.ended(service).await;
            assert!(
                status.success(),
                "{service} seed: {status}\n{}",
                member.log()
            );
        }
    }

    /// The names of all processes, services before gateways.
    pub fn names(&self) -> Vec<String> {
        let (gateways, others): (Vec<_>, Vec<_>) = self
            .members
            .keys()
            .cloned()
            .partition(|name| name.starts_with("gateway"));
        others.into_iter().chain(gateways).collect()
    }

    /// Starts a process and returns at once.
    pub fn spawn(&self, name: &str) {
        self.spawn_with(name, &[]);
    }

    /// Starts a process with further settings, for this one life of it.
    pub fn spawn_with(&self, name: &str, settings: &[(&str, &str)]) {
        self.member(name).spawn(settings);
    }

    /// Starts a process whose time of day is wrong by so many seconds.
    pub fn spawn_at_wrong_time(&self, name: &str, seconds: i64) {
        let library = Fault::ClockSkew.compile(self.folder());
        let library = library.to_str().expect("the folder has a plain name");
        let settings = [
            ("LD_PRELOAD", library),
            ("CLOCK_SKEW_S", &seconds.to_string()),
        ];
        self.spawn_with(name, &settings);
    }

    /// SIGKILL; answers when the process is gone. Nothing happens to one that is gone already.
    pub async fn kill(&self, name: &str) {
        self.member(name).kill();
        self.ended(name).await;
    }

    /// Sends a signal by name, for example `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str, signal: &str) {
        self.member(name).signal(signal);
    }

    /// SIGTERM; answers how the process ended.
    pub async fn terminate(&self, name: &str) -> ExitStatus {
        self.signal(name, "TERM");
        self.ended(name).await
    }

    /// SIGTERM, and a new process when the old one has ended well.
    pub async fn restart(&self, name: &str) {
        let status = self.terminate(name).await;
        assert!(
            status.success(),
            "{name} did not end in order: {status}\n{}",
            self.member(name).log()
        );
        self.spawn(name);
        self.wait_ready(name).await;
    }

    /// Waits until a process has ended, by itself or by a signal.
    pub async fn ended(&self, name: &str) -> ExitStatus {
        let ending = async {
            loop {
                if let Some(status) = self.member(name).try_wait() {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(END_PATIENCE, ending).await {
            Ok(status) => status,
            Err(_) => panic!("{name} does not end\n{}", self.member(name).log()),
        }
    }

    /// Whether a process lives.
    pub fn is_running(&self, name: &str) -> bool {
        self.member(name).is_running()
    }

    /// Waits until a process says that it is ready; one that ends instead is a failure. Answers how long it took from its start.
    pub async fn wait_ready(&self, name: &str) -> Duration {
        let member = self.member(name);
        let waiting = async {
            loop {
                assert!(
                    member.is_running(),
                    "{name} ended instead of becoming ready\n{}",
                    member.log()
                );
                if balancer::is_ready(member.admin.address()).await {
                    return member.age();
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(READY_PATIENCE, waiting).await {
            Ok(age) => age,
            Err(_) => panic!("{name} does not become ready\n{}", member.log()),
        }
    }

    /// Whether a process says at this moment that it is ready.
    pub async fn is_ready(&self, name: &str) -> bool {
        balancer::is_ready(self.member(name).admin.address()).await
    }

    /// Where a process serves: HTTP for a gateway, gRPC for a service.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}", self.member(name).serving.address())
    }

    /// Where a process tells its health and metrics.
    pub fn admin_url(&self, name: &str) -> String {
        format!("http://{}", self.member(name).admin.address())
    }

    /// The id that the system gave a process.
    pub fn pid(&self, name: &str) -> u32 {
        self.member(name).pid()
    }

    /// Memory that a process has in RAM.
    pub fn resident_bytes(&self, name: &str) -> u64 {
        member::resident_bytes(self.pid(name), false)
    }

    /// The most memory that a process has had in RAM since it was started.
    pub fn peak_resident_bytes(&self, name: &str) -> u64 {
        member::resident_bytes(self.pid(name), true)
    }

    /// The binary of a process.
    pub fn binary(&self, name: &str) -> &Path {
        &self.member(name).binary
    }

    /// What a process was told, except what [`Fleet::spawn_with`] adds.
    pub fn settings(&self, name: &str) -> &BTreeMap<String, String> {
        &self.member(name).settings
    }

    /// Everything that a process and its predecessors of the same name have written.
    pub fn log(&self, name: &str) -> String {
        self.member(name).log()
    }

    /// The folder of this fleet, for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client without a credential, through the balancer.
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
        self.sign_in("admin@example.com", crate::ADMIN_PASSWORD)
            .await
    }

    /// Registers somebody with a tenant of their own.
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

    fn member(&self, name: &str) -> &Member {
        let known = self.members.get(name);
        known.unwrap_or_else(|| panic!("there is no process {name}: {:?}", self.names()))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (name, member) in &self.members {
                eprintln!("--- {name}\n{}", member.last_words(LINES_SHOWN));
            }
        }
        for member in self.members.values() {
            member.kill();
        }
        for member in self.members.values() {
            member.reap();
        }
        self.own.shutdown.begin();
    }
}
