//! How often one may call: the figures of each class, and who is counted.

use std::time::Duration;

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use cache::{Limit, Outcome, RateLimiter, Verdict};
use kernel::{Error, ErrorCode};
use proto::policy::Rate;

use crate::authn::Access;

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);

/// Requests with a bad credential that one address may make in a minute, before guessing becomes waiting.
const BAD_CREDENTIALS: u32 = 60;
/// What all callers of one tenant may do in a minute, so that no tenant takes the platform for itself.
const TENANT_CEILING: u32 = 5000;

/// Whom a class counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Address,
    /// The person or service account; the address when nobody has signed in.
    Actor,
    Tenant,
}

/// One limit of a class.
struct Rule {
    /// The name in headers and keys.
    name: &'static str,
    whom: Whom,
    permits: u32,
    window: Duration,
    /// Permits that a process may take before Redis knows; 0 asks every time, as classes against guessing must.
    credit: u32,
}

const fn rule(name: &'static str, whom: Whom, permits: u32, window: Duration, credit: u32) -> Rule {
    Rule {
        name,
        whom,
        permits,
        window,
        credit,
    }
}

const TENANT: Rule = rule("tenant", Whom::Tenant, TENANT_CEILING, MINUTE, 200);
const DEFAULT: &[Rule] = &[rule("default", Whom::Actor, 100, MINUTE, 10), TENANT];
const LOGIN: &[Rule] = &[rule("login", Whom::Address, 5, QUARTER, 0)];
const MEDIA: &[Rule] = &[rule("media", Whom::Address, 200, MINUTE, 20), TENANT];
const AUTOMATION: &[Rule] = &[rule("automation", Whom::Tenant, 5000, MINUTE, 200)];
const INBOUND: &[Rule] = &[rule("inbound", Whom::Address, 1000, MINUTE, 50)];
const EXPENSIVE: &[Rule] = &[rule("expensive", Whom::Actor, 10, MINUTE, 0), TENANT];
const SIGNUP: &[Rule] = &[rule("signup", Whom::Address, 20, QUARTER, 0)];
const BAD: Rule = rule("bad-credentials", Whom::Address, BAD_CREDENTIALS, MINUTE, 0);

/// The limits of a class (requirements RL-04 to RL-08).
const fn rules(rate: Rate) -> &'static [Rule] {
    match rate {
        Rate::Default => DEFAULT,
        Rate::Login => LOGIN,
        Rate::Media => MEDIA,
        Rate::Automation => AUTOMATION,
        Rate::Inbound => INBOUND,
        Rate::Expensive => EXPENSIVE,
        Rate::Signup => SIGNUP,
        Rate::Unlimited => &[],
    }
}

/// What a class allows, for the documentation: permits and seconds of its first limit.
pub fn figures(rate: Rate) -> Option<(&'static str, u32, u64)> {
    rules(rate)
        .first()
        .map(|rule| (rule.name, rule.permits, rule.window.as_secs()))
}

/// Counts requests against the limits of their class.
#[derive(Clone)]
pub struct Limits {
    limiter: RateLimiter,
    factor: f64,
}

impl Limits {
    /// `factor` multiplies every limit.
    pub fn new(limiter: RateLimiter, factor: f64) -> Self {
        Self { limiter, factor }
    }

    /// Takes a permit of every limit of the class, in one round trip at most; `None` when the class has none.
    pub async fn check(
        &self,
        rate: Rate,
        address: &str,
        access: Option<&Access>,
    ) -> Option<Verdict> {
        let limits: Vec<Limit> = rules(rate)
            .iter()
            .filter_map(|rule| self.limit(rule, address, access))
            .collect();
        if limits.is_empty() {
            return None;
        }
        Some(self.limiter.check(&limits).await)
    }

    /// Counts a credential that was refused; the verdict says whether the address has guessed too often.
    pub async fn count_bad_credential(&self, address: &str) -> Verdict {
        let limit = self
            .limit(&BAD, address, None)
            .expect("an address is always there");
        self.limiter.check(&[limit]).await
    }

    fn limit(&self, rule: &Rule, address: &str, access: Option<&Access>) -> Option<Limit> {
        let subject = match rule.whom {
            Whom::Address => address,
            Whom::Actor => access.map_or(address, |access| &access.actor_subject),
            Whom::Tenant => access?.tenant_subject.as_deref()?,
        };
        let scaled = |permits: u32| (f64::from(permits) * self.factor).round().min(1e9) as u32;
        let limit = Limit::new(rule.name, subject, scaled(rule.permits), rule.window);
        Some(limit.on_credit(scaled(rule.credit)))
    }
}

/// The failure of a request that came too early.
pub fn refusal(verdict: &Verdict) -> Error {
    let after = verdict
        .retry_after()
        .unwrap_or(Duration::from_secs(1))
        .max(Duration::from_secs(1));
    let seconds = after.as_secs_f64().ceil() as u64;
    Error::new(
        ErrorCode::RateLimited,
        "rate.limited",
        format!("too many requests; try again in {seconds} s"),
    )
    .with_detail("seconds", seconds)
    .with_retry_after(Duration::from_secs(seconds))
}

/// Adds `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): the limit that the caller will hit first.
pub fn dress(headers: &mut HeaderMap, verdict: &Verdict) {
    let Some(outcome) = verdict.tightest() else {
        return;
    };
    let Outcome {
        class,
        limit,
        window,
        remaining,
        reset_seconds,
        ..
    } = outcome;
    let policy = format!("\"{class}\";q={limit};w={}", window.as_secs());
    let state = format!("\"{class}\";r={remaining};t={reset_seconds}");
    for (name, text) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        let value =
            HeaderValue::from_str(&text).expect("names of classes and numbers are printable");
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_requirements() {
        assert_eq!(figures(Rate::Login), Some(("login", 5, 900)));
        assert_eq!(figures(Rate::Inbound), Some(("inbound", 1000, 60)));
        assert_eq!(figures(Rate::Automation), Some(("automation", 5000, 60)));
        assert_eq!(figures(Rate::Default), Some(("default", 100, 60)));
        assert_eq!(figures(Rate::Media), Some(("media", 200, 60)));
        assert_eq!(figures(Rate::Expensive), Some(("expensive", 10, 60)));
        assert_eq!(figures(Rate::Signup), Some(("signup", 20, 900)));
        assert_eq!(figures(Rate::Unlimited), None);
    }
}
