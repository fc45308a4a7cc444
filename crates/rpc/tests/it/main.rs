//! The guard, the channels and the mapping of failures, over real connections.

mod crypto;
mod errors;
mod forgery;
mod limits;
mod logs;
mod memory;
mod metadata;
mod policy;
mod streams;
mod stub;
