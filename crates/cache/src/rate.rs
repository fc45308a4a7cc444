//! Rate limits: the question and its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::Result;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use runtime::Shutdown;

use crate::Cache;
use crate::credit::{Account, Credit, SETTLE_EVERY};
use crate::gcra::{REPLY_NUMBERS, Rate, Reply, SCRIPT, read_replies};
use crate::local::LocalLimiter;

/// Buckets settled by one call: the script holds up everybody else for as long as it runs, which is about a quarter of a millisecond then.
const SETTLED_AT_ONCE: usize = 64;

/// One limit that a request must pass.
#[derive(Clone, Debug)]
pub struct Limit {
    class: &'static str,
    subject: String,
    permits: u32,
    window: Duration,
    credit: u32,
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
            credit: 0,
        }
    }

    /// Lets a process take up to `permits` of a subject that it knows without asking Redis, which hears of many of them within a quarter
    /// of a second and of few within five. At most a tenth of the limit, and never more than its part of half of what is left.
    ///
    /// For generous classes only: every permit is counted, but a burst through several processes at once may go beyond the limit by what
    /// they owe.
    #[must_use]
    pub fn on_credit(mut self, permits: u32) -> Self {
        self.credit = permits.min(self.permits / 10);
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
    /// In Redis, or on credit that Redis hears of: all processes together.
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
    credit: Credit,
    local: LocalLimiter,
    alone: Counter<u64>,
    credited: AtomicU64,
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
            credit: Credit::new(replicas),
            local,
            alone,
            credited: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });
        observe(&inner);
        Self(inner)
    }

    /// Takes one permit of every limit, or none of any. One round trip to Redis at most, none for permits on credit.
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
                (limit.credit > 0)
                    .then(|| inner.credit.take(key, limit.rate(), limit.credit, now))
                    .flatten()
            })
            .collect();
        let open: Vec<usize> = (0..limits.len())
            .filter(|i| replies[*i].is_none())
            .collect();
        let credited = limits.len() - open.len();
        inner.credited.fetch_add(credited as u64, Ordering::Relaxed);
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
                    inner.credit.give_back(key, limits[i].rate());
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

    /// Tells Redis now what was taken on credit. `Unavailable` when it is away: then everything is owed on.
    pub async fn settle(&self) -> Result<()> {
        self.settle_with(self.0.credit.owing(None)).await
    }

    async fn settle_with(&self, owing: Vec<Account>) -> Result<()> {
        let mut outcome = Ok(());
        let inner = &*self.0;
        for part in owing.chunks(SETTLED_AT_ONCE) {
            let questions = part.iter().map(|account| Question {
                key: &account.key,
                rate: account.rate,
                want: 0,
                account: Some(account.clone()),
            });
            if let Err(error) = inner.exchange(questions.collect()).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Settles again and again until `shutdown`, and once more then.
    pub async fn keep_settling(self, shutdown: Shutdown) {
        // An outage is told by the cache.
        while shutdown
            .or(tokio::time::sleep(SETTLE_EVERY))
            .await
            .is_some()
        {
            let now = self.0.cache.clock().instant();
            let _settled = self.settle_with(self.0.credit.owing(Some(now))).await;
        }
        let _settled = self.settle().await;
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
        let questions = open.iter().map(|&i| {
            let (limit, rate) = (&limits[i], limits[i].rate());
            let account = (limit.credit > 0).then(|| self.credit.account(&keys[i], rate, now));
            Question {
                key: &keys[i],
                rate,
                want: 1,
                account,
            }
        });
        let replies = self.exchange(questions.collect()).await?;
        self.asked.fetch_add(open.len() as u64, Ordering::Relaxed);
        Ok(replies)
    }

    /// Puts all questions to Redis at once, tells it what is owed, and notes its answers. A debt that Redis has not heard of is kept.
    async fn exchange(&self, questions: Vec<Question<'_>>) -> Result<Vec<Reply>> {
        let mut call = SCRIPT.prepare_invoke();
        let mut debts: Vec<u32> = Vec::with_capacity(questions.len());
        for question in &questions {
            let owed = question.account.as_ref().map_or(0, Account::debt);
            debts.push(owed);
            call.key(question.key)
                .arg(question.rate.step)
                .arg(question.rate.permits)
                .arg(question.want)
                .arg(owed);
        }
        let unsettled = Unsettled {
            credit: &self.credit,
            accounts: questions
                .iter()
                .zip(&debts)
                .filter_map(|(question, owed)| Some((question.account.clone()?, *owed)))
                .collect(),
        };
        let numbers: Vec<i64> = self
            .cache
            .call(async |mut redis| call.invoke_async::<Vec<i64>>(&mut redis).await)
            .await?;
        if numbers.len() != questions.len() * REPLY_NUMBERS {
            return Err(kernel::Error::internal(
                "the limiter script answered another number of values",
            ));
        }
        unsettled.done();
        let (replies, now) = (read_replies(&numbers), self.cache.clock().instant());
        for ((question, reply), owed) in questions.iter().zip(&replies).zip(debts) {
            if let Some(account) = &question.account {
                account.settle(reply.reset, owed, now);
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

/// What is asked of Redis about one bucket.
struct Question<'q> {
    key: &'q str,
    rate: Rate,
    want: u32,
    /// Only of limits that give credit.
    account: Option<Account>,
}

/// Debts on their way to Redis. Dropped before they have arrived, also because the caller went away, they are owed on: a debt that
/// arrived all the same is then counted twice, which errs on the side of the limit.
struct Unsettled<'c> {
    credit: &'c Credit,
    accounts: Vec<(Account, u32)>,
}

impl Unsettled<'_> {
    fn done(mut self) {
        self.accounts.clear();
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        for (account, owed) in self.accounts.drain(..).filter(|(_, owed)| *owed > 0) {
            self.credit.keep(account, owed);
        }
    }
}

/// Registers how often credit spared a question to Redis.
fn observe(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    opentelemetry::global::meter("cache")
        .u64_observable_counter("cache.limiter.lookups")
        .with_description("limits counted on credit (hit) or asked of redis (miss)")
        .with_callback(move |observer| {
            let Some(inner) = inner.upgrade() else { return };
            let tell = |count: &AtomicU64, outcome| {
                observer.observe(
                    count.load(Ordering::Relaxed),
                    &[KeyValue::new("outcome", outcome)],
                );
            };
            tell(&inner.credited, "hit");
            tell(&inner.asked, "miss");
        })
        .build();
}

fn outcome(limit: &Limit, reply: Option<Reply>) -> Outcome {
    let reply = reply.expect("each limit was answered on credit, by redis or by the process");
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
