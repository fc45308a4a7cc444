//! Access tokens: JWTs (RS256, RFC 9068) bound to one person, one session and at most one tenant.
//!
//! Reading is as strict as can be: three header members, ten claims, each of its one type, none twice, none unknown.
//! A token says who somebody is; what they may do is looked up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, ErrorCode, Result, SessionId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keys::SigningKeys;

/// How far the clocks of two replicas may be apart when a token is new.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);
/// The longest life that the settings allow, in seconds: a token that claims more was not made by us, whatever its signature says.
pub const LIFETIME_MAX_S: u64 = 3_600;
const ALGORITHM: &str = "RS256";
/// RFC 9068: an id token, a refresh token or a token for something else is not an access token.
const TYPE: &str = "at+jwt";
/// The one kind of actor that gets an access token; service accounts have API keys.
const ACTOR: &str = "user";

/// Mints and verifies access tokens.
#[derive(Clone)]
pub struct AccessTokens {
    /// The keys in use.
    pub keys: SigningKeys,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How long a token lives.
    pub lifetime: TimeDelta,
}

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The person.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// The tenant that the token is bound to.
    pub tenant_id: Option<TenantId>,
}

/// A verified token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it stands for.
    pub subject: Subject,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    /// Present and null when the token is bound to no tenant, so that a dropped claim cannot widen a token.
    #[serde(deserialize_with = "Option::deserialize")]
    tenant_id: Option<Uuid>,
    #[serde(rename = "type")]
    actor: String,
    sid: Uuid,
    jti: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Claims {
    /// Whether the times are in the order in which [`AccessTokens::mint`] puts them, and no further apart than it may.
    fn has_sound_times(&self) -> bool {
        let lives = self.exp.saturating_sub(self.iat);
        self.iat <= self.nbf
            && self.nbf < self.exp
            && u64::try_from(lives).is_ok_and(|lives| lives <= LIFETIME_MAX_S)
    }
}

impl AccessTokens {
    /// A token for `subject` from `now` on; `jti` names it.
    pub fn mint(&self, subject: Subject, jti: Uuid, now: DateTime<Utc>) -> Result<String> {
        let header = Header {
            alg: ALGORITHM,
            typ: TYPE,
            kid: self.keys.signing_kid(),
        };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: subject.user_id.0,
            tenant_id: subject.tenant_id.map(|id| id.0),
            actor: ACTOR.to_owned(),
            sid: subject.session_id.0,
            jti,
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + self.lifetime).timestamp(),
        };
        let mut token = encode(&header)?;
        token.push('.');
        token.push_str(&encode(&claims)?);
        let signature = self.keys.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Who holds `token`. `INVALID_TOKEN` without saying why, or `TOKEN_EXPIRED` for a token that was ours.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Verified> {
        let claims = self.authentic(token).ok_or_else(invalid_token)?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or_else(invalid_token)?;
        let not_before = DateTime::from_timestamp(claims.nbf, 0).ok_or_else(invalid_token)?;
        if not_before > now + LEEWAY {
            return Err(invalid_token());
        }
        // Without leeway: a context token may not outlive its credential, not even by the seconds between two clocks.
        if expires_at <= now {
            return Err(Error::new(
                ErrorCode::TokenExpired,
                "auth.token_expired",
                "the access token has expired; refresh it or sign in again",
            ));
        }
        let subject = Subject {
            user_id: UserId(claims.sub),
            session_id: SessionId(claims.sid),
            tenant_id: claims.tenant_id.map(TenantId),
        };
        Ok(Verified {
            subject,
            expires_at,
        })
    }

    /// The claims of a token that is well-formed, signed by one of our keys, and meant for us.
    fn authentic(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = object(&header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self
            .keys
            .verifies(header.kid, signed.as_bytes(), &signature)
        {
            return None;
        }
        let claims: Claims = object(&URL_SAFE_NO_PAD.decode(claims).ok()?)?;
        (claims.iss == self.issuer
            && claims.aud == self.audience
            && claims.actor == ACTOR
            && claims.has_sound_times())
        .then_some(claims)
    }
}

/// The answer to every credential that is not ours, whatever is wrong with it.
pub fn invalid_token() -> Error {
    Error::new(
        ErrorCode::InvalidToken,
        "auth.token_invalid",
        "the credential is not valid; sign in again",
    )
}

/// Reads an object. The derived readers would also take a list of the members' values, which is no JWT.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.first().filter(|first| **first == b'{')?;
    serde_json::from_slice(json).ok()
}

fn encode(part: &impl Serialize) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).map_err(Error::internal)?))
}
