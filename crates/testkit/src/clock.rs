//! Time and ids that a test decides.

use std::time::Duration;

use kernel::{Clock, Ids};

/// A poll in [`eventually`] that takes longer than this has failed.
const EVENTUALLY_SECONDS: u64 = 10;

/// A clock that stands at noon of 1 June 2026 (UTC) until it is advanced.
pub fn clock() -> Clock {
    Clock::manual("2026-06-01T12:00:00Z")
}

/// Ids that count up from 1.
pub fn ids() -> Ids {
    Ids::counted()
}

/// Polls until `probe` gives something, for what another process does in its own time. Panics with `what` after ten seconds.
///
/// Prefer to wait for the thing itself; this is for what tells nobody when it is done.
pub async fn eventually<T, F, P>(what: &str, mut probe: P) -> T
where
    P: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(EVENTUALLY_SECONDS), polling).await {
        Ok(found) => found,
        Err(_) => panic!("waited {EVENTUALLY_SECONDS} s in vain until {what}"),
    }
}
