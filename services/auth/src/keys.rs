//! The RSA keys that sign access tokens, and how the world learns their public halves (JWKS).
//!
//! Keys live in files that the operator makes (`openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`). The first file signs,
//! all of them verify and are published. To rotate without refusing a single token: append the new file everywhere, then move it to the
//! front, and drop the old one after an access token's lifetime.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kernel::{Error, Result};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use zeroize::Zeroizing;

/// The signing key and every key that still verifies.
#[derive(Clone)]
pub struct SigningKeys(Arc<[SigningKey]>);

struct SigningKey {
    kid: String,
    pair: KeyPair,
    public: PublicKeyComponents<Vec<u8>>,
}

/// The public half of a key, base64url as in a JWKS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// The modulus.
    pub n: String,
    /// The exponent.
    pub e: String,
}

impl SigningKeys {
    /// Reads PEM files; each error names the file and what to do.
    pub fn load(files: &[PathBuf]) -> anyhow::Result<Self> {
        ensure!(!files.is_empty(), "AUTH_SIGNING_KEY_FILES names no file");
        let keys = files
            .iter()
            .map(|file| load_key(file))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for (at, key) in keys.iter().enumerate() {
            ensure!(
                keys[..at].iter().all(|other| other.kid != key.kid),
                "AUTH_SIGNING_KEY_FILES names the same key twice: {}",
                files[at].display()
            );
        }
        Ok(Self(keys.into()))
    }

    /// The id of the key that signs.
    pub fn signing_kid(&self) -> &str {
        &self.0[0].kid
    }

    /// An RSASSA-PKCS1-v1_5 signature with SHA-256 by the first key.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let pair = &self.0[0].pair;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message,
            &mut signature,
        )
        .map_err(|_| Error::internal("the signing key refuses to sign"))?;
        Ok(signature)
    }

    /// Whether the key `kid` made `signature`. The key is chosen among ours only: nothing in a token can name another source.
    pub fn verifies(&self, kid: &str, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().find(|key| key.kid == kid).is_some_and(|key| {
            key.public
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok()
        })
    }

    /// Every public key, the signing one first.
    pub fn public(&self) -> impl Iterator<Item = PublicKey> {
        self.0.iter().map(|key| PublicKey {
            kid: key.kid.clone(),
            n: URL_SAFE_NO_PAD.encode(&key.public.n),
            e: URL_SAFE_NO_PAD.encode(&key.public.e),
        })
    }
}

fn load_key(file: &Path) -> anyhow::Result<SigningKey> {
    let pem = std::fs::read_to_string(file).map(Zeroizing::new).with_context(|| {
        let file = file.display();
        format!("cannot read the signing key {file}; make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out {file}`")
    })?;
    let pair = parse_pem(&pem)
        .with_context(|| format!("{} holds no usable RSA private key", file.display()))?;
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    Ok(SigningKey {
        kid: thumbprint(&public),
        pair,
        public,
    })
}

fn parse_pem(pem: &str) -> anyhow::Result<KeyPair> {
    let mut lines = pem
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("-----BEGIN"));
    let kind = lines.next().unwrap_or_default();
    let body: Zeroizing<String> = Zeroizing::new(
        lines
            .take_while(|line| !line.starts_with("-----END"))
            .collect(),
    );
    let der = STANDARD
        .decode(body.as_bytes())
        .map(Zeroizing::new)
        .context("the PEM body is not base64")?;
    let pair = match kind {
        "-----BEGIN PRIVATE KEY-----" => KeyPair::from_pkcs8(&der),
        "-----BEGIN RSA PRIVATE KEY-----" => KeyPair::from_der(&der),
        _ => bail!("expected `BEGIN PRIVATE KEY` (PKCS#8)"),
    };
    pair.map_err(|rejected| {
        anyhow::anyhow!("the key is refused: {rejected}; RSA keys have 2048 to 4096 bits")
    })
}

/// RFC 7638: the SHA-256 of the required members in lexicographic order.
fn thumbprint(public: &PublicKeyComponents<Vec<u8>>) -> String {
    let (n, e) = (
        URL_SAFE_NO_PAD.encode(&public.n),
        URL_SAFE_NO_PAD.encode(&public.e),
    );
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    URL_SAFE_NO_PAD.encode(ring::digest::digest(
        &ring::digest::SHA256,
        members.as_bytes(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_with_the_command_that_makes_it() {
        let Err(error) = SigningKeys::load(&[PathBuf::from("/nowhere/key.pem")]) else {
            panic!("a missing key must not load")
        };
        assert!(
            error.to_string().contains("openssl genpkey")
                && error.to_string().contains("/nowhere/key.pem"),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_a_private_key_is_refused() {
        assert!(parse_pem("").is_err());
        assert!(parse_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_err());
        assert!(parse_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").is_err());
        assert!(parse_pem("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----").is_err());
    }

    /// The worked example of RFC 7638 section 3.1.
    #[test]
    fn the_key_id_is_the_rfc_7638_thumbprint() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let public = PublicKeyComponents {
            n: URL_SAFE_NO_PAD.decode(n).unwrap(),
            e: vec![1, 0, 1],
        };
        assert_eq!(
            thumbprint(&public),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }
}
