//! The contract as Rust: messages, clients and servers of every service.
//!
//! `src/gen` is written by `cargo xtask proto` from the `.proto` files and committed.
#![warn(missing_docs)]

#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generators write it; what a message means is said in its .proto file"
)]
#[path = "gen/mod.rs"]
#[rustfmt::skip]
mod generated;

pub use generated::*;

/// The encoded `FileDescriptorSet` of the contract, with imports, options and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
