//! The tenant service through its gRPC port, on real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod audit_logs;
mod catalog;
mod harness;
mod tenancy;
mod tenants;
