//! A process from outside: its settings, its admin port, its logs and its end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod admin;
mod collector;
mod logs;
mod process;
mod setting_properties;
mod settings;
