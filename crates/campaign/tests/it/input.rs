//! Bad input at scale: whatever is sent, the answer is one of the contract's, the process lives, and its memory stays bounded.

mod contract;
mod grpc;
mod oversized;
mod schemathesis;
mod slow;
mod smuggling;
mod spoofing;
mod stage;
mod volume;
mod wire;
