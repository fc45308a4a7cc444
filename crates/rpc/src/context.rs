//! From the metadata of a call to its `RequestContext`: who, where, and whether they may.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use kernel::{
    ClientInfo, ContextBuilder, Error, ErrorCode, Locale, Principal, RequestContext, Result,
    UserId, Violation,
};
use proto::policy::{Access, Idempotency, MethodPolicy};

use crate::metadata;
use crate::token::{Actor, ContextClaims, REASON_INVALID, ServiceClaims, Verified, Verifier};

/// The service whose word about the client's address is believed.
const GATEWAY: &str = "gateway";
const REQUEST_ID_CHARS_MAX: usize = 128;
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
const USER_AGENT_CHARS_MAX: usize = 400;

/// Verifies the token that the method's policy asks for and enforces the policy.
pub(crate) fn admit(
    policy: &MethodPolicy,
    headers: &HeaderMap,
    verifier: &Verifier,
) -> Result<ContextBuilder> {
    match policy.access {
        Access::Public => Ok(RequestContext::builder(Principal::Anonymous)),
        Access::Internal => match &*verifier.verify(token(headers)?)? {
            Verified::Service(claims) => internal(policy, claims),
            Verified::Context(..) => Err(wrong_kind()),
        },
        Access::SignedIn | Access::Permission | Access::Platform => {
            match &*verifier.verify(token(headers)?)? {
                Verified::Context(claims, permissions) => outside(policy, claims, permissions),
                Verified::Service(_) => Err(wrong_kind()),
            }
        }
    }
}

fn internal(policy: &MethodPolicy, claims: &ServiceClaims) -> Result<ContextBuilder> {
    if !policy.callers.contains(&claims.iss.as_str()) {
        return Err(Error::new(
            ErrorCode::ForbiddenAction,
            "access.caller_not_allowed",
            "this service may not call this method",
        ));
    }
    let principal = Principal::Internal {
        service: claims.iss.clone(),
        on_behalf_of: claims.obo,
    };
    Ok(RequestContext::builder(principal).tenant(claims.tid))
}

fn outside(
    policy: &MethodPolicy,
    claims: &ContextClaims,
    permissions: &Arc<BTreeSet<String>>,
) -> Result<ContextBuilder> {
    let is_platform = claims.act == Actor::Platform;
    let permission = policy.permission.unwrap_or(policy.action);
    match policy.access {
        Access::Platform if !is_platform => return Err(Error::forbidden_action(permission)),
        Access::Permission if !(is_platform && policy.platform_too) => {
            if claims.tid.is_none() {
                return Err(Error::tenant_required());
            }
            if !permissions.contains(permission) {
                return Err(Error::forbidden_action(permission));
            }
        }
        _ => {}
    }
    let principal = match claims.act {
        Actor::User => Principal::User {
            user_id: UserId(claims.sub),
            session_id: claims.sid,
        },
        Actor::Platform => Principal::Platform {
            user_id: UserId(claims.sub),
            session_id: claims.sid,
        },
        Actor::Service => Principal::Service { id: claims.sub },
    };
    Ok(RequestContext::builder(principal)
        .tenant(claims.tid)
        .permission_set(Arc::clone(permissions)))
}

fn token(headers: &HeaderMap) -> Result<&str> {
    text(headers, metadata::CONTEXT).ok_or_else(|| {
        Error::new(
            ErrorCode::Unauthorized,
            "access.sign_in_required",
            "sign in first",
        )
    })
}

fn wrong_kind() -> Error {
    Error::new(
        ErrorCode::InvalidToken,
        REASON_INVALID,
        "the token is not valid",
    )
}

/// Adds what decides nothing: language, address, keys.
pub(crate) fn describe(
    builder: ContextBuilder,
    policy: &MethodPolicy,
    headers: &HeaderMap,
    verifier: &Verifier,
    peer: Option<IpAddr>,
) -> Result<ContextBuilder> {
    let locale = text(headers, metadata::ACCEPT_LANGUAGE)
        .map(Locale::negotiate)
        .unwrap_or_default();
    Ok(builder
        .method(policy.path)
        .locale(locale)
        .client(client(headers, verifier, peer))
        .idempotency_key(idempotency_key(policy, headers)?))
}

fn client(headers: &HeaderMap, verifier: &Verifier, peer: Option<IpAddr>) -> ClientInfo {
    let is_gateway = text(headers, metadata::CALLER)
        .and_then(|token| verifier.verify(token).ok())
        .is_some_and(
            |verified| matches!(&*verified, Verified::Service(claims) if claims.iss == GATEWAY),
        );
    if !is_gateway {
        return ClientInfo {
            ip: peer,
            user_agent: String::new(),
        };
    }
    let agent = text(headers, metadata::CLIENT_AGENT).unwrap_or_default();
    ClientInfo {
        ip: text(headers, metadata::CLIENT_IP).and_then(|ip| ip.parse().ok()),
        user_agent: agent.chars().take(USER_AGENT_CHARS_MAX).collect(),
    }
}

fn idempotency_key(policy: &MethodPolicy, headers: &HeaderMap) -> Result<Option<String>> {
    let refuse = |rule, message| {
        Err(Error::invalid(vec![Violation::new(
            "Idempotency-Key",
            rule,
            message,
        )]))
    };
    let key = headers.get(metadata::IDEMPOTENCY_KEY);
    match (policy.idempotency, key) {
        (Idempotency::None, _) | (Idempotency::Accepted, None) => Ok(None),
        (Idempotency::Required, None) => refuse("required", "is required for this method"),
        (Idempotency::Accepted | Idempotency::Required, Some(key)) => match key.to_str() {
            Ok(key) if (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) => {
                Ok(Some(key.to_owned()))
            }
            _ => refuse(
                "idempotency_key.format",
                "must have 1 to 255 visible ASCII characters",
            ),
        },
    }
}

/// The caller's request id when it is harmless to log.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let is_plain = |id: &&str| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    text(headers, metadata::REQUEST_ID).filter(is_plain)
}

/// The caller's trace context when it has the form of version 00.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let digits = |part: Option<&str>, length: usize| {
        part.is_some_and(|p| {
            p.len() == length
                && p.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    text(headers, metadata::TRACEPARENT).filter(|value| {
        let mut parts = value.split('-');
        parts.next() == Some("00")
            && digits(parts.next(), 32)
            && digits(parts.next(), 16)
            && digits(parts.next(), 2)
            && parts.next().is_none()
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn only_harmless_request_ids_are_kept() {
        let check = |id: &str, kept: bool| {
            assert_eq!(
                request_id(&with("x-request-id", id)).is_some(),
                kept,
                "{id}"
            )
        };
        check("01JABC-def.0:1", true);
        check("", false);
        check("a b", false);
        check("x\"y", false);
        check(&"x".repeat(129), false);
    }

    #[test]
    fn only_well_formed_trace_contexts_are_kept() {
        let check = |value: &str, kept: bool| {
            assert_eq!(
                traceparent(&with("traceparent", value)).is_some(),
                kept,
                "{value}"
            )
        };
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            true,
        );
        check(
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            false,
        );
        check(
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            false,
        );
        check(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            false,
        );
        check("nonsense", false);
    }
}
