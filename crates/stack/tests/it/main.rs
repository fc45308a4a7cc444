//! The platform as a whole, over its public port.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod outages;
mod platform;
mod walk;
