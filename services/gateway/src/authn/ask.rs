//! Asking auth who is calling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, ErrorCode, Result};
use proto::auth::v1::access_service_client::AccessServiceClient;
use proto::auth::v1::{ResolveContextRequest, ResolveContextResponse};
use rpc::Forward;
use rpc::token::{LEEWAY, LIFETIME_MAX};

use super::{Access, Authn, Credential, Origin, renew};
use crate::upstream::Upstream;

/// A context token must outlive the call that carries it, so it is not used to its last second.
const REMAINING_MIN: TimeDelta = TimeDelta::seconds(6);
/// How long auth may take to resolve a credential.
const RESOLVE_MAX: Duration = Duration::from_secs(3);

impl Authn {
    /// Asks auth who holds a credential. `INVALID_TOKEN` or `TOKEN_EXPIRED` when nobody does any more.
    pub(super) async fn ask(
        &self,
        auth: &Upstream,
        credential: &Credential<'_>,
        request: &Origin<'_>,
    ) -> Result<Access> {
        self.pulse.asked.fetch_add(1, Ordering::Relaxed);
        let generation = self.pulse.generation.load(Ordering::SeqCst);
        let message = ResolveContextRequest {
            credential: credential.secret.to_owned(),
            tenant_header: credential.tenant.map(str::to_owned),
        };
        let token = auth.peer.service_token(None, None, request.id);
        let forward = Forward {
            context_token: Some(&token),
            request_id: request.id,
            traceparent: Some(request.traceparent),
            locale: request.locale,
            timeout: Some(RESOLVE_MAX),
            ..Forward::default()
        };
        let mut client = AccessServiceClient::new(auth.channel.clone());
        let call = client.resolve_context(auth.peer.forward(&forward, message));
        let answer = tokio::time::timeout(RESOLVE_MAX, call).await;
        let answer = answer.map_err(|_| {
            Error::unavailable("resolving a credential", "auth did not answer in time")
        })?;
        let response = answer
            .map_err(|status| unreachable_is_unavailable(rpc::from_peer(status)))?
            .into_inner();
        self.read(response, generation, renew::early(&credential.key()))
    }

    fn read(
        &self,
        response: ResolveContextResponse,
        generation: u64,
        early: TimeDelta,
    ) -> Result<Access> {
        let time = |stamp: Option<prost_types::Timestamp>| {
            stamp.and_then(|stamp| {
                DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).unwrap_or(0))
            })
        };
        let token_ends = time(response.expires_at)
            .ok_or_else(|| Error::internal("auth answered without an end of the context"))?;
        let credential_ends =
            time(response.credential_expires_at).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let now = self.clock.now();
        check_clocks(token_ends - now)?;
        let usable_until = (token_ends - REMAINING_MIN).min(credential_ends);
        let keep = (usable_until - now).to_std().unwrap_or(Duration::ZERO);
        let mut permissions = response.permissions;
        permissions.sort_unstable();
        Ok(Access {
            actor_subject: format!("{}:{}", response.actor_type, response.actor_id),
            tenant_subject: response.tenant_id.as_ref().map(|id| format!("tenant:{id}")),
            context_token: response.context_token,
            actor_type: response.actor_type,
            actor_id: response.actor_id,
            tenant_id: response.tenant_id,
            session_id: response.session_id,
            permissions,
            usable_until,
            renew_from: (usable_until < credential_ends).then(|| usable_until - early),
            is_renewed: AtomicBool::new(false),
            generation,
            keep,
        })
    }
}

/// Fails when a context ends at a time that no context of now can have: nothing is remembered then, so all is well as soon as the clocks agree.
fn check_clocks(lives: TimeDelta) -> Result<()> {
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or(0);
    let longest = i64::try_from(LIFETIME_MAX.as_secs()).unwrap_or(0);
    if (-leeway..=longest + leeway).contains(&lives.num_seconds()) {
        return Ok(());
    }
    Err(Error::unavailable(
        "the clocks of auth and of the gateway are apart",
        format!(
            "a context made just now ends in {} s by the clock of the gateway",
            lives.num_seconds()
        ),
    ))
}

/// Whatever auth could not answer, the caller can only try again: a credential is never believed for want of an answer.
fn unreachable_is_unavailable(error: Error) -> Error {
    match error.error_code() {
        ErrorCode::DeadlineExceeded => Error::unavailable("resolving a credential", error),
        _ => error,
    }
}
