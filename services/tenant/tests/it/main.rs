//! The tenant service through its gRPC port, on real PostgreSQL.

mod audit_logs;
mod catalog;
mod harness;
mod tenancy;
mod tenants;
