//! The search service through its gRPC port and its worker's handlers, on real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod embedder;
mod harness;
mod indexing;
mod plans;
mod quality;
mod tenancy;
mod walk;
