//! What can go wrong, in the words of the public contract.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// The result of everything that a caller can act on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failure means for the caller, independent of transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The input breaks a rule; the violations say which.
    Invalid,
    /// Who is calling is not known.
    Unauthenticated,
    /// The caller is known and may not.
    Forbidden,
    /// It does not exist, or belongs to somebody else: the two look the same.
    NotFound,
    /// It exists already.
    Exists,
    /// Somebody else was faster; read again and retry.
    Conflict,
    /// The state of the thing forbids it.
    Precondition,
    /// Too much, too fast.
    Limited,
    /// Something that this needs is down; retry.
    Unavailable,
    /// It took too long; retry if it is idempotent.
    Timeout,
    /// Our fault. The cause is logged and never shown.
    Internal,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident;)*) => {
        /// The public `error.code`. Stable; new ones may be added (requirement GW-07).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, for tests that walk over all of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text that clients see.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the code means, independent of transport.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// Reads the text that clients see.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

error_codes! {
    /// The input breaks one or more rules.
    ValidationError = "VALIDATION_ERROR", Invalid;
    /// The request is not well-formed: not JSON, a duplicate key, nested too deep.
    MalformedRequest = "MALFORMED_REQUEST", Invalid;
    /// The credential and `X-Tenant-Id` or the host name disagree.
    TenantMismatch = "TENANT_MISMATCH", Invalid;
    /// No credential.
    Unauthorized = "UNAUTHORIZED", Unauthenticated;
    /// A credential that is none of ours, or no longer.
    InvalidToken = "INVALID_TOKEN", Unauthenticated;
    /// A credential that was ours and has ended.
    TokenExpired = "TOKEN_EXPIRED", Unauthenticated;
    /// The tenant of the credential does not exist.
    TenantNotFound = "TENANT_NOT_FOUND", Unauthenticated;
    /// E-mail or password is wrong.
    InvalidCredentials = "INVALID_CREDENTIALS", Unauthenticated;
    /// The tenant is suspended.
    TenantSuspended = "TENANT_SUSPENDED", Forbidden;
    /// The person is suspended.
    UserSuspended = "USER_SUSPENDED", Forbidden;
    /// The e-mail address has not been confirmed.
    EmailNotVerified = "EMAIL_NOT_VERIFIED", Forbidden;
    /// The action needs a tenant and the credential is bound to none.
    TenantRequired = "TENANT_REQUIRED", Forbidden;
    /// The action is not among the caller's effective permissions.
    ForbiddenAction = "FORBIDDEN_ACTION", Forbidden;
    /// There is no such thing, or it is not yours.
    NotFound = "NOT_FOUND", NotFound;
    /// There is no such path.
    RouteNotFound = "ROUTE_NOT_FOUND", NotFound;
    /// The path exists and does not take this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Invalid;
    /// The request did not arrive completely in time.
    RequestTimeout = "REQUEST_TIMEOUT", Invalid;
    /// The body is larger than the method takes.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", Invalid;
    /// The body's media type or encoding is not one that the method takes.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", Invalid;
    /// The headers are larger than the server takes.
    HeadersTooLarge = "HEADERS_TOO_LARGE", Invalid;
    /// Somebody else changed it, or the same command is still running.
    Conflict = "CONFLICT", Conflict;
    /// Something with this unique value exists already.
    DuplicateResource = "DUPLICATE_RESOURCE", Exists;
    /// The state of the thing forbids the action.
    StateConflict = "STATE_CONFLICT", Precondition;
    /// The idempotency key was used before with another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", Precondition;
    /// Too many requests.
    RateLimited = "RATE_LIMITED", Limited;
    /// The plan's quota is used up.
    QuotaExceeded = "QUOTA_EXCEEDED", Limited;
    /// Something that this needs is down.
    ServiceUnavailable = "SERVICE_UNAVAILABLE", Unavailable;
    /// It took longer than its deadline.
    DeadlineExceeded = "DEADLINE_EXCEEDED", Timeout;
    /// Our fault, in storage.
    DatabaseError = "DATABASE_ERROR", Internal;
    /// Our fault.
    InternalError = "INTERNAL_ERROR", Internal;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One broken rule of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path in the names of the contract, for example `data.maintainer_role` or `filters[0].facet`.
    pub field: String,
    /// A stable id that keys the localised text, for example `string.min_len`.
    pub rule: String,
    /// In English: what is wrong and how to mend it.
    pub message: String,
    /// Parameters of the localised text, for example `min` = `15`.
    pub params: BTreeMap<String, String>,
}

impl Violation {
    /// A violation without parameters.
    pub fn new(
        field: impl Into<String>,
        rule: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
            message: message.into(),
            params: BTreeMap::new(),
        }
    }

    /// Adds a parameter of the localised text.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.params.insert(key.into(), value.to_string());
        self
    }
}

