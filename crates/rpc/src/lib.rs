//! gRPC both ways: who calls, what may be called, how long it may take, and what went wrong.
//!
//! A service is served by [`Server`], which verifies tokens and enforces the declared policy before a handler runs; a handler is
//! wrapped by [`unary`], [`server_stream`] or [`client_stream`]. A caller gets its
//! [`Channel`] and its metadata from a [`Peer`].
#![warn(missing_docs)]

mod body;
mod channel;
mod circuit;
mod context;
mod crypto_provider;
mod endpoint;
mod guard;
mod handler;
mod identity;
mod listener;
mod peer;
mod record;
mod server;
pub mod status;
mod tls;
pub mod token;
mod trace;
mod unsent;

pub use channel::{Channel, connect};
pub use crypto_provider::install_crypto;
pub use endpoint::Endpoint;
pub use handler::{Inbound, Outbound, client_stream, server_stream, unary};
pub use identity::{Identity, Keyring, PublicKey, Trust};
pub use listener::Listener;
pub use peer::{Forward, Peer};
pub use server::{Limits, Server};
pub use status::{from_peer, from_status, to_status};
pub use tls::Tls;

/// Metadata keys between services. None but the two tokens is ever used to decide who may do what.
pub mod metadata {
    /// The context token, or the service token of an internal call.
    pub const CONTEXT: &str = "tenantry-context";
    /// The gateway's own service token beside a context token; makes the client address and agent believable.
    pub const CALLER: &str = "tenantry-caller";
    /// The id of the request.
    pub const REQUEST_ID: &str = "x-request-id";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// The idempotency key.
    pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
    /// The language of messages.
    pub const ACCEPT_LANGUAGE: &str = "accept-language";
    /// The client's address as the gateway saw it.
    pub const CLIENT_IP: &str = "x-client-ip";
    /// The client's `User-Agent`.
    pub const CLIENT_AGENT: &str = "x-client-agent";
    /// In an answer: it is a stored one.
    pub const REPLAYED: &str = "idempotency-replayed";
}
