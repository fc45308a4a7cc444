//! The contract as Rust: messages, clients and servers of every service, and what the contract says about them.
//!
//! `src/gen` is written by `cargo xtask proto` from the `.proto` files and committed. The modules beside it read the generated tables:
//! [`policy`] (who may call a method), [`event`] (what a message is called on the bus), [`pii`] (which fields are personal data),
//! [`rules`] (what a request must satisfy), [`json`] (the public form of a message), [`Document`] (free-form data within one), [`shape`] and [`wire`] (what transcoding works with).
#![warn(missing_docs)]

use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

mod document;
pub mod event;
pub mod json;
pub mod pii;
pub mod policy;
pub mod rules;
pub mod shape;
pub mod wire;

#[expect(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generators write it; what a message means is said in its .proto file"
)]
#[path = "gen/mod.rs"]
#[rustfmt::skip]
mod generated;

pub use document::Document;
pub use event::Event;
pub use generated::*;
pub use prost_protovalidate::Validate;
pub use rules::{Violation, validate};

/// The encoded `FileDescriptorSet` of the contract, with imports, options and comments.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The contract for reflection: read once per process, shared by all.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(DESCRIPTORS).expect("the generator wrote a valid descriptor set")
    })
}

/// The descriptor of a message type of the contract.
pub(crate) fn descriptor_of<M: prost::Name>() -> MessageDescriptor {
    pool()
        .get_message_by_name(&M::full_name())
        .expect("every generated message is in the descriptor set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_knows_services_and_options() {
        let service = pool()
            .get_service_by_name("auth.v1.SessionService")
            .unwrap();
        let login = service
            .methods()
            .find(|method| method.name() == "Login")
            .unwrap();
        let policy = pool()
            .get_extension_by_name("tenantry.api.v1.policy")
            .unwrap();
        assert!(login.options().has_extension(&policy));
    }
}
