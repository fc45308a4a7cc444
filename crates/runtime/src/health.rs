//! Whether the process can take work.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};

/// A check that takes longer counts as failed; probes themselves usually wait one second.
const CHECK_MAX: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 900 });

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The named checks behind `/health/ready`. Clones share one list.
#[derive(Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Default)]
struct Inner {
    checks: RwLock<Vec<(String, Check)>>,
    /// Parts of the process that have not started yet.
    starting: AtomicUsize,
    draining: AtomicBool,
}

/// What the checks said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The process is ending and must not get new work.
    pub draining: bool,
    /// What is down, with the reason for an operator; names alone may be shown outside.
    pub down: Vec<(String, String)>,
}

impl Readiness {
    /// Whether new work is welcome.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.down.is_empty()
    }
}

impl Health {
    /// No checks and no parts: ready from the start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check; `name` is what an operator calls the thing, for example `postgres`.
    ///
    /// Register only what the process cannot work without: a failing check takes it out of the load balancer.
    pub fn register<F, Fut>(&self, name: impl Into<String>, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.0
            .checks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name.into(), check));
    }

    /// Not ready until [`Health::started`] was called for so many parts more: a check that is not registered yet cannot fail.
    pub fn expect(&self, parts: usize) {
        self.0.starting.fetch_add(parts, Ordering::SeqCst);
    }

    /// A part takes work from now on. Where nobody expected it, nothing changes.
    pub fn started(&self) {
        let left = |starting: usize| starting.checked_sub(1);
        // An error says that nobody expected it.
        let _ = self
            .0
            .starting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
    }

    /// Refuses new work from now on; for the end of the process.
    pub fn start_draining(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the process refuses new work.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Runs all checks at the same time.
    pub async fn readiness(&self) -> Readiness {
        let checks = self
            .0
            .checks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let run = checks.into_iter().map(|(name, check)| async move {
            let reason = match tokio::time::timeout(CHECK_MAX, check()).await {
                Ok(Ok(())) => return None,
                Ok(Err(reason)) => reason,
                Err(_) => format!("no answer within {} ms", CHECK_MAX.as_millis()),
            };
            Some((name, reason))
        });
        let mut down: Vec<_> = join_all(run).await.into_iter().flatten().collect();
        if self.0.starting.load(Ordering::SeqCst) > 0 {
            down.push(("start".to_owned(), "not finished yet".to_owned()));
        }
        Readiness {
            draining: self.is_draining(),
            down,
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("draining", &self.0.draining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_names_what_is_down_and_does_not_wait_for_the_silent() {
        let health = Health::new();
        health.register("fine", || async { Ok(()) });
        health.register("broken", || async { Err("refused".to_owned()) });
        health.register("silent", std::future::pending);
        let readiness = health.readiness().await;
        let names: Vec<_> = readiness
            .down
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["broken", "silent"]);
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn whoever_expects_parts_is_ready_when_the_last_has_started() {
        let health = Health::new();
        health.started();
        health.expect(2);
        health.started();
        assert_eq!(health.readiness().await.down[0].0, "start");
        health.started();
        assert!(health.readiness().await.is_ready());
    }

    #[tokio::test]
    async fn a_draining_process_is_not_ready() {
        let health = Health::new();
        assert!(health.readiness().await.is_ready());
        health.start_draining();
        assert!(!health.readiness().await.is_ready());
    }
}
