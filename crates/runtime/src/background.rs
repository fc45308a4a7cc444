//! Work that nobody waits for takes turns.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How much work that nobody waits for goes on at once in a process: imports, the index, vectors. Clones share the turns.
///
/// As many turns as half of the cores, at least one: what a piece of work asks of a database on the same machine keeps a core busy too, and the other
/// half is for requests. Turns are given in the order of asking, so a long import and the index of another tenant advance side by side. A turn is for
/// one batch, a fraction of a second, and is taken before a transaction begins: who waits for a turn holds nothing.
#[derive(Clone, Debug)]
pub struct Background {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

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
        Self {
            turns: Arc::new(Semaphore::new(turns.max(1))),
            waiting: Arc::default(),
        }
    }

    /// Waits for a turn.
    pub async fn turn(&self) -> Turn<'_> {
        let waiting = Waiting::new(&self.waiting);
        let permit = self.turns.acquire().await;
        drop(waiting);
        Turn(permit.expect("the turns are never closed"))
    }

    /// Whether somebody waits for a turn: work that can wait longer than others may then pause.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Counts who waits, also when the waiting is given up.
struct Waiting<'b>(&'b AtomicUsize);

impl<'b> Waiting<'b> {
    fn new(waiting: &'b AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        assert!(!background.is_wanted());
        let mut second = Box::pin(background.turn());
        let mut third = Box::pin(background.clone().turn_owned_by_a_test());
        assert!(poll!(&mut second).is_pending(), "one at a time");
        assert!(poll!(&mut third).is_pending(), "clones share the turns");
        assert!(background.is_wanted());
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
        let held = background.turn().await;
        let mut given_up = Box::pin(background.turn());
        assert!(poll!(&mut given_up).is_pending());
        drop(given_up);
        assert!(!background.is_wanted(), "who gave up waits no longer");
        drop(held);
    }

    impl Background {
        async fn turn_owned_by_a_test(self) {
            drop(self.turn().await);
        }
    }
}
