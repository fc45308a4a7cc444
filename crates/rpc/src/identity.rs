//! Keys: which service is which.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use runtime::Reader;
use secrecy::ExposeSecret;

use crate::tls::Tls;

/// The size of an Ed25519 seed and of a public key.
const KEY_BYTES: usize = 32;

/// The name of a service with the key that proves it. Never printed.
#[derive(Clone)]
pub struct Identity {
    name: Arc<str>,
    key: Arc<Ed25519KeyPair>,
}

/// The public half of an [`Identity`]; its text is standard base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

/// Which public keys each service may sign with. Several keys of one service are in force while its key is being changed.
#[derive(Clone, Debug, Default)]
pub struct Trust(Arc<BTreeMap<String, Vec<PublicKey>>>);

/// Who we are and whom we believe.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Signs our own tokens.
    pub identity: Identity,
    /// Verifies the tokens of others.
    pub trust: Trust,
    /// Protects connections between machines; absent on a laptop.
    pub tls: Option<Tls>,
}

impl Identity {
    /// An identity that lives as long as the process: for the laptop profile and tests.
    ///
    /// # Panics
    /// When the operating system gives no random bytes.
    pub fn generate(name: &str) -> Self {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut seed)
            .expect("the operating system gives random bytes");
        Self::from_seed(name, &seed).expect("any 32 bytes are an Ed25519 seed")
    }

    /// An identity from its 32 secret bytes; `None` when their number is another.
    pub fn from_seed(name: &str, seed: &[u8]) -> Option<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        Some(Self {
            name: name.into(),
            key: Arc::new(key),
        })
    }

    /// The name of the service: `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What others need to believe this identity.
    pub fn public_key(&self) -> PublicKey {
        let mut bytes = [0; KEY_BYTES];
        bytes.copy_from_slice(self.key.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> ring::signature::Signature {
        self.key.sign(message)
    }
}

impl PublicKey {
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .is_ok()
    }

    /// The raw key.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| "a public key is not base64".to_owned())?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| format!("a public key is not {KEY_BYTES} bytes long"))
    }
}

impl Trust {
    /// Nobody is believed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Believes one more key of a service.
    #[must_use]
    pub fn with(self, name: &str, key: PublicKey) -> Self {
        let mut map = Arc::unwrap_or_clone(self.0);
        map.entry(name.to_owned()).or_default().push(key);
        Self(Arc::new(map))
    }

    /// The keys of a service; none when nobody knows it.
    pub(crate) fn keys(&self, name: &str) -> &[PublicKey] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

impl FromStr for Trust {
    type Err = String;

    /// Reads `auth=<base64>,gateway=<base64>`; a name may repeat.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut trust = Self::new();
        for member in text
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty())
        {
            let (name, key) = member
                .split_once('=')
                .ok_or_else(|| format!("'{member}' is not name=key"))?;
            trust = trust.with(
                name.trim(),
                key.trim()
                    .parse()
                    .map_err(|error| format!("{name}: {error}"))?,
            );
        }
        Ok(trust)
    }
}

impl Keyring {
    /// Puts the two halves together.
    pub const fn new(identity: Identity, trust: Trust) -> Self {
        Self {
            identity,
            trust,
            tls: None,
        }
    }

    /// Demands and shows certificates on every connection.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Reads `<SERVICE>_IDENTITY_KEY`, `TRUSTED_SERVICE_KEYS` and the settings of [`Tls::read`]; problems are kept in `reader`.
    pub fn read(reader: &mut Reader, service: &str) -> Self {
        let name = format!("{}_IDENTITY_KEY", service.to_uppercase());
        let secret = reader.secret(
            &name,
            "32 random bytes in base64, for example from: openssl rand -base64 32",
        );
        let seed = STANDARD
            .decode(secret.expose_secret().trim())
            .unwrap_or_default();
        let identity = Identity::from_seed(service, &seed).unwrap_or_else(|| {
            if !secret.expose_secret().is_empty() {
                reader.problem(
                    &name,
                    "is not 32 bytes in base64",
                    "the output of: openssl rand -base64 32",
                );
            }
            Identity::generate(service)
        });
        let doc = "the public key of every service that may call, as name=base64, with commas";
        let trust = reader.parsed::<Trust>("TRUSTED_SERVICE_KEYS", "", doc);
        if trust.is_none() {
            reader.problem("TRUSTED_SERVICE_KEYS", "is not set", doc);
        }
        Self {
            identity,
            trust: trust.unwrap_or_default(),
            tls: Tls::read(reader),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, {})", self.name, self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_reads_its_text_and_says_what_is_wrong() {
        let (auth, next) = (Identity::generate("auth"), Identity::generate("auth"));
        let text = format!("auth={}, auth={},", auth.public_key(), next.public_key());
        assert_eq!(
            text.parse::<Trust>().unwrap().keys("auth"),
            [auth.public_key(), next.public_key()]
        );
        assert!("auth".parse::<Trust>().unwrap_err().contains("name=key"));
        assert!(
            "auth=AAAA"
                .parse::<Trust>()
                .unwrap_err()
                .contains("32 bytes")
        );
        assert!("auth=!".parse::<Trust>().unwrap_err().contains("base64"));
    }

    #[test]
    fn a_keyring_reports_both_missing_settings_at_once() {
        let mut reader = Reader::from_map::<String, String>([]);
        Keyring::read(&mut reader, "niche");
        let text = reader.finish().unwrap_err().to_string();
        assert!(
            text.contains("NICHE_IDENTITY_KEY") && text.contains("TRUSTED_SERVICE_KEYS"),
            "{text}"
        );
    }

    #[test]
    fn a_key_of_the_wrong_length_is_a_problem_that_does_not_show_it() {
        let mut reader = Reader::from_map([
            ("NICHE_IDENTITY_KEY", "c2hvcnQtYnV0LXNlY3JldA=="),
            ("TRUSTED_SERVICE_KEYS", ""),
        ]);
        Keyring::read(&mut reader, "niche");
        let text = reader.finish().unwrap_err().to_string();
        assert!(
            text.contains("is not 32 bytes") && !text.contains("c2hvcnQ"),
            "{text}"
        );
    }
}
