//! Nothing is lost and nothing happens twice, whatever process dies at whatever moment.

mod start_up;
