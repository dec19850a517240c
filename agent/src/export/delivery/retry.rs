//! When to try again: full-jitter backoff, and what the server asks for. Pure: time and chance come from the caller.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant, SystemTime},
};

use prost::Message;

/// Longest delay that a server's wish is followed for.
pub const SERVER_DELAY_MAX: Duration = Duration::from_hours(1);
/// So many failures in a row open the circuit breaker.
const BREAK_AFTER: u32 = 5;
/// While it is open, a delay is at least this part of its bound: a receiver that stays away is not hammered by chance.
const OPEN_PART: u32 = 4;

/// The pace of attempts. One for all batches: when the collector is down it is down for all.
///
/// It is the circuit breaker, too. Closed: several attempts at once. After a failure: one at a time, after a delay. Open,
/// after [`BREAK_AFTER`] failures: the same, and no delay is short. An answer closes it.
#[derive(Debug)]
pub struct Pace {
    first: Duration,
    most: Duration,
    failures: u32,
    resume_at: Option<Instant>,
}

impl Pace {
    /// The n-th failure in a row delays by a random part of `first` * 2^(n-1), at most of `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, resume_at: None }
    }

    /// An attempt failed. `chance` is a random number; `asked` is the delay that the server asked for. Returns whether this
    /// opened the circuit breaker.
    pub fn failed(&mut self, now: Instant, chance: u64, asked: Option<Duration>) -> bool {
        let mut opens = false;
        // Several attempts that were under way together are one failure.
        if self.resume_at.is_none_or(|at| at <= now) {
            self.failures = self.failures.saturating_add(1);
            opens = self.failures == BREAK_AFTER;
            let ceiling = self.ceiling();
            let floor = if self.failures >= BREAK_AFTER { ceiling / OPEN_PART } else { Duration::ZERO };
            self.resume_at = Some(now + floor + jitter(ceiling.saturating_sub(floor), chance));
        }
        if let Some(asked) = asked {
            let asked = now + asked.min(SERVER_DELAY_MAX);
            self.resume_at = self.resume_at.max(Some(asked));
        }
        opens
    }

    /// An attempt was answered for good.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
        self.resume_at = None;
    }

    /// The next attempt may begin now.
    pub const fn hurry(&mut self) {
        self.resume_at = None;
    }

    /// When the next attempt may begin; absent for at once.
    pub fn resume_at(&self, now: Instant) -> Option<Instant> {
        self.resume_at.filter(|&at| at > now)
    }

    /// Whether the last attempt failed. Then one attempt at a time is enough.
    pub const fn failing(&self) -> bool {
        self.failures > 0
    }

    fn ceiling(&self) -> Duration {
        self.first.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX)).min(self.most)
    }
}

/// A random number for [`Pace::failed`]: seeds of hash maps are random.
pub fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

fn jitter(ceiling: Duration, chance: u64) -> Duration {
    let part = (u128::from(chance) * ceiling.as_nanos()) >> 64;
    Duration::from_nanos(part as u64)
}

/// The delay that a `Retry-After` header asks for (RFC 9110, 10.2.3): seconds, or a date. Absent when it is neither.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(jiff::fmt::rfc2822::parse(value).ok()?.timestamp());
    Some(date.duration_since(now).unwrap_or_default())
}

/// The delay that a `google.rpc.RetryInfo` in the details of a gRPC status asks for. Its presence says that trying
/// again makes sense.
pub fn retry_info(details: &[u8]) -> Option<Duration> {
    let details = RpcStatus::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    /// What went wrong, in several ways.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// What `value` is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// A message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ProtoDuration {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds beside the seconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_delay_grows_to_its_bound_and_is_spread_over_all_of_it() {
        for (chance, factor) in [(0, 0.0), (u64::MAX / 2, 0.5), (u64::MAX, 1.0)] {
            let (mut pace, mut now) = (Pace::new(SECOND, 5 * SECOND), Instant::now());
            for (ceiling, floor) in [(1.0, 0.0), (2.0, 0.0), (4.0, 0.0), (5.0, 0.0), (5.0, 1.25), (5.0, 1.25)] {
                let opens = pace.failed(now, chance, None);
                assert_eq!(opens, pace.failures == BREAK_AFTER);
                let delay = pace.resume_at(now).map_or(0.0, |at| (at - now).as_secs_f64());
                let expected = floor + (ceiling - floor) * factor;
                assert!((delay - expected).abs() < 0.001, "{delay}, not {expected}");
                now += 10 * SECOND;
            }
        }
    }

    #[test]
    fn very_many_failures_do_not_overflow() {
        let (mut pace, now) = (Pace::new(SECOND, 5 * SECOND), Instant::now());
        for n in 0..100 {
            pace.failed(now + n * 10 * SECOND, u64::MAX, None);
        }
        assert!(pace.failing());
    }

    #[test]
    fn attempts_that_fail_together_are_one_failure() {
        let (mut pace, now) = (Pace::new(SECOND, 60 * SECOND), Instant::now());
        for _ in 0..4 {
            pace.failed(now, u64::MAX, None);
        }
        let delay = pace.resume_at(now).expect("a delay") - now;
        assert!(delay <= SECOND, "{delay:?}");
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_everything() {
        let (mut pace, now) = (Pace::new(SECOND, 5 * SECOND), Instant::now());
        pace.failed(now, 0, Some(20 * SECOND));
        assert_eq!(pace.resume_at(now), Some(now + 20 * SECOND));
        pace.failed(now, 0, Some(1_000_000 * SECOND));
        assert_eq!(pace.resume_at(now), Some(now + SERVER_DELAY_MAX));
        pace.succeeded();
        assert_eq!((pace.resume_at(now), pace.failing()), (None, false));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 7 ", now), Some(7 * SECOND));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(30 * SECOND));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        for odd in ["", "soon", "-1", "1.5", "Sun, 99 Nov 1994 08:49:00 GMT"] {
            assert_eq!(retry_after(odd, now), None, "{odd}");
        }
    }

    #[test]
    fn retry_info_is_found_among_the_details() {
        let info = |seconds, nanos| RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos }) }.encode_to_vec();
        let any = |name: &str, value| Any { type_url: format!("type.googleapis.com/google.rpc.{name}"), value };
        let status = |details| RpcStatus { details }.encode_to_vec();
        let found = status(vec![any("DebugInfo", vec![1]), any("RetryInfo", info(1, 500_000_000))]);
        assert_eq!(retry_info(&found), Some(Duration::from_millis(1500)));
        assert_eq!(retry_info(&status(vec![any("RetryInfo", Vec::new())])), Some(Duration::ZERO));
        assert_eq!(retry_info(&status(vec![any("RetryInfo", info(-1, 0))])), None);
        assert_eq!(retry_info(&status(vec![any("DebugInfo", Vec::new())])), None);
        assert_eq!(retry_info(&[]), None);
        assert_eq!(retry_info(b"\xff\xff garbage"), None);
    }
}
