//! Wakes the streams of access changes when one is committed anywhere.

use std::time::Duration;

use runtime::Process;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgListener;
use tokio::sync::watch;

/// The channel that `auth.record_access_change` notifies.
const CHANNEL: &str = "auth_access_changes";
/// Pause before a lost connection is made anew; until then the streams look by themselves with each heartbeat.
const AGAIN: Duration = Duration::from_millis(500);

/// Tells that something may have changed. A missed wake-up costs at most one heartbeat: streams read what is stored, never what was notified.
#[derive(Clone)]
pub struct AccessNews(watch::Receiver<u64>);

impl AccessNews {
    /// Listens on a connection of its own until the shutdown of the process.
    pub fn listen(config: &db::Config, process: &Process) -> Self {
        let (bell, news) = watch::channel(0);
        let (url, shutdown) = (config.url.clone(), process.shutdown.clone());
        process.tasks.spawn("auth-access-listener", async move {
            while !shutdown.is_begun() {
                if let Some(Err(error)) = shutdown.or(ring(&url, &bell)).await {
                    tracing::debug!(%error, "not listening for changes of access; trying again");
                }
                shutdown.or(tokio::time::sleep(AGAIN)).await;
            }
        });
        Self(news)
    }

    /// Returns when something may have changed, or after `patience`.
    pub async fn wait(&mut self, patience: Duration) {
        match tokio::time::timeout(patience, self.0.changed()).await {
            Ok(Ok(())) | Err(_) => {}
            // The listener has ended with the process; the patience still paces the caller.
            Ok(Err(_)) => tokio::time::sleep(patience).await,
        }
    }
}

async fn ring(url: &SecretString, bell: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url.expose_secret()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        // Also once after connecting: what happened in between was not heard.
        bell.send_modify(|count| *count += 1);
        listener.recv().await?;
    }
}
