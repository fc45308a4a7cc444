//! The reference server of `benches/fastify`.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::platform::{DATABASE, Surroundings, free_port, mortal, run};
use super::{http, patiently, pgbench, tokens};

const FOLDER: &str = "benches/fastify";
const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);
/// Database connections in all, as many as the service that answers the read has.
const CONNECTIONS: usize = 10;

/// The running server; dropped, it is killed, and its workers with it.
pub(super) struct Fastify {
    child: Child,
    pub(super) address: String,
}

impl Fastify {
    /// Installs its packages and starts it with as many workers as there are cores.
    pub(super) fn start(surroundings: &Surroundings, token: &str) -> Result<Self> {
        let folder = surroundings.root().join(FOLDER);
        run(&folder, "npm", &["ci", "--silent", "--no-progress"])?;
        let port = free_port()?;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let claims = tokens::claims(token)?;
        let text = |name: &str| {
            let value = claims.get(name).and_then(serde_json::Value::as_str);
            value.with_context(|| format!("the token has no {name}"))
        };
        let child = mortal(Path::new("node"))
            .arg("server.js")
            .current_dir(&folder)
            .envs(pgbench::environment(surroundings)?)
            .env("PGDATABASE", DATABASE)
            .env("PORT", port.to_string())
            .env("WORKERS", workers.to_string())
            .env("POOL_MAX", CONNECTIONS.div_ceil(workers).to_string())
            .env("JWT_KEY_FILE", surroundings.signing_key())
            .env("JWT_ISSUER", text("iss")?)
            .env("JWT_AUDIENCE", text("aud")?)
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start node")?;
        let mut server = Self {
            child,
            address: format!("127.0.0.1:{port}"),
        };
        let unknown = http::request("GET /", None, None);
        let ready = patiently(PATIENCE, STEP, || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the Fastify server ended with {status}");
            }
            let answer = http::Connection::open(&server.address)
                .and_then(|mut connection| connection.exchange(&unknown));
            Ok(answer.ok())
        })?;
        ensure!(ready.is_some(), "the Fastify server did not start");
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Fastify {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
