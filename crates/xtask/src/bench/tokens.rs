//! Access tokens for callers who never signed in: the same claims as one that the platform made, signed with the key of the run.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Map, Value};

/// What a token says, without any check.
pub(super) fn claims(token: &str) -> Result<Map<String, Value>> {
    part(token, 1)
}

fn part(token: &str, at: usize) -> Result<Map<String, Value>> {
    let part = token.split('.').nth(at).context("this is no token")?;
    let bytes = URL_SAFE_NO_PAD.decode(part)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Makes tokens after the model of one.
pub(super) struct Mint {
    key: KeyPair,
    header: String,
    claims: Map<String, Value>,
}

impl Mint {
    /// `key_file` is the PEM file of the key that signed `model`.
    pub(super) fn new(key_file: &Path, model: &str) -> Result<Self> {
        let pem = std::fs::read_to_string(key_file).context("the signing key of the run")?;
        let body: String = pem
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let key = KeyPair::from_pkcs8(&STANDARD.decode(body)?)
            .map_err(|problem| anyhow::anyhow!("the signing key of the run: {problem}"))?;
        Ok(Self {
            key,
            header: URL_SAFE_NO_PAD.encode(Value::Object(part(model, 0)?).to_string()),
            claims: claims(model)?,
        })
    }

    /// A token with other values for some claims.
    pub(super) fn token(&self, other: [(&str, &str); 3]) -> Result<String> {
        let mut claims = self.claims.clone();
        for (name, value) in other {
            claims.insert(name.to_owned(), Value::from(value));
        }
        let claims = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        let signed = format!("{}.{claims}", self.header);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| anyhow::anyhow!("cannot sign a token"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
