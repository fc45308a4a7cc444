//! Who is asking, for which tenant, and under which request.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::ids::{SessionId, TenantId, UserId};
use uuid::Uuid;

/// The language of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Locale {
    /// English, the fallback.
    #[default]
    En,
    /// Brazilian Portuguese.
    PtBr,
}

impl Locale {
    /// The BCP 47 tag.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::PtBr => "pt-BR",
        }
    }

    /// The best of the product's languages for an `Accept-Language` header (RFC 9110 section 12.5.4).
    pub fn negotiate(header: &str) -> Self {
        let mut best = (0.0_f32, Self::En);
        for part in header.split(',') {
            let mut pieces = part.trim().split(';');
            let tag = pieces
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            let quality = pieces
                .find_map(|p| {
                    p.trim()
                        .strip_prefix("q=")
                        .and_then(|q| q.parse::<f32>().ok())
                })
                .unwrap_or(1.0);
            let locale = match tag.split('-').next() {
                Some("pt") => Self::PtBr,
                Some("en" | "*") => Self::En,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, locale);
            }
        }
        best.1
    }
}

/// Who is acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody has signed in.
    Anonymous,
    /// A person, in a session.
    User {
        /// The person.
        user_id: UserId,
        /// The session of the token.
        session_id: Option<SessionId>,
    },
    /// A service account by its API key.
    Service {
        /// The service account.
        id: Uuid,
    },
    /// Platform staff.
    Platform {
        /// The person.
        user_id: UserId,
        /// The session of the token.
        session_id: Option<SessionId>,
    },
    /// One of our own services, perhaps on somebody's behalf.
    Internal {
        /// The calling service.
        service: String,
        /// The person for whom it acts.
        on_behalf_of: Option<UserId>,
    },
}

impl Principal {
    /// `anonymous`, `user`, `service`, `platform` or `system`, as in logs and in the audit log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User { .. } => "user",
            Self::Service { .. } => "service",
            Self::Platform { .. } => "platform",
            Self::Internal { .. } => "system",
        }
    }

    /// The id of who acts; for our own services, the person on whose behalf.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Anonymous => None,
            Self::User { user_id, .. } | Self::Platform { user_id, .. } => Some(user_id.0),
            Self::Service { id } => Some(*id),
            Self::Internal { on_behalf_of, .. } => on_behalf_of.map(|id| id.0),
        }
    }

    /// The person who acts or on whose behalf somebody acts.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Self::User { user_id, .. } | Self::Platform { user_id, .. } => Some(*user_id),
            Self::Internal { on_behalf_of, .. } => *on_behalf_of,
            Self::Anonymous | Self::Service { .. } => None,
        }
    }
}

/// Where a request came from. For the audit log only, never for decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The address of the client as the gateway saw it.
    pub ip: Option<IpAddr>,
    /// The `User-Agent`, cut to 400 characters.
    pub user_agent: String,
}

/// Everything that a use case must know about its caller. The first argument of every use case, query and publish.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct RequestContext(Arc<Inner>);

struct Inner {
    tenant_id: Option<TenantId>,
    principal: Principal,
    permissions: Arc<BTreeSet<String>>,
    request_id: String,
    traceparent: Option<String>,
    method: String,
    idempotency_key: Option<String>,
    client: ClientInfo,
    locale: Locale,
    deadline: Option<Instant>,
    replayed: AtomicBool,
}

impl RequestContext {
    /// Starts a context for `principal`.
    pub fn builder(principal: Principal) -> ContextBuilder {
        ContextBuilder(Inner {
            tenant_id: None,
            principal,
            permissions: Arc::default(),
            request_id: String::new(),
            traceparent: None,
            method: String::new(),
            idempotency_key: None,
            client: ClientInfo::default(),
            locale: Locale::default(),
            deadline: None,
            replayed: AtomicBool::new(false),
        })
    }

    /// A context for work that a service does by itself, inside one tenant or for the platform.
    pub fn system(service: &str, tenant_id: TenantId) -> ContextBuilder {
        Self::builder(Principal::Internal {
            service: service.to_owned(),
            on_behalf_of: None,
        })
        .tenant(tenant_id)
    }

    /// The tenant, if the caller is bound to one.
    pub fn tenant_id(&self) -> Option<TenantId> {
        self.0.tenant_id
    }

    /// The tenant, or `TENANT_REQUIRED`.
    pub fn require_tenant(&self) -> Result<TenantId> {
        self.0.tenant_id.ok_or_else(Error::tenant_required)
    }

    /// Who is acting.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// The acting person, or `UNAUTHORIZED`.
    pub fn require_user(&self) -> Result<UserId> {
        self.0.principal.user_id().ok_or_else(|| {
            Error::new(
                crate::ErrorCode::Unauthorized,
                "access.sign_in_required",
                "sign in first",
            )
        })
    }

