//! Refresh tokens: each is used once and has exactly one successor.
//!
//! The successor is derived from the token, so a client whose answer got lost asks again and gets the same one; there is nothing that
//! could fork. Once the successor has been used, the old token in anybody's hand means theft, and the session ends for everybody.

pub mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, ErrorCode, Principal, RequestContext, Result, SessionId, TenantId};
use proto::auth::v1 as pb;
use serde_json::json;
use uuid::Uuid;

use crate::App;
use crate::access::{self, Change};
use crate::access_tokens::Subject;
use crate::memberships::{self, Access};
use crate::secrets::{self, Secret};
use crate::sessions::{self, Session, TokenPair};
use crate::users;

/// One link of a chain as stored.
#[derive(Clone, Debug)]
pub struct Link {
    /// The row.
    pub id: Uuid,
    /// The chain.
    pub family_id: Uuid,
    /// Its place in the chain, from 0.
    pub generation: i32,
    /// When it ends unused.
    pub expires_at: DateTime<Utc>,
    /// When it was exchanged for its successor.
    pub used_at: Option<DateTime<Utc>>,
    /// When its chain was ended.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What to do with a token that was presented.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Use it up and put its successor in place.
    Rotate,
    /// Its answer got lost: hand out the same successor again.
    Repeat,
    /// Somebody uses a token that has been used up: end the session.
    Reuse,
    /// It has ended in the ordinary way.
    Ended,
    /// It has not been used in time.
    Expired,
}

/// `retry` is how long a lost answer may be asked for again.
fn decide(
    session: Session,
    link: &Link,
    successor: Option<&Link>,
    now: DateTime<Utc>,
    retry: TimeDelta,
) -> Decision {
    if !session.is_live(now) {
        return Decision::Ended;
    }
    let Some(used_at) = link.used_at else {
        return if link.revoked_at.is_some() {
            Decision::Ended
        } else if link.expires_at <= now {
            Decision::Expired
        } else {
            Decision::Rotate
        };
    };
    match successor {
        Some(successor) if successor.used_at.is_none() && now - used_at < retry => {
            if successor.revoked_at.is_some() {
                Decision::Ended
            } else {
                Decision::Repeat
            }
        }
        _ => Decision::Reuse,
    }
}

/// Exchanges a refresh token for a new pair.
///
/// Repeated within 10 seconds it answers the same refresh token; later, or once the successor has been used, it ends the session,
/// emits `session.reuse_detected` and fails with `INVALID_TOKEN`. Tenant, membership, person and session are held while it decides,
/// so nothing is minted once a suspension or a logout has returned.
pub async fn refresh(app: &App, ctx: &RequestContext, token: &str) -> Result<TokenPair> {
    let hash = secrets::fingerprint(token);
    let found = store::find_origin(app, ctx, &hash)
        .await?
        .ok_or_else(crate::access_tokens::invalid_token)?;
    let subject = Subject {
        user_id: found.user_id,
        session_id: found.session_id,
        tenant_id: found.tenant_id,
    };
    let ctx = &sessions::acting_as(
        ctx,
        Principal::User {
            user_id: subject.user_id,
            session_id: Some(subject.session_id),
        },
    );
    let now = app.clock.now();
    let mut tx = sessions::begin_in(app, ctx, subject.tenant_id).await?;
    let held = hold(&mut tx, &subject).await?;
    let session = held.session;
    let (link, successor) = store::get_with_successor(&mut tx, &hash).await?;
    let retry = app.rules.refresh_retry;
    match decide(session, &link, successor.as_ref(), now, retry) {
        Decision::Reuse => {
            end_for_reuse(tx, subject, &link, now).await?;
            return Err(crate::access_tokens::invalid_token());
        }
        Decision::Ended => return Err(crate::access_tokens::invalid_token()),
        Decision::Expired => return Err(expired()),
        Decision::Rotate | Decision::Repeat => held.require_access()?,
    }
    let generation = link.generation + 1;
    let next = app.derivation.successor(token, link.family_id, generation);
    if successor.is_none() {
        let next_hash = secrets::fingerprint(&next);
        let expires_at = (now + app.rules.refresh_lifetime).min(session.expires_at);
        let times = (now, expires_at);
        store::rotate(&mut tx, &link, app.ids.next(), &next_hash, times).await?;
    }
    tx.commit().await?;
    sessions::token_pair(app, subject, next)
}

/// What may forbid a refresh, locked until the transaction ends.
struct Held {
    /// Of the tenant that the token is bound to; the inner one is none when the tenant is gone.
    access: Option<Option<Access>>,
    suspended: bool,
    session: Session,
}

/// Locks in the order that everybody keeps: tenant, membership, person, session.
async fn hold(tx: &mut db::Tx, subject: &Subject) -> Result<Held> {
    let access = match subject.tenant_id {
        Some(tenant_id) => Some(memberships::hold_access(tx, subject.user_id, tenant_id).await?),
        None => None,
    };
    let identity = users::hold_identity(tx, subject.user_id).await?;
    let session = sessions::store::hold(tx, subject.session_id).await?;
    Ok(Held {
        access,
        suspended: identity.is_none_or(|identity| identity.suspended),
        session: session.ok_or_else(crate::access_tokens::invalid_token)?,
    })
}

