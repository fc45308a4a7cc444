//! Rate limits: the question and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::Result;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

use crate::Cache;
use crate::gcra::{REPLY_NUMBERS, Rate, Reply, SCRIPT, read_replies};
use crate::lease::Leases;
use crate::local::LocalLimiter;

/// One limit that a request must pass.
#[derive(Clone, Debug)]
pub struct Limit {
    class: &'static str,
    subject: String,
    permits: u32,
    window: Duration,
    lease: u32,
}

impl Limit {
    /// `permits` per `window` for `subject` (for example `ip:203.0.113.7` or `user:<id>`) in `class` (for example `login`).
    ///
    /// A full bucket allows `permits` at once; they grow back evenly over the window.
    pub fn new(
        class: &'static str,
        subject: impl Into<String>,
        permits: u32,
        window: Duration,
    ) -> Self {
        Self {
            class,
            subject: subject.into(),
            permits: permits.max(1),
            window,
            lease: 1,
        }
    }

    /// Lets a process fetch up to `permits` at a time when the subject is in demand, so that most requests do not ask Redis.
    ///
    /// For generous classes only: the count stays right, but permits held by one process are not there for the others. At most
    /// a tenth of the limit is leased.
    #[must_use]
    pub fn leased(mut self, permits: u32) -> Self {
        self.lease = permits.clamp(1, (self.permits / 10).max(1));
        self
    }

    fn rate(&self) -> Rate {
        Rate::new(self.permits, self.window)
    }
}

/// What one limit said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The class of the limit.
    pub class: &'static str,
    /// Whether this limit by itself allows the request.
    pub allowed: bool,
    /// Permits of a full bucket.
    pub limit: u32,
    /// The window over which they grow back.
    pub window: Duration,
    /// Permits left after this request.
    pub remaining: u32,
    /// Whole seconds until the bucket is full, rounded up.
    pub reset_seconds: u64,
    /// How long to wait before trying again; only when not allowed.
    pub retry_after: Option<Duration>,
}

/// Where the permits were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// In Redis or from permits leased there: all processes together.
    Together,
    /// In this process alone, because Redis does not answer.
    Alone,
}

/// The answer to all limits of a request: permits were taken from each of them, or from none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One outcome per limit, in the order asked.
    pub outcomes: Vec<Outcome>,
    /// Where the permits were counted.
    pub counted: Counted,
}

impl Verdict {
    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.allowed)
    }

    /// How long the caller must wait until no limit refuses; nothing when the request may go on.
    pub fn retry_after(&self) -> Option<Duration> {
        self.outcomes
            .iter()
            .filter_map(|outcome| outcome.retry_after)
            .max()
    }

    /// The limit that the caller will hit first: a refusing one if there is one, else the one with the smallest part left.
    pub fn tightest(&self) -> Option<&Outcome> {
        self.outcomes.iter().min_by(|a, b| {
            let left = |o: &Outcome| f64::from(o.remaining) / f64::from(o.limit);
            a.allowed
                .cmp(&b.allowed)
                .then(b.retry_after.cmp(&a.retry_after))
                .then(left(a).total_cmp(&left(b)))
        })
    }
}

/// Counts requests against limits. Cloning is cheap.
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    cache: Cache,
    leases: Leases,
    local: LocalLimiter,
    alone: Counter<u64>,
    leased: AtomicU64,
    asked: AtomicU64,
}

impl RateLimiter {
    pub(crate) fn new(cache: Cache, replicas: u32) -> Self {
        let local = LocalLimiter::new(cache.clock().clone(), replicas);
        let alone = opentelemetry::global::meter("cache")
            .u64_counter("cache.limiter.alone")
            .with_description(
                "rate limit questions answered by the process alone because redis did not answer",
            )
            .build();
        let inner = Arc::new(Inner {
            cache,
            leases: Leases::new(),
            local,
            alone,
            leased: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });
        observe(&inner);
        Self(inner)
    }

