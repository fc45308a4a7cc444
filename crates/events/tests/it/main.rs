//! Events through a real broker and a real outbox.

mod consumer;
mod dead_letters;
mod faults;
mod outage;
mod probe;
mod relay;
