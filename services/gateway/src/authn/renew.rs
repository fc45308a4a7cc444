//! Renewing what is known of a caller a little before it ends, so that nobody who keeps calling waits for auth.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::Locale;

use super::{Access, Authn, Credential, Key, Origin};
use crate::upstream::Upstream;

/// Longer than auth may take; short, because whoever has stopped calling need not be renewed.
const EARLY_MIN: TimeDelta = TimeDelta::seconds(5);
/// Callers who came together are renewed at different times within this, or they would come together again every minute.
const SPREAD_MS: u16 = 20_000;
/// Renewals under way at once. One for which there is no place waits for the caller's next request, and in the end that request waits for it.
pub(super) const RENEWALS_MAX: usize = 2;

/// How long before the end of what is known of a caller it is renewed; always the same for the same credential.
pub(super) fn early(key: &Key) -> TimeDelta {
    let spread = u16::from_be_bytes([key[0], key[1]]) % SPREAD_MS;
    EARLY_MIN + TimeDelta::milliseconds(spread.into())
}

impl Access {
    /// Whether it ends soon and nobody renews it yet.
    pub(super) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.renew_from.is_some_and(|from| from <= now) && !self.is_renewed.load(Ordering::Relaxed)
    }
}

impl Authn {
    /// Asks auth anew, apart from the request that noticed.
    pub(super) fn renew(
        self: &Arc<Self>,
        known: &Access,
        auth: &Upstream,
        credential: &Credential<'_>,
        request: &Origin<'_>,
    ) {
        let Ok(permit) = Arc::clone(&self.renewals).try_acquire_owned() else {
            return;
        };
        if known.is_renewed.swap(true, Ordering::Relaxed) {
            return;
        }
        let authn = Arc::clone(self);
        let auth = auth.clone();
        let asker = Asker::of(credential, request);
        self.tasks.spawn("gateway.renewal", async move {
            authn.ask_anew(&auth, &asker).await;
            drop(permit);
        });
    }

    async fn ask_anew(&self, auth: &Upstream, asker: &Asker) {
        let credential = asker.credential();
        let key: Key = credential.key();
        match self.ask(auth, &credential, &asker.origin()).await {
            Ok(access) => {
                self.remembered.insert(key, Arc::new(access)).await;
            }
            Err(error) if self.note_refusal(key, &error) => {
                self.remembered.invalidate(&key).await;
            }
            // What is known stays until its end, as if nobody had asked.
            Err(error) => tracing::debug!(error = error.chain(), "a caller was not renewed"),
        }
    }
}

/// What a question to auth needs of a request that does not wait for it.
struct Asker {
    secret: String,
    tenant: Option<String>,
    request_id: String,
    traceparent: String,
    locale: Locale,
}

impl Asker {
    fn of(credential: &Credential<'_>, request: &Origin<'_>) -> Self {
        Self {
            secret: credential.secret.to_owned(),
            tenant: credential.tenant.map(str::to_owned),
            request_id: request.id.to_owned(),
            traceparent: request.traceparent.to_owned(),
            locale: request.locale,
        }
    }

    fn credential(&self) -> Credential<'_> {
        Credential {
            secret: &self.secret,
            tenant: self.tenant.as_deref(),
        }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            id: &self.request_id,
            traceparent: &self.traceparent,
            locale: self.locale,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn callers_who_come_together_are_renewed_apart() {
        let whole_seconds = (0..1_000).map(|n| {
            let name = format!("caller {n}");
            let early = early(
                &Credential {
                    secret: &name,
                    tenant: None,
                }
                .key(),
            );
            early.num_seconds()
        });
        let seconds: HashSet<i64> = whole_seconds.collect();
        assert_eq!(seconds, (5..25).collect::<HashSet<i64>>());
    }
}
