//! One part of the tests alone.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod database;
