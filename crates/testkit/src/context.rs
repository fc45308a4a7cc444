//! Callers for tests.

use kernel::{ContextBuilder, Principal, RequestContext, SessionId, TenantId, UserId};
use uuid::Uuid;

/// A tenant.
pub const TENANT_A: TenantId = TenantId(Uuid::from_u128(0xaaaa_aaaa_0000_7000_8000_0000_0000_000a));
/// Another tenant, which must never see anything of the first.
pub const TENANT_B: TenantId = TenantId(Uuid::from_u128(0xbbbb_bbbb_0000_7000_8000_0000_0000_000b));
/// A person.
pub const ANN: UserId = UserId(Uuid::from_u128(0x1111_1111_0000_7000_8000_0000_0000_0001));
/// Another person.
pub const BOB: UserId = UserId(Uuid::from_u128(0x2222_2222_0000_7000_8000_0000_0000_0002));

/// Starts a caller: anonymous, without a tenant, until something else is said.
///
/// `testkit::context().user(ANN).tenant(TENANT_A).permissions(["records.read"]).build()`
pub fn context() -> Caller {
    Caller {
        principal: Principal::Anonymous,
        setters: Vec::new(),
    }
}

type Setter = Box<dyn FnOnce(ContextBuilder) -> ContextBuilder>;

/// Builds a [`RequestContext`] for a test.
pub struct Caller {
    principal: Principal,
    setters: Vec<Setter>,
}

impl Caller {
    /// Acts as a person, in a session of their own.
    #[must_use]
    pub fn user(mut self, user_id: UserId) -> Self {
        self.principal = Principal::User {
            user_id,
            session_id: Some(SessionId(user_id.0)),
        };
        self
    }

    /// Acts as platform staff.
    #[must_use]
    pub fn platform(mut self, user_id: UserId) -> Self {
        self.principal = Principal::Platform {
            user_id,
            session_id: Some(SessionId(user_id.0)),
        };
        self
    }

    /// Acts as a service account.
    #[must_use]
    pub fn service(mut self, id: Uuid) -> Self {
        self.principal = Principal::Service { id };
        self
    }

    /// Acts as one of our own services.
    #[must_use]
    pub fn internal(mut self, service: &str) -> Self {
        self.principal = Principal::Internal {
            service: service.to_owned(),
            on_behalf_of: None,
        };
        self
    }

    /// Binds the caller to a tenant.
    #[must_use]
    pub fn tenant(self, tenant_id: TenantId) -> Self {
        self.with(move |b| b.tenant(tenant_id))
    }

    /// Sets the effective permissions.
    #[must_use]
    pub fn permissions<S: Into<String>>(self, permissions: impl IntoIterator<Item = S>) -> Self {
        let permissions: Vec<String> = permissions.into_iter().map(Into::into).collect();
        self.with(move |b| b.permissions(permissions))
    }

    /// Sets the gRPC path.
    #[must_use]
    pub fn method(self, method: &'static str) -> Self {
        self.with(move |b| b.method(method))
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.with(move |b| b.idempotency_key(key))
    }

    /// Sets anything else.
    #[must_use]
    pub fn with(mut self, setter: impl FnOnce(ContextBuilder) -> ContextBuilder + 'static) -> Self {
        self.setters.push(Box::new(setter));
        self
    }

    /// The finished context.
    pub fn build(self) -> RequestContext {
        let builder = RequestContext::builder(self.principal)
            .request_id("req-test")
            .method("/test.v1.TestService/Test");
        self.setters
            .into_iter()
            .fold(builder, |builder, set| set(builder))
            .build()
    }
}
