//! Tokens: what is forged opens nothing, what is refreshed does not fork, what is revoked is dead.

mod context_forgeries;
mod endings;
mod enumeration;
mod forgeries;
mod inside;
mod refresh;
mod rest;
mod revocation;
mod scene;
mod service;
mod services;
mod town;
mod workshop;
