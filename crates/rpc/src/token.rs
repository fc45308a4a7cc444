//! The two internal tokens: compact EdDSA signatures that live at most a minute.
//!
//! A *context token* says on whose behalf the gateway calls; only `auth` makes it. A *service token* says which service calls, and whom
//! it means; every service makes its own. The header of each kind is one fixed text, so no header parameter is ever interpreted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::{Clock, Error, ErrorCode, Result, SessionId, TenantId, UserId};
use moka::sync::Cache;
use ring::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::{Identity, Trust};

/// The service that may sign context tokens.
pub const CONTEXT_ISSUER: &str = "auth";
/// The audience of context tokens: every service.
pub const CONTEXT_AUDIENCE: &str = "tenantry";
/// How long a token lives unless its maker wants less. Together with [`LEEWAY`] it stays within the minute that the design allows.
pub const LIFETIME: Duration = Duration::from_secs(55);
/// No token may claim to live longer.
pub const LIFETIME_MAX: Duration = Duration::from_secs(60);
/// How far the clocks of two machines may be apart.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// The reasons of refusals of a token, in the words of the catalogue of texts.
pub(crate) const REASON_INVALID: &str = "access.token_invalid";
pub(crate) const REASON_EXPIRED: &str = "access.token_expired";

/// A longer text is refused before it is read: a token with every permission has about 4 KiB.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Memory for verified tokens: more than twenty thousand of those of an ordinary caller, so that ten thousand callers with a token that
/// ends and one that begins have room. Counted by size, because a count that is safe for the largest would be small for all others.
const REMEMBERED_BYTES_MAX: u64 = 64 * 1024 * 1024;

const CONTEXT_HEADER: &str = r#"{"alg":"EdDSA","typ":"context+jwt"}"#;
const SERVICE_HEADER: &str = r#"{"alg":"EdDSA","typ":"service+jwt"}"#;

/// Who acts, in a context token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// A person.
    User,
    /// A service account.
    Service,
    /// Platform staff.
    Platform,
}

/// What a context token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextClaims {
    /// Who signed: [`CONTEXT_ISSUER`].
    pub iss: String,
    /// For whom: [`CONTEXT_AUDIENCE`].
    pub aud: String,
    /// The tenant to which the caller is bound.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub tid: Option<TenantId>,
    /// What kind of actor.
    pub act: Actor,
    /// The id of the actor.
    pub sub: Uuid,
    /// The session of a person.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub sid: Option<SessionId>,
    /// The effective permissions.
    pub perms: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// From when it counts; absent means from `iat`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub nbf: Option<i64>,
    /// When it ends.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
}

/// What a service token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceClaims {
    /// The calling service, which signed.
    pub iss: String,
    /// The called service.
    pub aud: String,
    /// The tenant inside which the call works.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub tid: Option<TenantId>,
    /// The person on whose behalf.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub obo: Option<UserId>,
    /// The id of the request; empty in a token that serves several.
    pub req: String,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// From when it counts; absent means from `iat`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub nbf: Option<i64>,
    /// When it ends.
    pub exp: i64,
    /// Its own id.
    pub jti: Uuid,
}

/// Accepts a value and refuses `null`, so that an optional claim is either absent or of its type.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Signs a context token. Only the `auth` service's signature is believed.
pub fn mint_context(identity: &Identity, claims: &ContextClaims) -> String {
    sign(identity, CONTEXT_HEADER, claims)
}

/// Signs a service token.
pub fn mint_service(identity: &Identity, claims: &ServiceClaims) -> String {
    sign(identity, SERVICE_HEADER, claims)
}

fn sign(identity: &Identity, header: &str, claims: &impl Serialize) -> String {
    let claims = serde_json::to_vec(claims).expect("claims are plain data");
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = identity.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// From the gateway, on behalf of an outside caller; the permissions once more, for looking them up and for sharing.
    Context(ContextClaims, Arc<BTreeSet<String>>),
    /// From one of our services.
    Service(ServiceClaims),
}

impl Verified {
    /// Roughly the memory that it takes: the claims, each permission twice, and the entry around them.
    fn weight(&self) -> u32 {
        const REST: usize = 512;
        let permissions = match self {
            Self::Context(claims, _) => &claims.perms[..],
            Self::Service(_) => &[],
        };
        let each = |name: &String| 2 * (name.len() + size_of::<String>());
        let bytes: usize = permissions.iter().map(each).sum();
        u32::try_from(bytes + REST).unwrap_or(u32::MAX)
    }

    const fn window(&self) -> Window {
        match self {
            Self::Context(c, _) => Window {
                iat: c.iat,
                nbf: c.nbf,
                exp: c.exp,
            },
            Self::Service(c) => Window {
                iat: c.iat,
                nbf: c.nbf,
                exp: c.exp,
            },
        }
    }
}

