//! A PostgreSQL of one proof's own, as durable as in production: it may be restarted and killed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::faults::Fault;
use crate::ports::Port;

/// Where Debian keeps every version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// A recovery beside compilers may need this long.
const READY_SECONDS: &str = "120";

/// A server with a folder and a port of its own. Ended with this value.
pub struct PrivatePostgres {
    /// How its superuser reaches it.
    pub url: String,
    port: Port,
    binaries: PathBuf,
    folder: TempDir,
    /// A library that the server is started with.
    preloaded: Option<PathBuf>,
}

impl PrivatePostgres {
    /// A server without any data, once it answers. It waits for the disk at every commit, which that of the other tests does not.
    pub fn start() -> Self {
        let server = Self::prepare();
        server.go_on();
        server
    }

    /// The same on a disk that [`PrivatePostgres::fill_disk`] fills. Its write-ahead log has a disk of its own.
    pub fn start_on_a_disk_that_fills() -> Self {
        let mut server = Self::prepare();
        server.preloaded = Some(Fault::FullDisk.compile(server.folder.path()));
        server.go_on();
        server
    }

    /// From now on no table grows.
    pub fn fill_disk(&self) {
        fs::write(self.full_disk_flag(), []).unwrap();
    }

    /// There is room again.
    pub fn free_disk(&self) {
        fs::remove_file(self.full_disk_flag()).unwrap();
    }

    fn full_disk_flag(&self) -> PathBuf {
        self.folder.path().join("full")
    }

    fn prepare() -> Self {
        let port = Port::reserve();
        let folder = tempfile::Builder::new()
            .prefix("proof-postgres-")
            .tempdir()
            .unwrap();
        let server = Self {
            url: format!("postgres://postgres@{}/postgres", port.address()),
            port,
            binaries: newest_binaries(),
            folder,
            preloaded: None,
        };
        if is_root() {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(server.folder.path())
                .status();
            assert!(owned.unwrap().success(), "the folder is given to postgres");
        }
        server.run(
            "initdb",
            &[
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ],
        );
        server
    }

    /// Ends all sessions, stops and starts again, as for an update.
    pub fn restart(&self) {
        self.run(
            "pg_ctl",
            &["stop", "--mode=fast", "--wait", "--timeout", READY_SECONDS],
        );
        self.go_on();
    }

    /// SIGKILL to all its processes at the same moment; the next start has to recover.
    pub fn kill(&self) {
        let pid_file = self.data().join("postmaster.pid");
        let content = fs::read_to_string(&pid_file).expect("it runs");
        let postmaster = content
            .lines()
            .next()
            .expect("its first line is the process");
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        let killed = Command::new("kill")
            .args(["-KILL", postmaster])
            .args(children.unwrap_or_default().split_whitespace())
            .stderr(Stdio::null())
            .status();
        killed.expect("there is kill");
        while fs::read_to_string(format!("/proc/{postmaster}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            std::thread::yield_now();
        }
        // A zombie of the old number would make the new server believe in another one.
        fs::remove_file(pid_file).unwrap();
    }

    /// Starts it again, and waits until it answers.
    pub fn go_on(&self) {
        let options = format!(
            "-p {} -c unix_socket_directories='' -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=64MB -c jit=off -c log_min_messages=fatal",
            self.port.number()
        );
        let log = self.folder.path().join("log");
        let log = log.to_str().expect("the folder has a plain name");
        let wait = ["--wait", "--timeout", READY_SECONDS, "--log", log];
        let start = ["start", "--options", &options];
        self.run("pg_ctl", &[&start[..], &wait[..]].concat());
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.command(program).args(arguments).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{program} {arguments:?} failed: {}",
            fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
        );
    }

    /// PostgreSQL refuses to run as root; then its own system user runs it.
    fn command(&self, program: &str) -> Command {
        let program = self.binaries.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // The server outlives pg_ctl and must hold none of its streams, or whoever reads them waits for ever.
        command
            .current_dir(self.folder.path())
            .env("PGDATA", self.data())
            .envs(self.preloaded.iter().map(|library| ("LD_PRELOAD", library)))
            .env("FULL_DISK_FLAG", self.full_disk_flag())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let _stopped = self
            .command("pg_ctl")
            .args(["stop", "--mode=immediate", "--wait"])
            .status();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn newest_binaries() -> PathBuf {
    let version = |folder: &Path| -> Option<u32> { folder.file_name()?.to_str()?.parse().ok() };
    let versions = fs::read_dir(VERSIONS).expect("the servers of the tests are installed");
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| folder.join("bin/initdb").exists())
        .max_by_key(|folder| version(folder));
    newest
        .expect("the servers of the tests are installed")
        .join("bin")
}
