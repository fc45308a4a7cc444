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

/// Commits within this time share one notification.
const GATHER: Duration = Duration::from_millis(2);

/// Sends the notifications of one service.
pub(crate) struct Wake {
    asked: Arc<AtomicBool>,
    statement: Arc<str>,
}

impl Wake {
    pub(crate) fn new(schema: &str) -> Self {
        // The listener gains nothing from a notification that survives a crash, so nobody waits for the disk.
        let statement = format!(
            "select set_config('synchronous_commit', 'off', true), pg_notify('outbox_{schema}', '')"
        );
        Self {
            asked: Arc::new(AtomicBool::new(false)),
            statement: statement.into(),
        }
    }

    /// Called after a commit with events. Returns at once.
    #[expect(
        clippy::disallowed_methods,
        reason = "it lasts for milliseconds, and losing it at shutdown delays an event by one look of the relay"
    )]
    pub(crate) fn after_commit(&self, pool: &Pool) {
        if self.asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let (asked, statement, pool) = (
            Arc::clone(&self.asked),
            Arc::clone(&self.statement),
            pool.clone(),
        );
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            let lease = pool.lease().await;
            // From here on a commit asks anew: this notification may be on its way already.
            asked.store(false, Ordering::Release);
            let Ok(mut lease) = lease else { return };
            let sent = sqlx::query(AssertSqlSafe(&*statement))
                .execute(lease.connection())
                .await;
            match sent {
                Ok(_) => pool.keep(lease),
                Err(error) => {
                    tracing::debug!(%error, "the relay was not woken; it finds the events at its next look")
                }
            }
        });
    }
}
