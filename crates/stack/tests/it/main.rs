//! The laptop's one process, as the operating system starts it.

mod start;
