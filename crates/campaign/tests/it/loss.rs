//! Nothing is lost and nothing happens twice, whatever process dies at whatever moment.

mod binaries;
mod database;
mod kills;
mod points;
mod scene;
mod start_up;