/// A failure. `message` may be shown to anybody; `source` is logged once at the edge and never shown.
pub struct Error(Box<Inner>);

struct Inner {
    error_code: ErrorCode,
    reason: Cow<'static, str>,
    message: String,
    violations: Vec<Violation>,
    details: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    context: Vec<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure with a public code, a stable dotted `reason` that keys the localised text, and an English message.
    pub fn new(
        error_code: ErrorCode,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            error_code,
            reason: reason.into(),
            message: message.into(),
            violations: Vec::new(),
            details: BTreeMap::new(),
            retry_after: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The input breaks these rules; all of them are told at once.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let mut error = Self::new(
            ErrorCode::ValidationError,
            "request.invalid",
            "the request breaks one or more rules",
        );
        error.0.violations = violations;
        error
    }

    /// It does not exist, or it is not the caller's. The message must not contain the id: both cases answer byte for byte the same.
    pub fn not_found(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, reason, message)
    }

    /// Something with this unique value exists already.
    pub fn exists(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::DuplicateResource, reason, message)
    }

    /// Somebody else was faster.
    pub fn conflict(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, reason, message)
    }

    /// The state of the thing forbids the action.
    pub fn precondition(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::StateConflict, reason, message)
    }

    /// The caller's effective permissions lack `action`.
    pub fn forbidden_action(action: &str) -> Self {
        Self::new(
            ErrorCode::ForbiddenAction,
            "access.forbidden_action",
            "you are not allowed to do this",
        )
        .with_detail("toolAction", action)
    }

    /// The action needs a tenant and the caller is bound to none.
    pub fn tenant_required() -> Self {
        Self::new(
            ErrorCode::TenantRequired,
            "access.tenant_required",
            "Tenant required",
        )
    }

    /// Something that this needs is down; `what` is a word that an operator understands.
    pub fn unavailable(
        what: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::new(
            ErrorCode::ServiceUnavailable,
            "service.unavailable",
            "a part of the service is not available right now; try again shortly",
        )
        .with_retry_after(Duration::from_secs(1))
        .context(what)
        .caused_by(source)
    }

    /// Our fault. The caller sees a fixed text; the cause is logged.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(
            ErrorCode::InternalError,
            "internal",
            "something went wrong on our side",
        )
        .caused_by(source)
    }

    /// What the failure means, independent of transport.
    pub fn code(&self) -> Code {
        self.0.error_code.code()
    }

    /// The public code.
    pub fn error_code(&self) -> ErrorCode {
        self.0.error_code
    }

    /// The stable dotted reason, for example `auth.credentials_invalid`.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The English message, safe to show.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The broken rules of the input.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// Small public facts, for example `toolAction`. Never personal data, tokens or headers.
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.0.details
    }

    /// How long to wait before a retry makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Adds a public fact; also a parameter of the localised text.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.details.insert(key.into(), value.to_string());
        self
    }

    /// Adds broken rules.
    #[must_use]
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations.extend(violations);
        self
    }

    /// Says when a retry makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds what was being done, for the log.
    #[must_use]
    pub fn context(mut self, doing: impl Into<Cow<'static, str>>) -> Self {
        self.0.context.push(doing.into());
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The whole story in one line, for the log only: contexts, reason and the chain of causes.
    pub fn chain(&self) -> String {
        let mut text = String::new();
        for doing in self.0.context.iter().rev() {
            text.push_str(doing);
            text.push_str(": ");
        }
        text.push_str(&self.0.message);
        let mut next: Option<&(dyn StdError + 'static)> = self.0.source.as_deref().map(|s| s as _);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.error_code)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.error_code)
            .field("reason", &self.0.reason)
            .field("chain", &self.chain())
            .field("violations", &self.0.violations)
            .field("details", &self.0.details)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_from_its_text() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("nonsense"), None);
    }

    #[test]
    fn the_cause_is_in_the_chain_and_not_in_the_message() {
        let error = Error::internal(std::io::Error::other("disk on fire")).context("while saving");
        assert!(!error.to_string().contains("fire"));
        assert_eq!(
            error.chain(),
            "while saving: something went wrong on our side: disk on fire"
        );
    }
}
