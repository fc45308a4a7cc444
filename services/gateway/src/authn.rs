//! Who is calling: a credential becomes a context token, which is remembered until it ends or access changes.
//!
//! Services trust only the context token, so what stands here is a cache with a strict rule for its age:
//! auth streams every change of access and a sign of life each second. After silence the cache is not believed, and each
//! request asks auth again; when auth is not there, nobody with a credential gets in.

mod ask;
mod credential;
mod follow;
mod renew;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use kernel::{Clock, Error, ErrorCode, Locale, Result};
use moka::Expiry;
use moka::future::Cache;
use proto::auth::v1::AccessChange;
use proto::policy::{Access as Declared, MethodPolicy};
use runtime::Tasks;
use tokio::sync::{Semaphore, watch};

pub use credential::Credential;
pub use follow::follow;

use crate::upstream::Upstream;

/// Memory for the callers that are remembered: twenty thousand with every permission, who take about 6 KiB each, and more of all others.
const REMEMBERED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Refused credentials remembered, so that a client in a loop does not keep auth busy.
const REFUSED_MAX: u64 = 10_000;
/// How long a refusal is remembered. Short, because a key that is not known yet may be made any moment.
const REFUSED_FOR: Duration = Duration::from_secs(3);

type Key = [u8; 32];

/// What auth said of a credential.
#[derive(Debug)]
pub struct Access {
    /// Sent to services.
    pub context_token: String,
    /// `user`, `service` or `platform`.
    pub actor_type: String,
    pub actor_id: String,
    pub tenant_id: Option<String>,
    session_id: Option<String>,
    /// Sorted.
    permissions: Vec<String>,
    /// Until when it may be used.
    usable_until: DateTime<Utc>,
    /// From when on the next request has it renewed; never when the credential ends by then.
    renew_from: Option<DateTime<Utc>>,
    is_renewed: AtomicBool,
    /// What [`Pulse::generation`] was before auth was asked.
    generation: u64,
    /// How long it may stay in the cache.
    keep: Duration,
    /// What limits per person or service account count by.
    pub actor_subject: String,
    /// What limits per tenant count by.
    pub tenant_subject: Option<String>,
}

impl Access {
    /// Whether platform staff is calling.
    pub fn is_platform(&self) -> bool {
        self.actor_type == "platform"
    }

    /// Whether the effective permissions contain `action`.
    pub fn may(&self, action: &str) -> bool {
        self.permissions
            .binary_search_by(|known| known.as_str().cmp(action))
            .is_ok()
    }

    /// Checks what a method declares. The service checks the same again; this one saves the way.
    pub fn check(&self, policy: &MethodPolicy) -> Result<()> {
        match policy.access {
            Declared::Public | Declared::SignedIn => Ok(()),
            Declared::Platform if self.is_platform() => Ok(()),
            Declared::Platform => Err(refused_action(policy)),
            Declared::Permission if self.is_platform() && policy.platform_too => Ok(()),
            Declared::Permission if self.tenant_id.is_none() => Err(Error::tenant_required()),
            Declared::Permission if policy.permission.is_some_and(|action| self.may(action)) => {
                Ok(())
            }
            Declared::Permission => Err(refused_action(policy)),
            Declared::Internal => Err(Error::internal("an internal method has no route")),
        }
    }

    /// Roughly the memory that it takes: the token, the permissions, and the rest of the entry.
    fn weight(&self) -> u32 {
        const REST: usize = 768;
        let each = |name: &String| name.len() + size_of::<String>();
        let permissions: usize = self.permissions.iter().map(each).sum();
        u32::try_from(self.context_token.len() + permissions + REST).unwrap_or(u32::MAX)
    }

    fn is_hit_by(&self, change: &AccessChange) -> bool {
        let hit = |changed: &Option<String>, own: Option<&str>| {
            changed
                .as_deref()
                .is_none_or(|changed| own == Some(changed))
        };
        hit(&change.tenant_id, self.tenant_id.as_deref())
            && hit(&change.actor_id, Some(&self.actor_id))
            && hit(&change.session_id, self.session_id.as_deref())
    }
}

fn refused_action(policy: &MethodPolicy) -> Error {
    match policy.permission {
        Some(action) => Error::forbidden_action(action),
        None => Error::new(
            ErrorCode::ForbiddenAction,
            "access.platform_only",
            "only platform staff may do this",
        ),
    }
}

/// Resolves credentials and remembers what came of it. Shared by all threads.
pub struct Authn {
    remembered: Cache<Key, Arc<Access>>,
    refused: moka::sync::Cache<Key, ErrorCode>,
    pulse: Pulse,
    renewals: Arc<Semaphore>,
    tasks: Tasks,
    clock: Clock,
}

/// What is known about the stream of changes.
struct Pulse {
    /// Moves before a change is applied: an answer that was under way meanwhile is not remembered.
    generation: Arc<AtomicU64>,
    /// Moves after a change has been applied: whoever looks again then sees its effect.
    changes: watch::Sender<u64>,
    /// When auth was heard last, in microseconds since `zero`; negative means never.
    heard: AtomicI64,
    zero: Instant,
    silence_max: Duration,
    asked: AtomicU64,
    remembered: AtomicU64,
}

