//! Work that nobody waits for takes turns.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How much work that nobody waits for goes on at once in a process: imports, the index, vectors. Clones share the turns.
///
/// As many turns as half of the cores, at least one: what a piece of work asks of a database on the same machine keeps a core busy too, and the other
/// half is for requests. Turns are given in the order of asking, so a long import and the index of another tenant advance side by side. A turn is for
/// one batch, a fraction of a second, and is taken before a transaction begins: who waits for a turn holds nothing.
#[derive(Clone, Debug)]
pub struct Background(Arc<Semaphore>);

/// Lasts for one piece of work.
#[derive(Debug)]
pub struct Turn<'b>(#[expect(dead_code, reason = "held for its end")] SemaphorePermit<'b>);

impl Background {
    /// Turns for half of this machine's cores.
    pub fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::of(cores / 2)
    }

    /// So many turns at the same time, at least one.
    pub fn of(turns: usize) -> Self {
        Self(Arc::new(Semaphore::new(turns.max(1))))
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Turn<'_> {
        let permit = self.0.acquire().await;
        Turn(permit.expect("the turns are never closed"))
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn turns_are_given_in_the_order_of_asking() {
        let background = Background::of(0);
        let first = background.turn().await;
        let mut second = Box::pin(background.turn());
        let mut third = Box::pin(background.clone().turn_owned_by_a_test());
        assert!(poll!(&mut second).is_pending(), "one at a time");
        assert!(poll!(&mut third).is_pending(), "clones share the turns");
        drop(first);
        assert!(
            poll!(&mut third).is_pending(),
            "who asked later comes later"
        );
        let std::task::Poll::Ready(second) = poll!(&mut second) else {
            panic!("the turn was free")
        };
        drop(second);
        assert!(poll!(&mut third).is_ready());
    }

    impl Background {
        async fn turn_owned_by_a_test(self) {
            drop(self.turn().await);
        }
    }
}
