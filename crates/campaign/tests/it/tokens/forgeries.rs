//! Some hundred ways to forge an access token, each from a genuine one by a single change.

mod claims;
mod encodings;
mod headers;
mod signatures;

use super::workshop::{Forgery, Workshop};

/// All of them. No two are the same text.
pub fn all(workshop: &Workshop) -> Vec<Forgery> {
    let mut all = Vec::new();
    signatures::collect(workshop, &mut all);
    headers::collect(workshop, &mut all);
    claims::collect(workshop, &mut all);
    encodings::collect(workshop, &mut all);
    all
}