    /// Whether platform staff is acting.
    pub fn is_platform(&self) -> bool {
        matches!(self.0.principal, Principal::Platform { .. })
    }

    /// Whether the effective permissions contain `action`.
    pub fn may(&self, action: &str) -> bool {
        self.0.permissions.contains(action)
    }

    /// The effective permissions.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.0.permissions.iter().map(String::as_str)
    }

    /// The id of the request, as in `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The W3C trace context to hand on.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// The trace id within the trace context: 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.0
            .traceparent
            .as_deref()
            .and_then(|t| t.split('-').nth(1))
    }

    /// The gRPC path of the method, for example `/niche.v1.RecordService/CreateRecord`; the consumer's queue in a worker.
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// The `Idempotency-Key` of a method that takes one.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }

    /// Where the request came from.
    pub fn client(&self) -> &ClientInfo {
        &self.0.client
    }

    /// The language of messages.
    pub fn locale(&self) -> Locale {
        self.0.locale
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Notes that the answer is a stored one (`Idempotency-Replayed: true`).
    pub fn mark_replayed(&self) {
        self.0.replayed.store(true, Ordering::Relaxed);
    }

    /// Whether the answer is a stored one.
    pub fn is_replayed(&self) -> bool {
        self.0.replayed.load(Ordering::Relaxed)
    }

    /// The same request, inside another tenant: for platform staff and for our own services, one tenant at a time.
    #[must_use]
    pub fn within(&self, tenant_id: TenantId) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            tenant_id: Some(tenant_id),
            principal: inner.principal.clone(),
            permissions: Arc::clone(&inner.permissions),
            request_id: inner.request_id.clone(),
            traceparent: inner.traceparent.clone(),
            method: inner.method.clone(),
            idempotency_key: inner.idempotency_key.clone(),
            client: inner.client.clone(),
            locale: inner.locale,
            deadline: inner.deadline,
            replayed: AtomicBool::new(inner.replayed.load(Ordering::Relaxed)),
        }))
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("tenant_id", &self.0.tenant_id)
            .field("principal", &self.0.principal)
            .field("request_id", &self.0.request_id)
            .field("method", &self.0.method)
            .finish_non_exhaustive()
    }
}

/// Builds a [`RequestContext`]; each setter replaces what was there.
pub struct ContextBuilder(Inner);

impl ContextBuilder {
    /// Binds the caller to a tenant.
    #[must_use]
    pub fn tenant(mut self, tenant_id: impl Into<Option<TenantId>>) -> Self {
        self.0.tenant_id = tenant_id.into();
        self
    }

    /// Sets the effective permissions.
    #[must_use]
    pub fn permissions<S: Into<String>>(
        mut self,
        permissions: impl IntoIterator<Item = S>,
    ) -> Self {
        self.0.permissions = Arc::new(permissions.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the effective permissions to a set that is shared by all requests with the same credential.
    #[must_use]
    pub fn permission_set(mut self, permissions: Arc<BTreeSet<String>>) -> Self {
        self.0.permissions = permissions;
        self
    }

    /// Sets the request id.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = id.into();
        self
    }

    /// Sets the W3C trace context.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<Option<String>>) -> Self {
        self.0.traceparent = traceparent.into();
        self
    }

    /// Sets the gRPC path.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.0.method = method.into();
        self
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<Option<String>>) -> Self {
        self.0.idempotency_key = key.into();
        self
    }

    /// Sets where the request came from.
    #[must_use]
    pub fn client(mut self, client: ClientInfo) -> Self {
        self.0.client = client;
        self
    }

    /// Sets the language.
    #[must_use]
    pub fn locale(mut self, locale: Locale) -> Self {
        self.0.locale = locale;
        self
    }

    /// Sets when the caller stops waiting.
    #[must_use]
    pub fn deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
        self.0.deadline = deadline.into();
        self
    }

    /// The finished context.
    pub fn build(self) -> RequestContext {
        RequestContext(Arc::new(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_the_quality_values() {
        let check = |header, expected| assert_eq!(Locale::negotiate(header), expected, "{header}");
        check("pt-BR,pt;q=0.9,en;q=0.8", Locale::PtBr);
        check("en;q=0.5, pt;q=0.6", Locale::PtBr);
        check("fr, de", Locale::En);
        check("fr, *;q=0.1", Locale::En);
        check("", Locale::En);
    }

    #[test]
    fn a_context_without_a_tenant_says_so() {
        let ctx = RequestContext::builder(Principal::Anonymous).build();
        assert_eq!(
            ctx.require_tenant().unwrap_err().error_code(),
            crate::ErrorCode::TenantRequired
        );
    }
}
