//! The niche service through its gRPC port, on real PostgreSQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod batch;
mod harness;
mod import_harness;
mod imports;
mod imports_failing;
mod imports_uploading;
mod kit_properties;
mod kits;
mod listing;
mod niches;
mod plans;
mod records;
mod search_documents;
mod tenancy;
