//! Permits of generous limits that a process takes without asking Redis first, and tells it soon after.
//!
//! Most callers come by every few seconds. Asking Redis for each of them costs more than what they asked for; a lease in advance would end
//! before they come again. So the process keeps what Redis last said of a bucket, takes permits from that picture, and settles what it owes
//! with the next question, within [`SETTLE_EVERY`], or, if it is little, within [`PATIENCE`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::gcra::{Rate, Reply};

/// How soon Redis learns what was taken. Long enough that one question settles many buckets, short enough that other processes hear of a
/// flood while it begins.
pub const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// A debt of less than a quarter of its limit may wait this long: somebody who comes by every second is settled for several requests at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Buckets with a picture; beyond it the least used are forgotten, which costs their callers a question to Redis and no more.
const BUCKETS_MAX: u64 = 100_000;
/// A bucket that nobody asked for in this time is full again in every class that gives credit.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// What a process knows of a bucket.
struct Picture {
    /// Whether Redis has said anything of the bucket; until then there is no credit.
    is_known: bool,
    /// When the bucket is full again, with everything taken here counted.
    full_at: Instant,
    /// Permits taken here of which Redis does not know yet.
    owed: u32,
    /// Since when.
    owed_since: Instant,
    /// Permits of which Redis is being told.
    told: u32,
    /// How much may be owed.
    limit: u32,
    /// Whether the next settlement looks at it.
    is_listed: bool,
}

/// A bucket on credit, as a settlement finds it.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) rate: Rate,
    picture: Arc<Mutex<Picture>>,
}

pub(crate) struct Credit {
    pictures: Cache<String, Arc<Mutex<Picture>>>,
    owing: Mutex<Vec<Account>>,
    /// Processes that share the traffic, each of which may take its part of what is left.
    replicas: u32,
}

impl Credit {
    pub(crate) fn new(replicas: u32) -> Self {
        let pictures = Cache::builder()
            .max_capacity(BUCKETS_MAX)
            .time_to_idle(IDLE_MAX)
            .build();
        Self {
            pictures,
            owing: Mutex::default(),
            replicas: replicas.max(1),
        }
    }

    /// Takes one permit without asking, if the bucket is known and `limit` allows it.
    ///
    /// What all processes may owe together is at most half of what is left, by the picture of each. So a flood through one of them is
    /// counted to the permit, and one through all of them at once goes beyond the limit by what they owe at most.
    pub(crate) fn take(&self, key: &str, rate: Rate, limit: u32, now: Instant) -> Option<Reply> {
        let found = self.pictures.get(key)?;
        let mut picture = lock(&found);
        if !picture.is_known {
            return None;
        }
        let full_at = picture.full_at.max(now);
        let left = rate.left(micros(full_at - now));
        if picture.owed + picture.told >= limit.min(left / (2 * self.replicas)) {
            return None;
        }
        if picture.owed == 0 {
            picture.owed_since = now;
        }
        picture.owed += 1;
        picture.limit = limit;
        picture.full_at = full_at + duration(rate.step);
        let reply = Reply {
            granted: 1,
            allowed: true,
            remaining: left - 1,
            reset: micros(picture.full_at - now),
            retry: 0,
        };
        if !std::mem::replace(&mut picture.is_listed, true) {
            drop(picture);
            self.list(Account {
                key: key.to_owned(),
                rate,
                picture: found,
            });
        }
        Some(reply)
    }

    /// Gives back a permit that was not used after all.
    pub(crate) fn give_back(&self, key: &str, rate: Rate) {
        let Some(picture) = self.pictures.get(key) else {
            return;
        };
        let mut picture = lock(&picture);
        // Once settled, it grows back by itself.
        if picture.owed > 0 {
            picture.owed -= 1;
            picture.full_at -= duration(rate.step);
        }
    }

    /// The account of a bucket that Redis is about to be asked for, known or not.
    pub(crate) fn account(&self, key: &str, rate: Rate, now: Instant) -> Account {
        let fresh = || {
            Arc::new(Mutex::new(Picture {
                is_known: false,
                full_at: now,
                owed: 0,
                owed_since: now,
                told: 0,
                limit: 0,
                is_listed: false,
            }))
        };
        Account {
            key: key.to_owned(),
            rate,
            picture: self.pictures.get_with_by_ref(key, fresh),
        }
    }

    /// The accounts that owe something, each once. With a time, only those whose debt is large or old by then; the others stay.
    pub(crate) fn owing(&self, due: Option<Instant>) -> Vec<Account> {
        let mut owing = self.owing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |account: &mut Account| {
            let mut picture = lock(&account.picture);
            let is_due = due.is_none_or(|now| picture.is_due(now));
            picture.is_listed = !is_due;
            is_due
        };
        owing.extract_if(.., is_due).collect()
    }

    /// Takes back what could not be settled.
    pub(crate) fn keep(&self, account: Account, owed: u32) {
        let mut picture = lock(&account.picture);
        picture.told -= owed;
        picture.owed += owed;
        if !std::mem::replace(&mut picture.is_listed, true) {
            drop(picture);
            self.list(account);
        }
    }

