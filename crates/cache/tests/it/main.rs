//! The cache against a real Redis, and without one.

mod cached;
mod limits;
mod lock;
mod outage;
