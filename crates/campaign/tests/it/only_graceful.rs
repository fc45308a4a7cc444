//! The proofs of `graceful`, in a process of their own: they hold the process's metrics, log and fail points.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod graceful;
