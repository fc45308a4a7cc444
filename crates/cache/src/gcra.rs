//! The generic cell rate algorithm: arithmetic in whole microseconds, once in Lua for Redis and once in Rust for the fallback.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

/// How a limit looks to the algorithm. A bucket is one number: the theoretical arrival time, when it will be full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Microseconds in which one permit grows back.
    pub(crate) step: i64,
    /// Permits of a full bucket.
    pub(crate) permits: u32,
}

impl Rate {
    /// The step is rounded down, so that a full bucket holds exactly `permits` and not one less.
    pub(crate) fn new(permits: u32, window: Duration) -> Self {
        let permits = permits.max(1);
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        Self {
            step: (window / i64::from(permits)).max(1),
            permits,
        }
    }

    /// How far the arrival time may lie in the future.
    pub(crate) fn depth(self) -> i64 {
        self.step.saturating_mul(i64::from(self.permits))
    }

    /// Permits in a bucket that is full again after so many microseconds.
    pub(crate) fn left(self, reset: i64) -> u32 {
        u32::try_from((self.depth() - reset) / self.step).unwrap_or(0)
    }
}

/// What one limit says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Permits taken; 0 when this or another limit of the same question refuses.
    pub(crate) granted: u32,
    /// Whether this limit by itself would allow the request.
    pub(crate) allowed: bool,
    /// Permits left.
    pub(crate) remaining: u32,
    /// Microseconds until the bucket is full.
    pub(crate) reset: i64,
    /// Microseconds until one permit is there; 0 when there is one.
    pub(crate) retry: i64,
}

/// Takes up to `want` permits at `now`. Answers what happened and the new arrival time.
pub(crate) fn take(rate: Rate, tat: i64, now: i64, want: u32) -> (Reply, i64) {
    let depth = rate.depth();
    // The upper bound forgives a bucket that was filled when the limit was larger, and a clock that went back.
    let tat = tat.clamp(now, now.saturating_add(depth));
    let free = rate.left(tat - now);
    let granted = free.min(want);
    let after = tat + i64::from(granted) * rate.step;
    let retry = if free == 0 {
        tat + rate.step - depth - now
    } else {
        0
    };
    let reply = Reply {
        granted,
        allowed: free > 0,
        remaining: free - granted,
        reset: after - now,
        retry,
    };
    (reply, after)
}

/// The numbers that the script answers per limit.
pub(crate) const REPLY_NUMBERS: usize = 5;

/// The same for several limits at once, all or nothing, by the clock of Redis. What is owed is taken first, whether or not the question is
/// granted; a debt that is larger than the bucket empties it.
///
/// Lua numbers are doubles: microseconds since 1970 need 51 of their 53 bits. They are written with `%.0f`, since Lua's own conversion
/// keeps 14 of the 16 digits, which would swallow the steps of limits above 10,000 per second.
pub(crate) static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local all = true
local tats, frees = {}, {}
for i = 1, #KEYS do
  local step, permits, owed = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2]), tonumber(ARGV[i * 4])
  local depth = step * permits
  local tat = tonumber(redis.call('GET', KEYS[i]) or '0') or 0
  if tat < now then tat = now end
  tat = math.min(tat + owed * step, now + depth)
  local free = math.floor((depth - (tat - now)) / step)
  if free < 1 then all = false end
  tats[i], frees[i] = tat, free
end
local out = {}
for i = 1, #KEYS do
  local step, permits = tonumber(ARGV[i * 4 - 3]), tonumber(ARGV[i * 4 - 2])
  local want, owed = tonumber(ARGV[i * 4 - 1]), tonumber(ARGV[i * 4])
  local tat, free, granted, retry = tats[i], frees[i], 0, 0
  if all then
    granted = math.min(free, want)
    tat = tat + granted * step
  elseif free < 1 then
    retry = tat + step - step * permits - now
  end
  if all or owed > 0 then
    redis.call('SET', KEYS[i], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1)
  end
  out[#out + 1] = granted
  out[#out + 1] = free > 0 and 1 or 0
  out[#out + 1] = free - granted
  out[#out + 1] = tat - now
  out[#out + 1] = retry
end
return out
",
    )
});

/// Reads the script's answer, one reply per limit.
pub(crate) fn read_replies(numbers: &[i64]) -> Vec<Reply> {
    let permits = |n: i64| u32::try_from(n).unwrap_or(0);
    numbers
        .chunks_exact(REPLY_NUMBERS)
        .map(|n| Reply {
            granted: permits(n[0]),
            allowed: n[1] == 1,
            remaining: permits(n[2]),
            reset: n[3],
            retry: n[4],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOGIN: Duration = Duration::from_secs(900);

    #[test]
    fn a_full_bucket_holds_exactly_its_permits_also_when_the_window_does_not_divide() {
        for permits in [1, 3, 5, 7, 100, 997, 5000] {
            let rate = Rate::new(permits, Duration::from_secs(60));
            let (now, mut tat, mut taken) = (1_795_000_000_000_000, 0, 0);
            loop {
                let (reply, after) = take(rate, tat, now, 1);
                if reply.granted == 0 {
                    break;
                }
                (tat, taken) = (after, taken + 1);
            }
            assert_eq!(taken, permits);
        }
    }

    #[test]
    fn the_first_permit_comes_back_after_one_step_and_not_before() {
        let rate = Rate::new(5, LOGIN);
        let now = 1_795_000_000_000_000;
        let (_, tat) = take(rate, 0, now, 5);
        let (reply, _) = take(rate, tat, now, 1);
        assert_eq!((reply.allowed, reply.retry), (false, 180_000_000));
        assert!(!take(rate, tat, now + 179_999_999, 1).0.allowed);
        assert!(take(rate, tat, now + 180_000_000, 1).0.allowed);
    }

    #[test]
    fn a_tightened_limit_is_full_and_not_locked_for_the_old_window() {
        let now = 1_795_000_000_000_000;
        let (_, tat) = take(Rate::new(1000, LOGIN), 0, now, 1000);
        let (reply, _) = take(Rate::new(10, Duration::from_secs(1)), tat, now, 1);
        assert_eq!((reply.allowed, reply.retry), (false, 100_000));
    }

    proptest! {
        #[test]
        fn never_more_than_a_bucket_and_its_refill(permits in 1u32..200, window_ms in 1u64..100_000, gaps in prop::collection::vec(0i64..200_000, 1..300)) {
            let rate = Rate::new(permits, Duration::from_millis(window_ms));
            let (mut now, mut tat, mut taken) = (1_795_000_000_000_000_i64, 0, 0_i64);
            let start = now;
            for gap in gaps {
                now += gap;
                let (reply, after) = take(rate, tat, now, 1);
                tat = after;
                taken += i64::from(reply.granted);
                prop_assert!(taken <= i64::from(permits) + (now - start) / rate.step + 1);
            }
        }
    }
}
