//! Failed sign-ins slow down the next ones, and never lock anybody out.
//!
//! Two counters: one for an account as seen from one network, one for the account as a whole. The second spares networks from which
//! the person has signed in before, so that somebody who guesses from elsewhere cannot keep the owner out. Counting happens before the
//! password is looked at, so parallel guesses count as many. Unknown addresses are counted alike.

mod store;

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Error, ErrorCode, RequestContext, Result};

pub use store::delete_ended;

use crate::App;

/// What one counter allows.
struct Rule {
    /// Attempts that cost nothing.
    free: i32,
    /// The longest pause between two attempts.
    pause_max: TimeDelta,
    /// After this long without a success the count starts anew.
    window: TimeDelta,
}

/// One network guessing at one account: a person mistypes a few times, a guesser goes on.
const FROM_ONE_NETWORK: Rule = Rule {
    free: 10,
    pause_max: TimeDelta::minutes(15),
    window: TimeDelta::hours(1),
};
/// Many networks guessing at one account. The pause stays short: it also meets the owner who signs in from a new place.
const ON_THE_ACCOUNT: Rule = Rule {
    free: 30,
    pause_max: TimeDelta::minutes(1),
    window: TimeDelta::hours(1),
};
/// How long a network counts as one from which the person signs in.
const KNOWN_NETWORK: TimeDelta = TimeDelta::days(30);

/// What was counted for one sign-in; given back on success.
#[must_use = "a success must clear what was counted"]
pub struct Reserved {
    keys: Vec<Vec<u8>>,
}

/// One counter as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counter {
    attempts: i32,
    window_ends_at: DateTime<Utc>,
    blocked_until: Option<DateTime<Utc>>,
}

impl Rule {
    /// The counter after one more attempt, or how long the caller must wait. A refused attempt counts nothing: waiting always helps.
    fn count(
        &self,
        counter: Counter,
        now: DateTime<Utc>,
    ) -> std::result::Result<Counter, TimeDelta> {
        if let Some(until) = counter.blocked_until.filter(|until| *until > now) {
            return Err(until - now);
        }
        let fresh = counter.window_ends_at <= now;
        let attempts = if fresh {
            1
        } else {
            counter.attempts.saturating_add(1)
        };
        Ok(Counter {
            attempts,
            window_ends_at: if fresh {
                now + self.window
            } else {
                counter.window_ends_at
            },
            blocked_until: self.pause(attempts).map(|pause| now + pause),
        })
    }

    /// Nothing for the free attempts, then one second, two, four, up to the longest pause.
    fn pause(&self, attempts: i32) -> Option<TimeDelta> {
        let beyond = u32::try_from(attempts - self.free)
            .ok()
            .filter(|beyond| *beyond > 0)?;
        let seconds = 1_i64.checked_shl((beyond - 1).min(32)).unwrap_or(i64::MAX);
        Some(TimeDelta::seconds(seconds).min(self.pause_max))
    }
}

/// Counts a sign-in as `email`, in advance. Fails with `Limited` while the account has to rest, and says for how long.
pub async fn reserve(app: &App, ctx: &RequestContext, email: &str) -> Result<Reserved> {
    let now = app.clock.now();
    let network = network_key(app, ctx);
    let keys = vec![
        app.derivation
            .attempt_key("network", &[email, &network_of(ctx.client().ip)]),
        app.derivation.attempt_key("account", &[email]),
    ];
    let mut tx = app
        .db
        .across_tenants(ctx, "sign-ins are counted before anybody has signed in")
        .await?;
    let known = store::knows_network(&mut tx, email, &network, now - KNOWN_NETWORK).await?;
    store::insert_missing(&mut tx, &keys, now).await?;
    let mut counters = store::hold(&mut tx, &keys).await?;
    for (key, counter) in &mut counters {
        let rule = if *key == keys[0] {
            &FROM_ONE_NETWORK
        } else {
            &ON_THE_ACCOUNT
        };
        let spared = known && *key == keys[1];
        match rule.count(*counter, now) {
            Ok(next) => *counter = next,
            Err(_) if spared => {}
            Err(wait) => return Err(too_many(wait)),
        }
    }
    store::update(&mut tx, &counters).await?;
    tx.commit().await?;
    Ok(Reserved { keys })
}

/// Forgets what was counted, because the password was right.
pub async fn clear(tx: &mut db::Tx, reserved: Reserved) -> Result<()> {
    store::delete(tx, &reserved.keys).await
}

/// The keyed hash of the caller's network, as kept with a session.
pub fn network_key(app: &App, ctx: &RequestContext) -> Vec<u8> {
    app.derivation
        .attempt_key("place", &[&network_of(ctx.client().ip)])
}

/// Neighbours of an address: what one subscriber or one office usually holds (/24 of IPv4, /48 of IPv6).
fn network_of(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}")
        }
        Some(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}")
        }
        None => String::new(),
    }
}

fn too_many(wait: TimeDelta) -> Error {
    let wait = wait
        .to_std()
        .unwrap_or_default()
        .max(std::time::Duration::from_secs(1));
    Error::new(
        ErrorCode::RateLimited,
        "auth.too_many_attempts",
        "too many attempts to sign in; wait a moment and try again",
    )
    .with_retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn empty() -> Counter {
        Counter {
            attempts: 0,
            window_ends_at: start(),
            blocked_until: None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let rule = FROM_ONE_NETWORK;
        let pause = |attempts| rule.pause(attempts).map(|p| p.num_seconds());
        assert_eq!(
            [pause(1), pause(10), pause(11), pause(12), pause(14)],
            [None, None, Some(1), Some(2), Some(8)]
        );
        assert_eq!([pause(30), pause(i32::MAX)], [Some(900), Some(900)]);
    }

    #[test]
    fn a_refused_attempt_counts_nothing_and_waiting_helps() {
        let (rule, now) = (FROM_ONE_NETWORK, start());
        let mut counter = empty();
        for _ in 0..11 {
            counter = rule.count(counter, now).unwrap();
        }
        assert_eq!(rule.count(counter, now), Err(TimeDelta::seconds(1)));
        let later = now + TimeDelta::seconds(1);
        assert_eq!(rule.count(counter, later).unwrap().attempts, 12);
        assert_eq!(
            rule.count(counter, now + rule.window).unwrap().attempts,
            1,
            "a new window forgets"
        );
    }

    #[test]
    fn neighbours_share_a_network() {
        let network = |ip: &str| network_of(Some(ip.parse().unwrap()));
        assert_eq!(network("203.0.113.7"), network("203.0.113.250"));
        assert_eq!(network("::ffff:203.0.113.7"), network("203.0.113.7"));
        assert_ne!(network("203.0.113.7"), network("203.0.114.7"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:ffff::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }
}
