//! The gateway through its port: real HTTP in front, the contract's own gRPC servers behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod bodies;
mod documents;
mod fake;
mod limits;
mod problems;
mod properties;
mod protocol;
mod remembering;
mod stage;
mod streaming;
mod uploads;
