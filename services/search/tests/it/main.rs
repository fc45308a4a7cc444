//! The search service through its gRPC port and its worker's handlers, on real PostgreSQL.

mod embedder;
mod harness;
mod indexing;
mod quality;
mod tenancy;