/// Verifies tokens and remembers those that were good, by their hash, until they end.
#[derive(Clone)]
pub struct Verifier {
    trust: Trust,
    audience: Arc<str>,
    clock: Clock,
    remembered: Cache<[u8; 32], Arc<Verified>>,
}

impl Verifier {
    /// A verifier for one service; `audience` is its name.
    pub fn new(trust: Trust, audience: &str, clock: Clock) -> Self {
        let remembered = Cache::builder()
            .max_capacity(REMEMBERED_BYTES_MAX)
            .weigher(|_, verified: &Arc<Verified>| verified.weight())
            .time_to_live(LIFETIME_MAX + LEEWAY)
            .build();
        Self {
            trust,
            audience: audience.into(),
            clock,
            remembered,
        }
    }

    /// Tells what a token says, or `INVALID_TOKEN` without saying why, or `TOKEN_EXPIRED`. The reason is logged at debug level.
    pub fn verify(&self, token: &str) -> Result<Arc<Verified>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refuse("it is too long"));
        }
        let hash = hash(token);
        if let Some(known) = self.remembered.get(&hash) {
            known.window().check(&self.clock)?;
            return Ok(known);
        }
        let verified = Arc::new(verify(token, &self.trust, &self.audience)?);
        verified.window().check(&self.clock)?;
        self.remembered.insert(hash, Arc::clone(&verified));
        Ok(verified)
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}

/// Checks everything but the time.
fn verify(token: &str, trust: &Trust, audience: &str) -> Result<Verified> {
    let (signed, signature) = token
        .rsplit_once('.')
        .ok_or_else(|| refuse("it has no signature"))?;
    let (header, claims) = signed
        .split_once('.')
        .ok_or_else(|| refuse("it has no claims"))?;
    let header = decode(header)?;
    let claims = decode(claims)?;
    let signature = decode(signature)?;
    let check = |issuer: &str| {
        if trust
            .keys(issuer)
            .iter()
            .any(|key| key.verifies(signed.as_bytes(), &signature))
        {
            Ok(())
        } else {
            Err(refuse("no key of its issuer signed it"))
        }
    };
    // The header is compared as a whole: another algorithm, a key id or a critical extension has no way in.
    match header.as_slice() {
        h if h == CONTEXT_HEADER.as_bytes() => {
            check(CONTEXT_ISSUER)?;
            let claims: ContextClaims = parse(&claims)?;
            if claims.iss != CONTEXT_ISSUER || claims.aud != CONTEXT_AUDIENCE {
                return Err(refuse("issuer or audience is another"));
            }
            let permissions = Arc::new(claims.perms.iter().cloned().collect());
            Ok(Verified::Context(claims, permissions))
        }
        h if h == SERVICE_HEADER.as_bytes() => {
            // The issuer is needed to choose the key; nothing else is believed before the signature is.
            let claims: ServiceClaims = parse(&claims)?;
            check(&claims.iss)?;
            if claims.aud != audience {
                return Err(refuse("audience is another"));
            }
            Ok(Verified::Service(claims))
        }
        _ => Err(refuse("its header is not one of ours")),
    }
}

fn decode(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| refuse("it is not base64url"))
}

fn parse<T: DeserializeOwned>(claims: &[u8]) -> Result<T> {
    // The derived readers would also take a list of the claims' values, which is no JWT.
    if claims.first() != Some(&b'{') {
        return Err(refuse("its claims are no object"));
    }
    serde_json::from_slice(claims)
        .map_err(|_| refuse("a claim is missing, unknown or of another type"))
}

#[derive(Clone, Copy)]
struct Window {
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
}

impl Window {
    fn check(self, clock: &Clock) -> Result<()> {
        let (now, leeway, longest) = (
            clock.now().timestamp(),
            LEEWAY.as_secs().cast_signed(),
            LIFETIME_MAX.as_secs().cast_signed(),
        );
        let lives = self.exp.saturating_sub(self.iat);
        if lives <= 0 || lives > longest {
            return Err(refuse("it claims to live longer than a minute"));
        }
        if self.iat > now.saturating_add(leeway)
            || self.nbf.is_some_and(|nbf| nbf > now.saturating_add(leeway))
        {
            return Err(refuse("it is from the future"));
        }
        if now >= self.exp.saturating_add(leeway) {
            return Err(Error::new(
                ErrorCode::TokenExpired,
                REASON_EXPIRED,
                "the token has ended",
            ));
        }
        Ok(())
    }
}

fn refuse(why: &'static str) -> Error {
    tracing::debug!(why, "an internal token is refused");
    Error::new(
        ErrorCode::InvalidToken,
        REASON_INVALID,
        "the token is not valid",
    )
}
