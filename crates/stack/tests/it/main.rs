//! The platform as a whole, over its public port.

mod outages;
mod platform;
mod walk;