    /// Takes one permit of every limit, or none of any. One round trip to Redis at most, none for leased permits.
    ///
    /// Never fails: when Redis does not answer, the process counts by itself its share of each limit.
    pub async fn check(&self, limits: &[Limit]) -> Verdict {
        let inner = &*self.0;
        let now = inner.cache.clock().instant();
        let keys: Vec<String> = limits
            .iter()
            .map(|limit| inner.cache.keys().limit(limit.class, &limit.subject))
            .collect();
        let mut replies: Vec<Option<Reply>> = limits
            .iter()
            .zip(&keys)
            .map(|(limit, key)| {
                if limit.lease > 1 {
                    inner.leases.take(key, now)
                } else {
                    None
                }
            })
            .collect();
        let open: Vec<usize> = (0..limits.len())
            .filter(|i| replies[*i].is_none())
            .collect();
        let leased = limits.len() - open.len();
        inner.leased.fetch_add(leased as u64, Ordering::Relaxed);
        let mut counted = Counted::Together;
        if !open.is_empty() {
            let asked = match inner.ask(limits, &keys, &open, now).await {
                Ok(asked) => asked,
                Err(_) => {
                    counted = Counted::Alone;
                    inner.ask_alone(limits, &keys, &open)
                }
            };
            let refused = asked.iter().any(|reply| reply.granted == 0);
            for (i, key) in keys.iter().enumerate().filter(|_| refused) {
                if replies[i].is_some() {
                    inner.leases.give_back(key);
                }
            }
            for (i, reply) in open.into_iter().zip(asked) {
                replies[i] = Some(reply);
            }
        }
        let outcomes = limits
            .iter()
            .zip(replies)
            .map(|(limit, reply)| outcome(limit, reply))
            .collect();
        Verdict { outcomes, counted }
    }
}

impl Inner {
    async fn ask(
        &self,
        limits: &[Limit],
        keys: &[String],
        open: &[usize],
        now: Instant,
    ) -> Result<Vec<Reply>> {
        let mut call = SCRIPT.prepare_invoke();
        for &i in open {
            let (limit, rate) = (&limits[i], limits[i].rate());
            let want = if limit.lease > 1 {
                self.leases.want(&keys[i], limit.lease, now)
            } else {
                1
            };
            call.key(&keys[i])
                .arg(rate.step)
                .arg(rate.permits)
                .arg(want);
        }
        let numbers: Vec<i64> = self
            .cache
            .call(async |mut redis| call.invoke_async::<Vec<i64>>(&mut redis).await)
            .await?;
        self.asked.fetch_add(open.len() as u64, Ordering::Relaxed);
        if numbers.len() != open.len() * REPLY_NUMBERS {
            return Err(kernel::Error::internal(
                "the limiter script answered another number of values",
            ));
        }
        let replies = read_replies(&numbers);
        for (&i, reply) in open.iter().zip(&replies) {
            if limits[i].lease > 1 && reply.granted > 0 {
                self.leases
                    .store(keys[i].clone(), limits[i].rate(), *reply, now);
            }
        }
        Ok(replies)
    }

    fn ask_alone(&self, limits: &[Limit], keys: &[String], open: &[usize]) -> Vec<Reply> {
        self.alone
            .add(1, &[KeyValue::new("class", limits[open[0]].class)]);
        let question: Vec<_> = open
            .iter()
            .map(|&i| (keys[i].as_str(), limits[i].rate()))
            .collect();
        self.local.check(&question)
    }
}

/// Registers how often a lease spared a question to Redis.
fn observe(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    opentelemetry::global::meter("cache")
        .u64_observable_counter("cache.limiter.lookups")
        .with_description("limits counted against a lease (hit) or asked of redis (miss)")
        .with_callback(move |observer| {
            let Some(inner) = inner.upgrade() else { return };
            let tell = |count: &AtomicU64, outcome| {
                observer.observe(
                    count.load(Ordering::Relaxed),
                    &[KeyValue::new("outcome", outcome)],
                );
            };
            tell(&inner.leased, "hit");
            tell(&inner.asked, "miss");
        })
        .build();
}

fn outcome(limit: &Limit, reply: Option<Reply>) -> Outcome {
    let reply = reply.expect("each limit was answered from a lease, by redis or by the process");
    let micros = |n: i64| Duration::from_micros(u64::try_from(n).unwrap_or(0));
    Outcome {
        class: limit.class,
        allowed: reply.allowed,
        limit: limit.permits,
        window: limit.window,
        remaining: reply.remaining,
        reset_seconds: micros(reply.reset)
            .as_micros()
            .div_ceil(1_000_000)
            .try_into()
            .unwrap_or(u64::MAX),
        retry_after: (!reply.allowed).then(|| micros(reply.retry)),
    }
}