impl Held {
    fn require_access(&self) -> Result<()> {
        if self.suspended {
            return Err(users::suspended());
        }
        match &self.access {
            Some(access) => memberships::require_access(access.as_ref()),
            None => Ok(()),
        }
    }
}

fn expired() -> Error {
    Error::new(
        ErrorCode::TokenExpired,
        "auth.refresh_token_expired",
        "the session has expired; sign in again",
    )
}

/// Starts the chain of a session in a tenant. A chain that was there ends: nobody needs two keys to one door.
pub async fn start_chain(
    app: &App,
    tx: &mut db::Tx,
    session_id: SessionId,
    tenant_id: Option<TenantId>,
) -> Result<Secret> {
    let now = app.clock.now();
    store::revoke_chain(tx, session_id, tenant_id, now).await?;
    let token = secrets::random_token()?;
    let first = store::First {
        id: app.ids.next(),
        family_id: app.ids.next(),
        hash: secrets::fingerprint(&token),
        session_id,
        tenant_id,
        expires_at: now + app.rules.refresh_lifetime,
    };
    store::insert_first(tx, &first, now).await?;
    Ok(token)
}

async fn end_for_reuse(
    mut tx: db::Tx,
    subject: Subject,
    link: &Link,
    now: DateTime<Utc>,
) -> Result<()> {
    let session_id = subject.session_id;
    tracing::warn!(session_id = %session_id, "a used refresh token came back; the session ends");
    sessions::store::revoke(&mut tx, session_id, "reuse", now).await?;
    let event = pb::SessionReuseDetected {
        user_id: subject.user_id.to_string(),
        session_id: session_id.to_string(),
    };
    tx.emit(session_id, &event)?;
    let facts = json!({ "family": link.family_id, "generation": link.generation });
    tx.audit(db::AuditEntry::new("sessions.refresh-reuse", "session", session_id).with(facts))?;
    access::record(
        &mut tx,
        Change {
            session_id: Some(session_id.0),
            ..Change::default()
        },
        now,
    )
    .await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: TimeDelta = TimeDelta::seconds(10);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn link(generation: i32, used: Option<i64>, revoked: Option<i64>) -> Link {
        Link {
            id: Uuid::nil(),
            family_id: Uuid::nil(),
            generation,
            expires_at: at(1000),
            used_at: used.map(at),
            revoked_at: revoked.map(at),
        }
    }

    fn live() -> Session {
        Session {
            expires_at: at(5000),
            revoked_at: None,
        }
    }

    fn check(link: &Link, successor: Option<&Link>, now: i64, expected: Decision) {
        assert_eq!(
            decide(live(), link, successor, at(now), RETRY),
            expected,
            "at {now}: {link:?} followed by {successor:?}"
        );
    }

    #[test]
    fn an_unused_token_is_rotated_until_it_expires_or_its_chain_ends() {
        check(&link(0, None, None), None, 999, Decision::Rotate);
        check(&link(0, None, None), None, 1000, Decision::Expired);
        check(&link(0, None, Some(5)), None, 10, Decision::Ended);
    }

    #[test]
    fn a_lost_answer_is_repeated_for_ten_seconds_while_nobody_used_it() {
        let (old, next) = (link(0, Some(100), None), link(1, None, None));
        check(&old, Some(&next), 100, Decision::Repeat);
        check(&old, Some(&next), 109, Decision::Repeat);
        check(&old, Some(&next), 110, Decision::Reuse);
    }

    #[test]
    fn a_used_successor_makes_the_old_token_theft_even_within_the_same_second() {
        check(
            &link(0, Some(100), None),
            Some(&link(1, Some(100), None)),
            100,
            Decision::Reuse,
        );
    }

    #[test]
    fn an_old_token_stays_theft_after_it_expired() {
        check(
            &link(0, Some(100), None),
            Some(&link(1, None, None)),
            2000,
            Decision::Reuse,
        );
    }

    #[test]
    fn a_chain_that_was_replaced_has_ended_without_alarm() {
        check(
            &link(0, Some(100), None),
            Some(&link(1, None, Some(101))),
            102,
            Decision::Ended,
        );
    }

    #[test]
    fn without_a_retry_window_every_second_use_is_theft() {
        let (old, next) = (link(0, Some(100), None), link(1, None, None));
        assert_eq!(
            decide(live(), &old, Some(&next), at(100), TimeDelta::zero()),
            Decision::Reuse
        );
    }

    #[test]
    fn nothing_comes_out_of_a_session_that_has_ended() {
        let revoked = Session {
            expires_at: at(5000),
            revoked_at: Some(at(50)),
        };
        let expired = Session {
            expires_at: at(60),
            revoked_at: None,
        };
        for session in [revoked, expired] {
            assert_eq!(
                decide(session, &link(0, None, None), None, at(60), RETRY),
                Decision::Ended
            );
            assert_eq!(
                decide(
                    session,
                    &link(0, Some(59), None),
                    Some(&link(1, None, None)),
                    at(60),
                    RETRY
                ),
                Decision::Ended
            );
        }
    }
}
