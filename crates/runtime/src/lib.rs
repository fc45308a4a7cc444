//! A process: its settings, telemetry, health and metrics port, tasks and orderly end.
//!
//! A binary calls [`run`] and receives a [`Process`]; everything long-lived is started through [`Tasks`] and watches [`Shutdown`].
//! Nothing else in the workspace reads the environment, spawns a bare task or listens to signals.
#![warn(missing_docs)]

pub mod admin;
mod background;
mod command;
mod fault;
mod health;
mod metrics;
mod process;
pub mod redact;
pub mod settings;
mod shutdown;
mod tasks;
pub mod telemetry;

pub use background::{Background, Turn};
pub use command::{Command, command, words};
pub use health::{Health, Readiness};
pub use metrics::{LATENCY_BUCKETS_S, Metrics};
pub use process::{DRAIN_MAX, Process, ProcessSettings, run};
pub use settings::{Profile, Reader};
pub use shutdown::Shutdown;
pub use tasks::Tasks;

/// A message is many small pieces that live for a millisecond, and glibc's allocator took a seventh of the processor time of a list. What this
/// one saves and costs stands among the decisions of ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
