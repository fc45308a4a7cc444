//! Who may call what, and that nobody sees or changes anything of another tenant.
//!
//! Everything here is generated from the contract: the methods from its descriptors, the roles from `roles.yaml`, the tables from the
//! live catalogue. Two files are data: `data/methods.json` has a request for each method, `data/matrix.txt` the answer to each caller.

mod canaries;
mod contract;
mod cursors;
mod foreign;
mod inventory;
mod keys;
mod mass_assignment;
mod matrix;
mod objects;
mod people;
mod rows;
mod rules;
mod teeth;
mod wire;
mod witness;
mod world;
