//! Events through RabbitMQ: from the outbox to the handlers, at least once, in the order of their subjects, without losing any.
//!
//! A service runs [`relay`] beside its server; a worker runs [`consume`] once per queue. Neither fails when the broker is down: rows
//! wait in the outbox, messages wait in their queues. What cannot be handled goes up a ladder of pauses and ends among the
//! [`dead_letters`]. In tests, [`flush`] and [`drain`] do the same step by step.
//!
//! Fail points for fault tests: `relay.before_publish`, `relay.after_publish`, `relay.before_delete`, `consumer.before_handler`,
//! `consumer.before_ack`; each takes `return` and then behaves as if the process had died there. At `relay.before_confirm` a process can only
//! really die.
#![warn(missing_docs)]

pub mod dead_letters;

mod broker;
mod config;
mod consume;
mod delivery;
mod drain;
mod metrics;
mod missed;
mod publish;
mod relay;
mod republish;
mod settle;
mod topology;
mod trace;

pub use broker::Broker;
pub use config::Config;
pub use consume::{consume, declare};
pub use delivery::Delivery;
pub use drain::{Drained, drain};
pub use relay::{flush, relay};
pub use republish::republish;
pub use topology::{Ladder, Queue};
