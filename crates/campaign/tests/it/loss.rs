//! Nothing is lost and nothing happens twice, whatever process dies at whatever moment.

mod binaries;
mod kills;
mod points;
mod start_up;
