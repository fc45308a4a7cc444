//! Whoever restarts a process in order disturbs nobody.

mod rolling;
mod signals;
