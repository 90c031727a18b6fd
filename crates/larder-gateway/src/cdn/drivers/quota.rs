//! Quota: what vendors' answers say of the calls that are left, and for how long to make none where there are none. A vendor
//! that is asked all the same refuses, and some keep who does so waiting for longer.

use std::time::{Duration, SystemTime};

use sfv::{BareItem, List, ListEntry, Parser};

use super::exchange::{LONGEST_WAIT, until};
use crate::cdn::driver::Answer;

/// The number in a field.
fn number(answer: &Answer, name: &str) -> Option<f64> {
    let text = answer.head.headers.get(name)?.to_str().ok()?;
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// By the field `RateLimit` (draft-ietf-httpapi-ratelimit-headers): of each quota how many calls are left, `r`, and in how
/// many seconds there are more, `t`. Until there are of all.
pub(in crate::cdn) fn by_standard(answer: &Answer) -> Option<Duration> {
    let lines = answer.head.headers.get_all("ratelimit");
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
    let quotas: List = Parser::new(&lines.join(", ")).parse().ok()?;
    let rest = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else { return None };
        let whole = |name: &str| match item.params.get(name) {
            Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        };
        (whole("r")? == 0).then_some(Duration::from_secs(whole("t")?))
    };
    let longest = quotas.iter().filter_map(rest).max()?;
    (!longest.is_zero()).then(|| longest.min(LONGEST_WAIT))
}

/// By two fields: how many calls are left, and when there are more, in seconds since 1970.
pub(super) fn by_reset(
    answer: &Answer,
    remaining: &str,
    reset: &str,
    now: SystemTime,
) -> Option<Duration> {
    let is_over = number(answer, remaining)? < 1.0;
    let wait = if is_over { until(answer, reset, now)? } else { Duration::ZERO };
    (!wait.is_zero()).then_some(wait)
}

/// By two fields: how many are left, and how many come in a second. Until there is one.
pub(super) fn by_refill(answer: &Answer, remaining: &str, per_second: &str) -> Option<Duration> {
    let is_over = number(answer, remaining)? < 1.0;
    let per_second = number(answer, per_second).filter(|rate| *rate > 0.0)?;
    let wait = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(LONGEST_WAIT);
    is_over.then(|| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[(&str, &str)]) -> Answer {
        let mut builder = http::Response::builder();
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let (head, ()) = builder.body(()).unwrap().into_parts();
        Answer { head, body: bytes::Bytes::new() }
    }

    #[test]
    fn whoever_has_no_calls_left_rests_until_there_are_more() {
        for (field, expected) in [
            ("\"default\";r=50;t=30", None),
            ("\"default\";r=0;t=30", Some(30)),
            ("\"burst\";r=0;t=2, \"default\";r=0;t=30", Some(30)),
            ("\"burst\";r=0;t=2, \"default\";r=7;t=30", Some(2)),
            ("\"default\";r=0;t=0", None),
            ("\"default\";r=0", None),
            ("\"default\";t=9", None),
            ("\"default\";r=-1;t=9", None),
            ("\"default\";r=0;t=999999999999", Some(86_400)),
            ("", None),
            ("limit=10 remaining=0", None),
        ] {
            let wait = by_standard(&answer(&[("ratelimit", field)]));
            assert_eq!(wait.map(|wait| wait.as_secs()), expected, "{field}");
        }
        let two = answer(&[("ratelimit", "\"a\";r=0;t=1"), ("ratelimit", "\"b\";r=0;t=5")]);
        assert_eq!(by_standard(&two), Some(Duration::from_secs(5)));
    }

    #[test]
    fn nonsense_is_no_rest_and_no_panic() {
        for text in ["", "x", "-1", "NaN", "inf", "1e400", "99999999999999999999"] {
            let answer = answer(&[("left", text), ("more", text), ("ratelimit", text)]);
            by_standard(&answer);
            by_reset(&answer, "left", "more", SystemTime::UNIX_EPOCH);
            by_refill(&answer, "left", "more");
        }
        let slow = answer(&[("left", "0"), ("more", "0.0000000001")]);
        assert_eq!(by_refill(&slow, "left", "more"), Some(LONGEST_WAIT));
    }
}
