//! A process from outside: its settings, its admin port, its logs and its end.

mod admin;
mod logs;
mod process;
mod settings;
