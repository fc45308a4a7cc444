//! One operating-system process.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kernel::Clock;

use crate::ports::Port;

/// A process by its name, over all of its lives.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) binary: PathBuf,
    pub(super) serving: Port,
    pub(super) admin: Port,
    pub(super) settings: BTreeMap<String, String>,
    log: PathBuf,
    life: Mutex<Option<Life>>,
}

struct Life {
    child: Child,
    began: Instant,
    ended: Option<ExitStatus>,
}

impl Member {
    pub(super) fn new(name: String, folder: &Path) -> Self {
        let binary = folder.join(binary_of(&name));
        let log = folder.join(format!("{name}.log"));
        Self {
            name,
            binary,
            serving: Port::reserve(),
            admin: Port::reserve(),
            settings: BTreeMap::new(),
            log,
            life: Mutex::new(None),
        }
    }

    /// The service that the process belongs to: `auth` for `auth-worker` and `auth-2`.
    pub(super) fn service(&self) -> &str {
        self.name.split('-').next().unwrap_or(&self.name)
    }

    pub(super) fn spawn(&self, further: &[(&str, &str)]) {
        self.begin(&[], further);
    }

    /// Runs another command of the binary than `serve`.
    pub(super) fn run(&self, arguments: &[&str]) {
        self.begin(arguments, &[]);
    }

    fn begin(&self, arguments: &[&str], further: &[(&str, &str)]) {
        let mut life = self.life();
        if let Some(life) = life.as_mut() {
            assert!(life.look().is_some(), "{} lives already", self.name);
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let child = Command::new(&self.binary)
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .envs(further.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *life = Some(Life {
            child,
            began: Clock::system().instant(),
            ended: None,
        });
    }

    pub(super) fn try_wait(&self) -> Option<ExitStatus> {
        let mut life = self.life();
        let life = life.as_mut();
        life.unwrap_or_else(|| panic!("{} was never started", self.name))
            .look()
    }

    pub(super) fn is_running(&self) -> bool {
        self.life()
            .as_mut()
            .is_some_and(|life| life.look().is_none())
    }

    pub(super) fn kill(&self) {
        if let Some(life) = self.life().as_mut() {
            // It may have ended by itself.
            let _ = life.child.kill();
        }
    }

    pub(super) fn reap(&self) {
        if let Some(life) = self.life().as_mut() {
            let _ = life.child.wait();
        }
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &pid])
            .output()
            .unwrap();
        assert!(
            sent.status.success() || !self.is_running(),
            "{}",
            String::from_utf8_lossy(&sent.stderr)
        );
    }

    pub(super) fn pid(&self) -> u32 {
        let life = self.life();
        let life = life.as_ref();
        life.unwrap_or_else(|| panic!("{} was never started", self.name))
            .child
            .id()
    }

    pub(super) fn age(&self) -> Duration {
        let began = self.life().as_ref().map(|life| life.began);
        let now = Clock::system().instant();
        began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    pub(super) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that tell more than a request that went well.
    pub(super) fn last_words(&self, count: usize) -> String {
        let log = self.log();
        let telling = |line: &&str| !line.contains("\"request\"");
        let mut lines: Vec<_> = log.lines().rev().filter(telling).take(count).collect();
        lines.reverse();
        lines.join("\n")
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    fn look(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }
}

/// `auth` for `auth-2`, `auth-worker` for `auth-worker`.
fn binary_of(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((binary, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => binary,
        _ => name,
    }
}

/// From the kernel's own account: what a process has in RAM, or the most that it ever had.
pub(super) fn resident_bytes(pid: u32, is_peak: bool) -> u64 {
    let name = if is_peak { "VmHWM:" } else { "VmRSS:" };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
