//! Whoever restarts a process in order disturbs nobody.

mod in_flight;
mod rolling;
mod signals;