    fn list(&self, account: Account) {
        self.owing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(account);
    }
}

impl Picture {
    fn is_due(&self, now: Instant) -> bool {
        self.owed * 4 >= self.limit || now.saturating_duration_since(self.owed_since) >= PATIENCE
    }
}

impl Account {
    /// Takes the debt out, to tell Redis of it; it counts against the credit until [`Account::settle`] or [`Credit::keep`].
    pub(crate) fn debt(&self) -> u32 {
        let mut picture = lock(&self.picture);
        let owed = std::mem::take(&mut picture.owed);
        picture.told += owed;
        owed
    }

    /// Notes what Redis has said when it was told of `owed`. What it has not heard of yet counts on top.
    pub(crate) fn settle(&self, reset: i64, owed: u32, now: Instant) {
        let mut picture = lock(&self.picture);
        picture.is_known = true;
        picture.told -= owed;
        let taken = i64::from(picture.owed + picture.told);
        let taken = self.rate.step.saturating_mul(taken);
        picture.full_at = now + duration(reset.saturating_add(taken));
    }
}

fn lock(picture: &Arc<Mutex<Picture>>) -> MutexGuard<'_, Picture> {
    picture.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: u32 = 10;

    fn rate() -> Rate {
        Rate::new(100, Duration::from_secs(60))
    }

    fn taken(credit: &Credit, now: Instant) -> u32 {
        let take = || credit.take("k", rate(), CREDIT, now);
        u32::try_from(std::iter::from_fn(take).count()).unwrap()
    }

    #[test]
    fn a_bucket_that_nobody_has_asked_for_gives_no_credit() {
        let (credit, now) = (Credit::new(1), kernel::Clock::system().instant());
        assert_eq!(taken(&credit, now), 0);
        let account = credit.account("k", rate(), now);
        assert_eq!(taken(&credit, now), 0, "redis has not answered yet");
        account.settle(0, 0, now);
        assert_eq!(taken(&credit, now), CREDIT);
    }

    #[test]
    fn credit_ends_until_it_is_settled() {
        let (credit, now) = (Credit::new(1), kernel::Clock::system().instant());
        credit.account("k", rate(), now).settle(0, 0, now);
        assert_eq!(taken(&credit, now), CREDIT);
        let owing = credit.owing(None);
        assert_eq!((owing.len(), owing[0].debt()), (1, CREDIT));
        assert_eq!(credit.owing(None).len(), 0, "each is settled once");
        assert_eq!(taken(&credit, now), 0, "redis has not answered yet");
        owing[0].settle(rate().step * i64::from(CREDIT), CREDIT, now);
        assert_eq!(taken(&credit, now), CREDIT);
    }

    #[test]
    fn the_less_is_left_the_less_credit_there_is_and_each_process_has_its_part() {
        let check = |replicas, used: i64, expected| {
            let (credit, now) = (Credit::new(replicas), kernel::Clock::system().instant());
            let reset = rate().step * used;
            credit.account("k", rate(), now).settle(reset, 0, now);
            assert_eq!(taken(&credit, now), expected, "{replicas} {used}");
        };
        check(1, 0, 10);
        check(1, 90, 3);
        check(1, 99, 0);
        check(1, 100, 0);
        check(5, 0, 9);
        check(5, 90, 1);
    }

    #[test]
    fn what_is_taken_while_redis_is_asked_counts_on_top_of_its_answer() {
        let (credit, now) = (Credit::new(1), kernel::Clock::system().instant());
        let account = credit.account("k", rate(), now);
        account.settle(0, 0, now);
        assert_eq!(account.debt(), 0);
        assert_eq!(taken(&credit, now), CREDIT);
        account.settle(rate().step, 0, now);
        let reply = credit.take("k", rate(), CREDIT + 1, now).unwrap();
        assert_eq!(reply.remaining, 100 - 1 - CREDIT - 1);
    }

    #[test]
    fn what_could_not_be_settled_is_owed_on() {
        let (credit, now) = (Credit::new(1), kernel::Clock::system().instant());
        credit.account("k", rate(), now).settle(0, 0, now);
        credit.take("k", rate(), CREDIT, now).unwrap();
        let account = credit.owing(None).remove(0);
        let owed = account.debt();
        credit.keep(account, owed);
        assert_eq!(credit.owing(None).remove(0).debt(), 1);
    }

    #[test]
    fn a_small_debt_waits_and_a_large_one_does_not() {
        let (credit, now) = (Credit::new(1), kernel::Clock::system().instant());
        credit.account("k", rate(), now).settle(0, 0, now);
        let due = |after: Duration| credit.owing(Some(now + after)).len();
        credit.take("k", rate(), CREDIT, now).unwrap();
        assert_eq!(due(PATIENCE / 2), 0);
        assert_eq!(due(PATIENCE), 1);
        assert_eq!(due(PATIENCE), 0, "each is settled once");
        for _ in 0..CREDIT / 4 {
            credit.take("k", rate(), CREDIT, now).unwrap();
        }
        assert_eq!(due(SETTLE_EVERY), 1, "with the one before, a quarter");
    }
}
