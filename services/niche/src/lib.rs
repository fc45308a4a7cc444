//! Under construction.
pub mod actions;
pub mod forms;
pub mod kits;
pub mod mappings;
