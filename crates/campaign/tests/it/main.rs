//! The platform as a whole: what holds whatever is done to it.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod outages;
mod walk;