impl Authn {
    /// `silence_max` is how long the cache is believed without a word from auth.
    pub fn new(clock: Clock, tasks: Tasks, silence_max: Duration) -> Self {
        let generation = Arc::new(AtomicU64::new(0));
        let by_keep = ByKeep {
            generation: Arc::clone(&generation),
        };
        Self {
            remembered: Cache::builder()
                .max_capacity(REMEMBERED_BYTES_MAX)
                .weigher(|_, access: &Arc<Access>| access.weight())
                .expire_after(by_keep)
                .support_invalidation_closures()
                .build(),
            refused: moka::sync::Cache::builder()
                .max_capacity(REFUSED_MAX)
                .time_to_live(REFUSED_FOR)
                .build(),
            pulse: Pulse {
                generation,
                changes: watch::Sender::new(0),
                heard: AtomicI64::new(-1),
                zero: clock.instant(),
                silence_max,
                asked: AtomicU64::new(0),
                remembered: AtomicU64::new(0),
            },
            renewals: Arc::new(Semaphore::new(renew::RENEWALS_MAX)),
            tasks,
            clock,
        }
    }

    /// Whether changes of access are arriving, so that the cache may be believed.
    pub fn is_current(&self) -> bool {
        let heard = self.pulse.heard.load(Ordering::Acquire);
        let Ok(heard) = u64::try_from(heard) else {
            return false;
        };
        let now = self
            .clock
            .instant()
            .saturating_duration_since(self.pulse.zero);
        now.saturating_sub(Duration::from_micros(heard)) <= self.pulse.silence_max
    }

    /// Wakes whenever access has changed for somebody.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pulse.changes.subscribe()
    }

    /// How often auth was asked.
    pub fn asked(&self) -> u64 {
        self.pulse.asked.load(Ordering::Relaxed)
    }

    /// How often a caller was remembered.
    pub fn remembered(&self) -> u64 {
        self.pulse.remembered.load(Ordering::Relaxed)
    }

    /// Tells who is calling. Several requests with the same new credential ask auth once.
    pub async fn resolve(
        self: &Arc<Self>,
        auth: &Upstream,
        credential: &Credential<'_>,
        request: &Origin<'_>,
    ) -> Result<Arc<Access>> {
        let key = credential.key();
        if !self.is_current() {
            return self.ask(auth, credential, request).await.map(Arc::new);
        }
        if let Some(known) = self.remembered.get(&key).await {
            let now = self.clock.now();
            if now < known.usable_until {
                self.pulse.remembered.fetch_add(1, Ordering::Relaxed);
                if known.is_due(now) {
                    self.renew(&known, auth, credential, request);
                }
                return Ok(known);
            }
            self.remembered.invalidate(&key).await;
        }
        if let Some(code) = self.refused.get(&key) {
            return Err(refusal(code));
        }
        let asking = async { self.ask(auth, credential, request).await.map(Arc::new) };
        let asked = self.remembered.try_get_with(key, asking).await;
        asked.map_err(|error| {
            self.note_refusal(key, &error);
            copy(&error)
        })
    }

    /// Remembers that a credential is not valid. Answers whether it is so.
    fn note_refusal(&self, key: Key, error: &Error) -> bool {
        let code = error.error_code();
        let is_refused = matches!(code, ErrorCode::InvalidToken | ErrorCode::TokenExpired);
        if is_refused {
            self.refused.insert(key, code);
        }
        is_refused
    }

    /// Notes that auth is alive.
    fn heard(&self) {
        let since = self
            .clock
            .instant()
            .saturating_duration_since(self.pulse.zero);
        self.pulse.heard.store(
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Ordering::Release,
        );
    }

    /// Forgets everybody whom a change hits.
    fn apply(&self, change: AccessChange) {
        self.pulse.generation.fetch_add(1, Ordering::SeqCst);
        self.refused.invalidate_all();
        let hit = self
            .remembered
            .invalidate_entries_if(move |_, access| access.is_hit_by(&change));
        if hit.is_err() {
            self.remembered.invalidate_all();
        }
        self.pulse.changes.send_modify(|count| *count += 1);
    }

    /// Forgets everybody: changes may have been missed.
    fn forget_all(&self) {
        self.pulse.generation.fetch_add(1, Ordering::SeqCst);
        self.refused.invalidate_all();
        self.remembered.invalidate_all();
        self.pulse.changes.send_modify(|count| *count += 1);
    }
}

/// The request that needs to know who is calling.
#[derive(Clone, Copy)]
pub struct Origin<'r> {
    pub id: &'r str,
    pub traceparent: &'r str,
    pub locale: Locale,
}

/// Keeps an entry as long as it says itself, and not at all if access has changed since auth was asked: the change passed before the entry was there.
struct ByKeep {
    generation: Arc<AtomicU64>,
}

impl ByKeep {
    fn keep(&self, access: &Access) -> Duration {
        if self.generation.load(Ordering::SeqCst) == access.generation {
            access.keep
        } else {
            Duration::ZERO
        }
    }
}

impl Expiry<Key, Arc<Access>> for ByKeep {
    fn expire_after_create(
        &self,
        _key: &Key,
        value: &Arc<Access>,
        _now: Instant,
    ) -> Option<Duration> {
        Some(self.keep(value))
    }

    fn expire_after_update(
        &self,
        _key: &Key,
        value: &Arc<Access>,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.keep(value))
    }
}

/// A remembered refusal, in the words of auth: an answer does not tell whether the credential was seen before.
fn refusal(code: ErrorCode) -> Error {
    match code {
        ErrorCode::TokenExpired => Error::new(
            code,
            "auth.token_expired",
            "the credential has ended; refresh it or sign in again",
        ),
        _ => Error::new(
            ErrorCode::InvalidToken,
            "auth.token_invalid",
            "the credential is not valid",
        ),
    }
}

/// A failure that several waiting requests share, for each of them.
fn copy(error: &Error) -> Error {
    let mut copy = Error::new(
        error.error_code(),
        error.reason().to_owned(),
        error.message(),
    );
    for (key, value) in error.details() {
        copy = copy.with_detail(key.clone(), value);
    }
    match error.retry_after() {
        Some(after) => copy.with_retry_after(after).caused_by(error.chain()),
        None => copy.caused_by(error.chain()),
    }
}
