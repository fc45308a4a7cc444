//! The auth service over its real port, on a real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot arrange its scene has failed"
)]

mod access;
mod flood;
mod guessing;
mod news;
mod refresh;
mod refresh_races;
mod service;
mod sign_in;
mod sign_up;
mod tenancy;
mod tenants;
mod tokens;
mod worker;
