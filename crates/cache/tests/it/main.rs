//! The cache against a real Redis, and without one.
#![expect(clippy::unwrap_used, reason = "a failing test may say so by panicking")]

mod cached;
mod limits;
mod lock;
mod outage;
