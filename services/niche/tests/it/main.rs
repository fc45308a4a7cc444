//! The niche service through its gRPC port, on real PostgreSQL.

mod batch;
mod harness;
mod kits;
mod listing;
mod niches;
mod records;
mod search_documents;
mod tenancy;
