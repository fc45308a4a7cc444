//! What tests need: a database each, callers, time that stands still, and isolated names on the shared servers.
//!
//! Never a dependency of the product, only of its tests.
#![warn(missing_docs)]

mod broker;
mod clock;
mod context;
mod database;
mod object_store;
mod proxy;
mod redis;
pub mod rpc;

pub use broker::{amqp, amqp_through, broker};
pub use clock::{clock, eventually, ids};
pub use context::{ANN, BOB, Caller, TENANT_A, TENANT_B, context};
pub use database::TestDb;
pub use object_store::ObjectStore;
pub use proxy::Proxy;
pub use redis::{cache, redis, redis_through};
pub use rpc::{Rpc, context_token, identity, keyring};
