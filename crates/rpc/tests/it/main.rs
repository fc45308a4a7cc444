//! The guard, the channels and the mapping of failures, over real connections.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod crypto;
mod errors;
mod forgery;
mod goaway;
mod limits;
mod logs;
mod memory;
mod metadata;
mod policy;
mod silence;
mod streams;
mod stub;
mod tls;
