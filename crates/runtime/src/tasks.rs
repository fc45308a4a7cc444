//! Tracked tasks, so that none is lost at the end and none dies unseen.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::shutdown::Shutdown;

/// First pause before a supervised task is started again; it doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
/// A task that keeps failing is tried twice a minute: often enough to heal, too rarely to flood the log.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts tasks and knows which are alive. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    alive: Arc<Mutex<BTreeMap<u64, Cow<'static, str>>>>,
    next: Arc<AtomicU64>,
    panics: Arc<AtomicU64>,
}

impl Tasks {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `work` under a name that an operator understands.
    ///
    /// A panic is logged with the name and counted, and the handle reports it. Dropping the handle detaches the task.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that may start a task"
    )]
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let name = name.into();
        let entry = self.enter(name.clone());
        let panics = Arc::clone(&self.panics);
        let guarded = async move {
            let _entry = entry;
            match AssertUnwindSafe(work).catch_unwind().await {
                Ok(output) => output,
                Err(payload) => {
                    panics.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(task = %name, "the task {name} panicked");
                    resume_unwind(payload)
                }
            }
        };
        tokio::spawn(self.tracker.track_future(guarded.in_current_span()))
    }

    /// Keeps a task running until `shutdown`: when it ends or panics before that, it is started again after a growing pause.
    pub fn supervise<M, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        shutdown: Shutdown,
        mut make: M,
    ) -> JoinHandle<()>
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let panics = Arc::clone(&self.panics);
        self.spawn(name.clone(), async move {
            let mut pause = RESTART_PAUSE;
            loop {
                let outcome = AssertUnwindSafe(make()).catch_unwind().await;
                if outcome.is_err() {
                    panics.fetch_add(1, Ordering::Relaxed);
                }
                if shutdown.is_begun() {
                    return;
                }
                let how = if outcome.is_err() { "panicked" } else { "ended early" };
                tracing::error!(task = %name, pause_ms = millis(pause), "the task {name} {how} and is started again");
                if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
            }
        })
    }

    /// Names of the tasks that are running, with repetitions.
    pub fn alive(&self) -> Vec<String> {
        self.lock()
            .values()
            .map(|name| name.clone().into_owned())
            .collect()
    }

    /// How many tasks have panicked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Waits until every task has ended; `false` when `patience` ran out first.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait())
            .await
            .is_ok()
    }

    fn enter(&self, name: Cow<'static, str>) -> Entry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, name);
        Entry {
            id,
            alive: Arc::clone(&self.alive),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Cow<'static, str>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a task off the list when it ends, however it ends.
struct Entry {
    id: u64,
    alive: Arc<Mutex<BTreeMap<u64, Cow<'static, str>>>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_counted_and_reported_and_the_others_live_on() {
        let tasks = Tasks::new();
        let bad = tasks.spawn("bad", async { panic!("no") });
        let good = tasks.spawn("good", async { 7 });
        assert!(bad.await.unwrap_err().is_panic());
        assert_eq!((good.await.unwrap(), tasks.panics()), (7, 1));
        assert!(tasks.alive().is_empty());
    }

    #[tokio::test]
    async fn draining_waits_and_names_those_that_stay() {
        let tasks = Tasks::new();
        let stay = tasks.spawn("stubborn", std::future::pending::<()>());
        assert!(!tasks.drain(Duration::from_millis(10)).await);
        assert_eq!(tasks.alive(), ["stubborn"]);
        stay.abort();
        assert!(tasks.drain(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_supervised_task_comes_back_after_a_panic_until_shutdown() {
        let (tasks, shutdown) = (Tasks::new(), Shutdown::new());
        let runs = Arc::new(AtomicU64::new(0));
        let (count, end) = (Arc::clone(&runs), shutdown.clone());
        let handle = tasks.supervise("phoenix", shutdown, move || {
            let (run, end) = (count.fetch_add(1, Ordering::SeqCst), end.clone());
            async move {
                assert!(run != 0, "the first run fails");
                if run == 2 {
                    end.begin();
                }
            }
        });
        handle.await.unwrap();
        assert_eq!((runs.load(Ordering::SeqCst), tasks.panics()), (3, 1));
    }
}
