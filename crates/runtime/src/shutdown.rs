//! The one signal that everything long-lived watches.

use tokio_util::sync::CancellationToken;

/// Tells that the process is ending. Clones share one state; beginning twice is the same as once.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether the signal has been given.
    pub fn is_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the signal is given; at once if it was.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` until it ends or the signal is given; `None` means that it was dropped half way.
    pub async fn or<F: Future>(&self, work: F) -> Option<F::Output> {
        self.0.run_until_cancelled(work).await
    }

    /// A signal that follows this one and can also be given alone, for a part of the process.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_follows_its_parent_and_not_the_other_way_round() {
        let parent = Shutdown::new();
        let child = parent.child();
        child.begin();
        assert!(child.is_begun() && !parent.is_begun());
        let other = parent.child();
        parent.begin();
        other.begun().await;
        assert_eq!(other.or(std::future::pending::<()>()).await, None);
    }
}
