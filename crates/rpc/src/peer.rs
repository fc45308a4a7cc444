//! The metadata of an outgoing call.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernel::{ClientInfo, Clock, Ids, Locale, RequestContext, TenantId, UserId};
use tonic::Request;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::channel::{Channel, open};
use crate::endpoint::Endpoint;
use crate::identity::Keyring;
use crate::metadata;
use crate::token::{LIFETIME, ServiceClaims, mint_service};
use crate::trace;

/// What a call may take when nobody has set a deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Kept back from the caller's remaining time, so that an answer in time can still be handed on.
const WAY_HOME: Duration = Duration::from_millis(10);
/// The gateway's caller token says the same for every request, so it is signed only this often.
const CALLER_TOKEN_REUSE: Duration = Duration::from_secs(30);

/// Another service as seen from this one. Cloning is cheap.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    keyring: Keyring,
    callee: String,
    clock: Clock,
    ids: Ids,
    caller_token: Mutex<Option<(AsciiMetadataValue, Instant)>>,
}

/// What the gateway hands on with a call of an outside caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forward<'a> {
    /// The context token; none for public methods.
    pub context_token: Option<&'a str>,
    /// The id of the request.
    pub request_id: &'a str,
    /// W3C trace context.
    pub traceparent: Option<&'a str>,
    /// The idempotency key.
    pub idempotency_key: Option<&'a str>,
    /// The language of messages.
    pub locale: Locale,
    /// Where the request came from.
    pub client: Option<&'a ClientInfo>,
    /// What the call may take; none for streams.
    pub timeout: Option<Duration>,
}

impl Peer {
    /// The service `callee`, called with our identity.
    pub fn new(keyring: Keyring, callee: &str, clock: Clock) -> Self {
        let ids = Ids::random(clock.clone());
        Self(Arc::new(Inner {
            keyring,
            callee: callee.to_owned(),
            clock,
            ids,
            caller_token: Mutex::new(None),
        }))
    }

    /// A way to it, as [`crate::connect`] makes one, protected by our certificate when the endpoint is `https://`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self, endpoint: &Endpoint) -> Channel {
        open(endpoint, self.0.keyring.tls.as_ref(), self.0.clock.clone())
    }

    /// A call of an internal method, in the tenant and on behalf of the person of `ctx`, within its remaining time.
    pub fn request<M>(&self, ctx: &RequestContext, message: M) -> Request<M> {
        let mut request = self.stream_request(ctx, message);
        let remaining = ctx
            .deadline()
            .map(|deadline| deadline.saturating_duration_since(self.0.clock.instant()));
        let timeout = remaining
            .map_or(TIMEOUT_DEFAULT, |left| left.saturating_sub(WAY_HOME))
            .max(Duration::from_millis(1));
        request.set_timeout(timeout);
        request
    }

    /// Like [`Peer::request`] for methods with streams, which have no total deadline.
    pub fn stream_request<M>(&self, ctx: &RequestContext, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        put(
            metadata,
            metadata::CONTEXT,
            &self.service_token(ctx.tenant_id(), ctx.principal().user_id(), ctx.request_id()),
        );
        put(metadata, metadata::REQUEST_ID, ctx.request_id());
        put(metadata, metadata::ACCEPT_LANGUAGE, ctx.locale().as_str());
        if let Some(traceparent) = trace::current().as_deref().or(ctx.traceparent()) {
            put(metadata, metadata::TRACEPARENT, traceparent);
        }
        request
    }

    /// A call on behalf of an outside caller: for the gateway.
    pub fn forward<M>(&self, forward: &Forward<'_>, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert(metadata::CALLER, self.caller_token());
        put(metadata, metadata::REQUEST_ID, forward.request_id);
        put(metadata, metadata::ACCEPT_LANGUAGE, forward.locale.as_str());
        if let Some(token) = forward.context_token {
            put(metadata, metadata::CONTEXT, token);
        }
        if let Some(traceparent) = trace::current().as_deref().or(forward.traceparent) {
            put(metadata, metadata::TRACEPARENT, traceparent);
        }
        if let Some(key) = forward.idempotency_key {
            put(metadata, metadata::IDEMPOTENCY_KEY, key);
        }
        if let Some(client) = forward.client {
            if let Some(ip) = client.ip {
                put(metadata, metadata::CLIENT_IP, &ip.to_string());
            }
            put(
                metadata,
                metadata::CLIENT_AGENT,
                &visible(&client.user_agent),
            );
        }
        if let Some(timeout) = forward.timeout {
            request.set_timeout(timeout);
        }
        request
    }

    /// A service token for one request.
    pub fn service_token(
        &self,
        tenant_id: Option<TenantId>,
        on_behalf_of: Option<UserId>,
        request_id: &str,
    ) -> String {
        let inner = &self.0;
        let now = inner.clock.now().timestamp();
        let claims = ServiceClaims {
            iss: inner.keyring.identity.name().to_owned(),
            aud: inner.callee.clone(),
            tid: tenant_id,
            obo: on_behalf_of,
            req: request_id.to_owned(),
            iat: now,
            nbf: None,
            exp: now + LIFETIME.as_secs().cast_signed(),
            jti: inner.ids.next(),
        };
        mint_service(&inner.keyring.identity, &claims)
    }

    fn caller_token(&self) -> AsciiMetadataValue {
        let now = self.0.clock.instant();
        let mut slot = self
            .0
            .caller_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((token, made)) = slot.as_ref()
            && now.saturating_duration_since(*made) < CALLER_TOKEN_REUSE
        {
            return token.clone();
        }
        let token = AsciiMetadataValue::try_from(self.service_token(None, None, ""))
            .expect("a token is base64url and dots");
        *slot = Some((token.clone(), now));
        token
    }
}

/// Metadata is ASCII; what cannot travel is left out rather than failing the call.
fn put(metadata: &mut MetadataMap, key: &'static str, value: &str) {
    if value.is_empty() {
        return;
    }
    match AsciiMetadataValue::try_from(value) {
        Ok(value) => {
            metadata.insert(key, value);
        }
        Err(_) => tracing::debug!(key, "metadata that is not ASCII is left out"),
    }
}

fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            }
        })
        .collect()
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Peer({} -> {})",
            self.0.keyring.identity.name(),
            self.0.callee
        )
    }
}
