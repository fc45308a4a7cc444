//! Proofs about the whole platform: the harnesses that start it, and how long each proof goes on.
//!
//! The tests in `tests/it` use them twice: in a short form with `./dev test`, and in a long one with `cargo xtask campaign <name>`.
#![warn(missing_docs)]
#![expect(
    clippy::unwrap_used,
    reason = "a test uses this crate, and in a test a panic is the report"
)]

mod embedder;
mod extent;
mod faults;
mod fleet;
mod gates;
pub mod load;
mod platform;
mod ports;
mod private;
pub mod reckoning;

pub use embedder::{FakeEmbedder, Mood};
pub use extent::Extent;
pub use fleet::{Balancer, Build, Fleet, FleetPlan};
pub use gates::Gates;
pub use platform::{ADMIN_PASSWORD, Platform, Surroundings};
pub use private::{PrivatePostgres, PrivateServer};
