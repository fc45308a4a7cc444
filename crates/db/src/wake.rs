//! Wakes the relay after a commit.
//!
//! Not from within the transaction: NOTIFY makes commits queue up behind one lock of the whole server, each with its own fsync. Measured on two cores with eight
//! writers: 3,000 commits per second without it, 450 with it. So one process sends one notification for many commits, in a transaction that writes nothing
//! it would have to wait for. If the process ends in between, the relay finds the events at its next look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::pool::Pool;

/// How long the first commit after a quiet time waits for others to share its notification.
const GATHER: Duration = Duration::from_millis(2);
/// The pause between two notifications while commits keep coming. Each wakes the relay, which then reads everything that waits: fewer and
/// larger readings cost less.
const PAUSE: Duration = Duration::from_millis(10);

/// Sends the notifications of one service.
pub(crate) struct Wake {
    state: Arc<State>,
    statement: Arc<str>,
}

#[derive(Default)]
struct State {
    /// Something was committed that no notification has told yet.
    asked: AtomicBool,
    /// A task lives that will look at `asked` once more.
    watched: AtomicBool,
}

impl State {
    /// Answers whether the task that watches may end. A commit in between is either seen here or starts the next task.
    fn may_end(&self) -> bool {
        self.watched.store(false, Ordering::SeqCst);
        !self.asked.load(Ordering::SeqCst) || self.watched.swap(true, Ordering::SeqCst)
    }
}

impl Wake {
    pub(crate) fn new(schema: &str) -> Self {
        // The listener gains nothing from a notification that survives a crash, so nobody waits for the disk.
        let statement = format!(
            "select set_config('synchronous_commit', 'off', true), pg_notify('outbox_{schema}', '')"
        );
        Self {
            state: Arc::default(),
            statement: statement.into(),
        }
    }

    /// Called after a commit with events. Returns at once.
    #[expect(
        clippy::disallowed_methods,
        reason = "it lasts for milliseconds, and losing it at shutdown delays an event by one look of the relay"
    )]
    pub(crate) fn after_commit(&self, pool: &Pool) {
        self.state.asked.store(true, Ordering::SeqCst);
        if self.state.watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let (state, statement, pool) = (
            Arc::clone(&self.state),
            Arc::clone(&self.statement),
            pool.clone(),
        );
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            loop {
                if state.asked.swap(false, Ordering::SeqCst) {
                    notify(&pool, &statement).await;
                    tokio::time::sleep(PAUSE).await;
                } else if state.may_end() {
                    return;
                }
            }
        });
    }
}

async fn notify(pool: &Pool, statement: &str) {
    let Ok(mut lease) = pool.lease().await else {
        return;
    };
    let sent = sqlx::query(AssertSqlSafe(statement))
        .execute(lease.connection())
        .await;
    match sent {
        Ok(_) => pool.keep(lease),
        Err(error) => {
            tracing::debug!(%error, "the relay was not woken; it finds the events at its next look")
        }
    }
}
