//! Secrets that are derived rather than stored: the database holds only their hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A secret on its way to its owner. Never logged, never stored; wiped when dropped.
pub type Secret = Zeroizing<String>;

/// Derives tokens from what the database knows and a key that it does not.
#[derive(Clone)]
pub struct Derivation(hmac::Key);

impl Derivation {
    /// `key` is the setting `AUTH_TOKEN_KEY`; changing it ends every open verification link and every retry of a lost refresh.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token of a verification link. Whoever sends the mail derives it again, so no queue and no table ever holds it.
    pub fn verification(&self, verification_id: Uuid) -> Secret {
        self.derive(b"verify-email", &[verification_id.as_bytes()])
    }

    /// The refresh token that follows `token`. A retry after a lost answer derives the same one, so a family cannot fork.
    pub fn successor(&self, token: &str, family_id: Uuid, generation: i32) -> Secret {
        self.derive(
            b"refresh-successor",
            &[
                token.as_bytes(),
                family_id.as_bytes(),
                &generation.to_be_bytes(),
            ],
        )
    }

    /// A name for counting failed sign-ins that does not tell the address, network or person behind it.
    pub fn attempt_key(&self, kind: &str, parts: &[&str]) -> Vec<u8> {
        let parts: Vec<&[u8]> = std::iter::once(kind)
            .chain(parts.iter().copied())
            .map(str::as_bytes)
            .collect();
        self.tag(b"sign-in-attempts", &parts).as_ref().to_vec()
    }

    fn derive(&self, label: &[u8], parts: &[&[u8]]) -> Secret {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.tag(label, parts)))
    }

    /// Each part carries its length, so that no two lists of parts run into the same bytes.
    fn tag(&self, label: &[u8], parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&label).chain(parts) {
            context.update(
                &u64::try_from(part.len())
                    .expect("a length fits into 64 bits")
                    .to_be_bytes(),
            );
            context.update(part);
        }
        context.sign()
    }
}

/// A new opaque token of 256 random bits.
pub fn random_token() -> kernel::Result<Secret> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    SystemRandom::new()
        .fill(bytes.as_mut())
        .map_err(|_| kernel::Error::internal("the operating system has no randomness"))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

/// What the database keeps of a token. A plain hash is enough: the token has 256 bits, so there is nothing to guess.
pub fn fingerprint(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_depends_on_all_that_it_follows() {
        let derivation = Derivation::new(b"key");
        let family = Uuid::from_u128(1);
        let one = derivation.successor("token", family, 1);
        assert_eq!(one, derivation.successor("token", family, 1));
        assert_eq!(one.len(), 43);
        assert_ne!(one, derivation.successor("token", family, 2));
        assert_ne!(one, derivation.successor("token", Uuid::from_u128(2), 1));
        assert_ne!(one, derivation.successor("tokem", family, 1));
        assert_ne!(one, Derivation::new(b"other").successor("token", family, 1));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let derivation = Derivation::new(b"key");
        assert_ne!(
            derivation.attempt_key("a", &["bc", "d"]),
            derivation.attempt_key("a", &["b", "cd"])
        );
    }

    #[test]
    fn random_tokens_differ() {
        assert_ne!(random_token().unwrap(), random_token().unwrap());
    }
}
