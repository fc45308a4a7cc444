//! Events through a real broker and a real outbox.
#![expect(
    clippy::unwrap_used,
    clippy::large_futures,
    reason = "a failing test may say so by panicking, and its futures live on its own stack"
)]

mod consumer;
mod dead_letters;
mod faults;
mod outage;
mod probe;
mod relay;
