//! Where a server takes its calls from.

use std::collections::HashMap;
use std::io;
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::endpoint::{Endpoint, Place};
use crate::guard::Guard;

/// How long a call waits for a service of the same process that has not started yet.
const START_MAX: Duration = Duration::from_secs(1);

/// A bound place: a port, or a name within the process.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A name within the process; calls reach the service without a connection.
    Memory(String),
}

impl Listener {
    /// Binds an address such as `127.0.0.1:7001` or `mem:auth`. A port that is taken is an error that names it.
    pub async fn bind(address: &str) -> io::Result<Self> {
        if let Some(name) = address.strip_prefix("mem:") {
            return Ok(Self::memory(name));
        }
        let bound = TcpListener::bind(address).await;
        bound.map(Self::Tcp).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })
    }

    /// A name within the process.
    pub fn memory(name: &str) -> Self {
        Self::Memory(name.to_owned())
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Memory(name) => Ok(Endpoint::memory(name)),
            Self::Tcp(listener) => {
                let uri = format!("http://{}", listener.local_addr()?)
                    .parse()
                    .map_err(io::Error::other)?;
                Ok(Endpoint {
                    place: Place::Net(uri),
                })
            }
        }
    }
}

static SERVED: LazyLock<RwLock<HashMap<String, Guard>>> = LazyLock::new(RwLock::default);
/// Changes whenever a service appears.
static APPEARED: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Keeps a service reachable under its name; dropping it ends that.
pub(crate) struct Registration(String);

impl Registration {
    pub(crate) fn new(name: String, guard: Guard) -> io::Result<Self> {
        let mut served = SERVED.write().unwrap_or_else(PoisonError::into_inner);
        if served.contains_key(&name) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("mem:{name} is served already"),
            ));
        }
        served.insert(name.clone(), guard);
        drop(served);
        APPEARED.send_modify(|version| *version += 1);
        Ok(Self(name))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        SERVED
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.0);
    }
}

pub(crate) fn find(name: &str) -> Option<Guard> {
    SERVED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(name)
        .cloned()
}

/// Waits a moment for a service that is about to start.
pub(crate) async fn wait_for(name: &str) -> Option<Guard> {
    let mut appeared = APPEARED.subscribe();
    tokio::time::timeout(START_MAX, async {
        loop {
            if let Some(guard) = find(name) {
                return Some(guard);
            }
            appeared.changed().await.ok()?;
        }
    })
    .await
    .ok()
    .flatten()
}
