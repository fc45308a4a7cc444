//! A workshop for tokens: any header, any claims and any signature, also with the platform's own keys.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding,
};
use serde_json::{Value, json};

/// A token that nobody may accept as an access token.
pub struct Forgery {
    /// What is wrong with it.
    pub what: String,
    /// As it is sent.
    pub token: String,
    /// The code of the refusal.
    pub code: &'static str,
}

impl Forgery {
    /// One that is refused without a word about the reason.
    pub fn new(what: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            token: token.into(),
            code: "INVALID_TOKEN",
        }
    }

    /// One that was ours and is told so.
    pub fn told(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

/// Base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA key with every form of its public half that somebody might take for a secret.
pub struct RsaKey {
    pair: RsaKeyPair,
    /// The RFC 7638 thumbprint, by which the platform names its keys.
    pub kid: String,
    /// The public half in its forms, each with a name.
    pub public_forms: Vec<(&'static str, Vec<u8>)>,
    /// The public half as a JWK.
    pub jwk: Value,
}

impl RsaKey {
    /// Reads a PKCS#8 key file as the platform does.
    pub fn read(file: &Path) -> Self {
        let pem = std::fs::read_to_string(file).unwrap();
        let body: String = pem
            .lines()
            .filter(|line| !line.starts_with("---"))
            .collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
        let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let (n, e) = (b64(&public.n), b64(&public.e));
        let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let kid = b64(ring::digest::digest(
            &ring::digest::SHA256,
            members.as_bytes(),
        ));
        let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e});
        let spki = openssl(&["pkey", "-pubout", "-in"], file);
        let trimmed = String::from_utf8(spki.clone())
            .unwrap()
            .trim_end()
            .as_bytes()
            .to_vec();
        let public_forms = vec![
            ("the PEM", spki),
            ("the PEM without its last newline", trimmed),
            (
                "the DER",
                openssl(&["pkey", "-pubout", "-outform", "DER", "-in"], file),
            ),
            (
                "the PKCS#1 PEM",
                openssl(&["rsa", "-RSAPublicKey_out", "-in"], file),
            ),
            (
                "the PKCS#1 DER",
                openssl(
                    &["rsa", "-RSAPublicKey_out", "-outform", "DER", "-in"],
                    file,
                ),
            ),
            ("the JWK", jwk.to_string().into_bytes()),
            (
                "the JWK set",
                json!({ "keys": [jwk] }).to_string().into_bytes(),
            ),
            ("the thumbprint's members", members.into_bytes()),
            ("the modulus", public.n),
            ("the modulus as text", n.into_bytes()),
            ("the key id", kid.clone().into_bytes()),
        ];
        Self {
            pair,
            kid,
            public_forms,
            jwk,
        }
    }

    /// A new key of the same size, as another environment has it.
    pub fn generate() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let bits = "rsa_keygen_bits:2048";
        openssl(
            &[
                "genpkey",
                "-quiet",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                bits,
                "-out",
            ],
            &file,
        );
        Self::read(&file)
    }

    /// A signature under any of the RSA algorithms.
    pub fn sign(&self, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                encoding,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .unwrap();
        signature
    }

    /// The modulus: as a number, one step above the largest signature.
    pub fn modulus(&self) -> Vec<u8> {
        ring::rsa::PublicKeyComponents::<Vec<u8>>::from(self.pair.public()).n
    }
}

fn openssl(arguments: &[&str], file: &Path) -> Vec<u8> {
    let made = Command::new("openssl")
        .args(arguments)
        .arg(file)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    made.stdout
}

/// A key on an elliptic curve, made for the occasion.
pub enum CurveKey {
    /// P-256 or P-384.
    Ecdsa(EcdsaKeyPair),
    /// Ed25519.
    Eddsa(Ed25519KeyPair),
}

impl CurveKey {
    /// A key for ES256.
    pub fn p256() -> Self {
        Self::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// A key for ES384.
    pub fn p384() -> Self {
        Self::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    /// A key for EdDSA.
    pub fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Eddsa(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    /// The key of a service by the seed in its settings.
    pub fn of_seed(seed: &str) -> Self {
        let seed = STANDARD.decode(seed).unwrap();
        Self::Eddsa(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    /// A signature.
    pub fn sign(&self, message: &str) -> Vec<u8> {
        match self {
            Self::Ecdsa(key) => {
                let signature = key.sign(&SystemRandom::new(), message.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
            Self::Eddsa(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        }
    }

    /// The public half.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Ecdsa(key) => key.public_key().as_ref().to_vec(),
            Self::Eddsa(key) => key.public_key().as_ref().to_vec(),
        }
    }
}

/// Everything that access tokens are forged from.
pub struct Workshop {
    /// The key that signs the platform's access tokens.
    pub own: RsaKey,
    /// The key of another environment.
    pub other: RsaKey,
    /// The header of a genuine token.
    pub header: Value,
    /// The claims of a genuine token.
    pub claims: Value,
    /// Now, in seconds since 1970.
    pub now: i64,
    /// A server that nobody may ask for anything.
    pub spy_url: String,
    /// Genuine tokens of other kinds, each with its kind.
    pub other_kinds: Vec<(&'static str, String)>,
}

impl Workshop {
    /// Header and claims as they stand, signed with the platform's own key.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        sign_with(header, claims, |message| {
            self.own.sign(&RSA_PKCS1_SHA256, message)
        })
    }

    /// Signed with the platform's own key.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// The control: what the workshop makes when it changes nothing.
    pub fn genuine(&self) -> String {
        self.sign(&self.header, &self.claims)
    }

    /// The genuine header with one member changed or added.
    pub fn header_with(&self, member: &str, value: Value) -> Value {
        let mut header = self.header.clone();
        header[member] = value;
        header
    }

    /// The genuine claims with one changed or added.
    pub fn claims_with(&self, claim: &str, value: Value) -> Value {
        let mut claims = self.claims.clone();
        claims[claim] = value;
        claims
    }
}

/// A compact JWS with any signature.
pub fn sign_with(header: &str, claims: &str, sign: impl FnOnce(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = b64(sign(&signed));
    format!("{signed}.{signature}")
}

/// `value` without one of its members.
pub fn without(value: &Value, member: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().shift_remove(member);
    value
}

/// Fails when two forgeries are the same text: then the count would say more than is tried.
pub fn assert_distinct<'t>(forgeries: impl Iterator<Item = (&'t str, &'t str)>) {
    let mut seen = std::collections::HashMap::new();
    for (what, token) in forgeries {
        if let Some(other) = seen.insert(token, what) {
            panic!("\"{what}\" and \"{other}\" are the same token");
        }
    }
}
