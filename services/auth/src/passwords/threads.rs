//! The threads that hash, each with working memory of its own.
//!
//! Not the runtime's blocking threads, which come and go under load, and not a new allocation for each hash: the allocator does not give
//! aligned blocks of this size back, so a flood of sign-ins would leave hundreds of megabytes behind.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;
use kernel::{Error, Result};
use zeroize::Zeroize as _;

/// A thread that had nothing to do for so long gives its memory back to the system.
const IDLE: Duration = Duration::from_secs(5);
/// Allocations above 32 MiB always come from the system and go back to it; the allocator keeps smaller ones for later. What is not touched
/// of them takes no memory.
const BLOCKS_OF_THE_SYSTEM: usize = 32 * 1024 + 1;

/// Work for one of the threads.
pub(super) type Job = Box<dyn FnOnce(&mut Memory) + Send>;

/// As many threads as passwords are hashed at once. They end with this.
pub(super) struct Threads(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Threads {
    pub(super) fn start(count: usize) -> Result<Self> {
        let threads = Self(Arc::default());
        for number in 0..count {
            let queue = Arc::clone(&threads.0);
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || queue.work())
                .map_err(Error::internal)?;
        }
        Ok(threads)
    }

    /// Hands work to the next thread that is free. The queue is as long as there are seats.
    pub(super) fn give(&self, job: Job) {
        self.0.lock().jobs.push_back(job);
        self.0.changed.notify_one();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut memory = Memory::default();
        while let Some(job) = self.next(&mut memory) {
            // Whoever waits for the outcome learns of a panic; the thread goes on.
            let _ended = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
            memory.wipe();
        }
    }

    fn next(&self, memory: &mut Memory) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            if memory.0.is_empty() {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && state.jobs.is_empty() {
                *memory = Memory::default();
            }
        }
    }
}

/// The working memory of one hash, kept for the next one.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// So many blocks of a kibibyte.
    pub(super) fn of(&mut self, blocks: usize) -> &mut [Block] {
        if self.0.len() < blocks {
            self.0 = Vec::with_capacity(blocks.max(BLOCKS_OF_THE_SYSTEM));
            self.0.resize(blocks, Block::new());
        }
        &mut self.0[..blocks]
    }

    /// Forgets what the last hash left, from which its password could be guessed faster.
    fn wipe(&mut self) {
        for block in &mut self.0 {
            block.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_survives_a_panic_and_finds_its_memory_again_and_wiped() {
        let threads = Threads::start(1).unwrap();
        let (told, outcome) = mpsc::channel();
        let first = told.clone();
        threads.give(Box::new(move |memory| {
            let blocks = memory.of(64);
            blocks[63].as_mut().fill(7);
            first.send((blocks.as_ptr().addr(), false)).unwrap();
            panic!("a job that goes wrong");
        }));
        threads.give(Box::new(move |memory| {
            let blocks = memory.of(64);
            let mut words = blocks.iter().flat_map(|block| block.as_ref());
            let is_clean = words.all(|word| *word == 0);
            told.send((blocks.as_ptr().addr(), is_clean)).unwrap();
        }));
        let (before, after) = (outcome.recv().unwrap(), outcome.recv().unwrap());
        assert_eq!(before.0, after.0, "the same memory");
        assert!(after.1, "wiped");
    }
}
