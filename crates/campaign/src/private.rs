//! Servers of one proof's own, which it may stop, kill and empty.

mod postgres;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::ports::Port;
pub use postgres::PrivatePostgres;

/// An Erlang machine beside compilers may need this long.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// How often a server is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The system's wrapper insists on a user of its own, so the script behind it is called.
const RABBIT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const RABBIT_CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
/// What a broker wants to have free; with less it takes no more messages.
const FREE_MIN: &str = "100MB";
/// More than any disk has.
const FREE_NEVER: &str = "1000000GB";

/// A server as a child of this process, with a folder of its own. Killed with this value.
pub struct PrivateServer {
    /// How clients reach it.
    pub url: String,
    kind: Kind,
    port: Port,
    /// Erlang has two more: one where nodes find each other, one where they talk.
    names: Port,
    distribution: Port,
    folder: TempDir,
    running: Option<Child>,
    name_server: Option<Child>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rabbit,
    Redis,
}

impl PrivateServer {
    /// A RabbitMQ, once it answers.
    pub async fn rabbitmq() -> Self {
        let port = Port::reserve();
        let url = format!("amqp://guest:guest@{}/%2f", port.address());
        Self::start_new(Kind::Rabbit, port, url).await
    }

    /// A Redis, once it answers.
    pub async fn redis() -> Self {
        let port = Port::reserve();
        let url = format!("redis://{}/0", port.address());
        Self::start_new(Kind::Redis, port, url).await
    }

    async fn start_new(kind: Kind, port: Port, url: String) -> Self {
        let mut server = Self {
            url,
            kind,
            port,
            names: Port::reserve(),
            distribution: Port::reserve(),
            folder: tempfile::tempdir().unwrap(),
            running: None,
            name_server: None,
        };
        server.start().await;
        server
    }

    /// Starts it, and waits until it answers.
    pub async fn start(&mut self) {
        let child = match self.kind {
            Kind::Redis => self.redis_command().spawn(),
            Kind::Rabbit => self.rabbit_command().spawn(),
        };
        self.running = Some(child.expect("the servers of the tests are installed"));
        let answering = async {
            while !self.answers().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(READY_PATIENCE, answering)
            .await
            .expect("the server answers in time");
    }

    /// SIGKILL, as the kernel does it to whoever takes too much memory.
    pub fn kill(&mut self) {
        self.signal("KILL");
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
    }

    /// Deletes everything that it has kept. Only while it is stopped.
    pub fn wipe(&mut self) {
        assert!(self.running.is_none(), "stop it first");
        let kept = self.folder.path().join("mnesia");
        std::fs::remove_dir_all(kept).unwrap();
    }

    /// From now on a RabbitMQ believes its disk to be full, and takes no message (<https://www.rabbitmq.com/docs/disk-alarms>).
    pub fn fill_disk(&self) {
        self.want_free(FREE_NEVER);
    }

    /// There is room again.
    pub fn free_disk(&self) {
        self.want_free(FREE_MIN);
    }

    fn want_free(&self, size: &str) {
        let mut told = quiet(self.rabbit_environment(RABBIT_CONTROL));
        told.args(["set_disk_free_limit", size]);
        assert!(told.status().unwrap().success(), "the broker is told");
    }

    fn signal(&mut self, name: &str) {
        let Some(mut child) = self.running.take() else {
            return;
        };
        let leader = format!("-{}", child.id());
        // The script and the machine that it started are one process group.
        let _gone = Command::new("kill")
            .args([&format!("-{name}"), "--", &leader])
            .status();
        let _status = child.wait();
    }

    async fn answers(&self) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let Ok(mut stream) = TcpStream::connect(self.port.address()).await else {
            return false;
        };
        // A wrong header is answered with the right one, by a broker that is ready.
        let question: &[u8] = match self.kind {
            Kind::Rabbit => b"AMQP\x01\x01\x00\x01",
            Kind::Redis => b"PING\r\n",
        };
        let mut answer = [0; 4];
        stream.write_all(question).await.is_ok() && stream.read_exact(&mut answer).await.is_ok()
    }

    fn redis_command(&self) -> Command {
        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &self.port.number().to_string(),
            ])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder.path());
        quiet(command)
    }

    fn rabbit_command(&mut self) -> Command {
        if self.name_server.is_none() {
            let mut epmd = Command::new("epmd");
            let names = self.names.number().to_string();
            epmd.args(["-port", &names, "-address", "127.0.0.1"]);
            self.name_server = Some(quiet(epmd).spawn().unwrap());
            write_settings(self.folder.path(), &self.port);
        }
        quiet(self.rabbit_environment(RABBIT))
    }

    /// A program of the broker's, which finds this one and nothing of the system's.
    fn rabbit_environment(&self, program: &str) -> Command {
        let home = self.folder.path().to_owned();
        let [port, names, distribution] =
            [&self.port, &self.names, &self.distribution].map(|port| port.number().to_string());
        let at = |name: &str| -> PathBuf { home.join(name) };
        let mut command = Command::new(program);
        command
            .env("HOME", &home)
            .env("ERL_EPMD_PORT", names)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("proof{port}@localhost"))
            .env("RABBITMQ_NODE_PORT", port)
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("node.pid"))
            .env("RABBITMQ_CONF_ENV_FILE", at("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", at("generated"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut names) = self.name_server.take() {
            let _gone = names.kill();
            let _status = names.wait();
        }
    }
}

fn write_settings(home: &Path, port: &Port) {
    let settings = format!(
        "listeners.tcp.local = {}\nlog.file.level = warning\nlog.console = false\ndisk_free_limit.absolute = {FREE_MIN}\n",
        port.address()
    );
    std::fs::write(home.join("rabbitmq.conf"), settings).unwrap();
    std::fs::write(home.join("enabled_plugins"), "[].\n").unwrap();
    // Stands in for the system's own file, which could rename the node.
    std::fs::write(home.join("rabbitmq-env.conf"), "").unwrap();
}

/// In a process group of its own, so that all of it ends together.
fn quiet(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt as _;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}
