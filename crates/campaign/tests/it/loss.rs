//! Nothing is lost and nothing happens twice, whatever process dies at whatever moment.

mod binaries;
mod clocks;
mod database;
mod full_disk;
mod kills;
mod points;
mod scene;
mod start_up;
