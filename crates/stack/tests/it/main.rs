//! The laptop's one process, as the operating system starts it.
#![expect(clippy::unwrap_used, reason = "a failing test may say so by panicking")]

mod start;
