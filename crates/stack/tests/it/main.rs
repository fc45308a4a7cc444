//! The platform as a whole, over its public port.

mod platform;
mod walk;
