//! Redis, as something that may be missing: rate limits, locks and cached values.
//!
//! Nothing durable lives here. A dead Redis costs a request nothing ([`Cache`] stops asking after the first failures and
//! probes once a second) and opens nothing ([`RateLimiter`] goes on counting inside the process).
//!
//! Every key starts with the configured prefix, then either `t:{tenant}:` or one of the few spaces in [`Keys::GLOBAL_SPACES`].
#![warn(missing_docs)]

mod breaker;
mod cached;
mod config;
mod connection;
mod credit;
mod gcra;
mod keys;
mod local;
mod lock;
mod rate;

pub use cached::{Cached, CachedOptions};
pub use config::Config;
pub use connection::Cache;
pub use keys::Keys;
pub use lock::Lock;
pub use rate::{Counted, Limit, Outcome, RateLimiter, Verdict};
