//! Explain: what the cache did with a request, in `Cache-Status` (RFC 9211) and `Server-Timing`.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use larder_policy::{
    cache_status::CacheStatus, fields::push_number, freshness::Freshness, reason::Reason,
    reuse::Variant, settings::Policy,
};

use crate::stats::micros;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Put into a request's extensions, it lets the answer tell under which key it is stored: for
/// readers that may know how the cache is laid out.
#[derive(Clone, Copy, Debug)]
pub struct ShowKey;

/// Put into a request's extensions, it lets the answer tell by which tags it is purged, where its
/// [policy](larder_policy::outgoing) has fields for that: for caches outside that may know.
#[derive(Clone, Copy, Debug)]
pub struct ShowTags;

/// How an answer came about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handling {
    /// From memory, for this reason.
    Served { reason: Reason, took: Duration },
    /// From the tier below memory, for this reason.
    Found { reason: Reason, took: Duration },
    /// Not at all, for this reason.
    Refused(Reason),
    /// From the origin, which was asked for this reason.
    Forwarded { why: Reason, status: Option<u16>, outcome: ReplyOutcome, took: Duration },
}

/// What became of the origin's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReplyOutcome {
    /// It is stored, or will be once it is here.
    Stored,
    /// It was another reader's, and is shared.
    Collapsed,
    /// It is not stored, for this reason.
    NotStored(Reason),
    /// There was none, or an error, and something stale stands in.
    StoodIn(Reason),
    /// It only passed.
    Passed,
}

/// Adds both fields to those of an answer, behind what caches on the way wrote there. `stored` is
/// what it was made from, if it was.
pub(crate) fn explain(
    headers: &mut HeaderMap,
    handling: Handling,
    stored: Option<Variant<'_>>,
    key: Option<&str>,
    (policy, now): (&Policy, SystemTime),
) {
    let mut status = cache_status(handling, stored, policy, now);
    if let Some(key) = key {
        status = status.key(key);
    }
    status.append_to(headers);
    let mut timing = String::with_capacity(40);
    match handling {
        Handling::Served { reason, took } => {
            let what = if reason == Reason::Hit { "hit" } else { "stale" };
            timing.extend(["cache;desc=", what, ";dur="]);
            push_millis(took, 3, &mut timing);
        }
        Handling::Found { took, .. } => {
            timing.push_str("lower;desc=hit;dur=");
            push_millis(took, 3, &mut timing);
        }
        Handling::Forwarded { took, .. } => {
            timing.push_str("origin;dur=");
            push_millis(took, 1, &mut timing);
        }
        Handling::Refused(_) => return,
    }
    let timing = HeaderValue::try_from(timing).expect("digits and ASCII letters");
    headers.append(SERVER_TIMING, timing);
}

/// Milliseconds with so many digits behind the point, at most three; what is beyond is cut off.
fn push_millis(took: Duration, digits: usize, timing: &mut String) {
    let micros = micros(took);
    push_number(micros / 1000, timing);
    timing.push('.');
    let mut rest = micros % 1000;
    for place in [100, 10, 1].into_iter().take(digits) {
        push_number(rest / place, timing);
        rest %= place;
    }
}

fn cache_status(
    handling: Handling,
    stored: Option<Variant<'_>>,
    policy: &Policy,
    now: SystemTime,
) -> CacheStatus<'static> {
    let hit = || match stored.map(|stored| (stored.freshness(policy, now), stored)) {
        Some((Freshness::Fresh { left }, _)) => CacheStatus::hit(left),
        Some((_, stored)) => CacheStatus::stale_hit(stored.stale_for(policy, now)),
        None => CacheStatus::hit(Duration::ZERO),
    };
    match handling {
        Handling::Found { reason: Reason::Hit, .. } => hit().detail(Reason::Shared),
        Handling::Served { reason, .. } | Handling::Found { reason, .. } => hit().detail(reason),
        Handling::Refused(reason) => CacheStatus::refused().detail(reason),
        Handling::Forwarded { why, status, outcome, .. } => {
            let forwarded = CacheStatus::forwarded(why, status);
            let stored_for = |forwarded: CacheStatus<'static>| match stored {
                Some(stored) => match stored.freshness(policy, now) {
                    Freshness::Fresh { left } => forwarded.stored_for(left),
                    _ => forwarded.stored_for(Duration::ZERO),
                },
                None => forwarded,
            };
            match outcome {
                ReplyOutcome::Stored => stored_for(forwarded).detail(why),
                ReplyOutcome::Collapsed => {
                    stored_for(forwarded).collapsed().detail(Reason::Collapsed)
                }
                ReplyOutcome::NotStored(reason) => forwarded.detail(reason),
                ReplyOutcome::StoodIn(reason) => match status {
                    Some(status) => hit().stands_in_for(why, status).detail(reason),
                    None => hit().detail(reason),
                },
                ReplyOutcome::Passed => forwarded.detail(why),
            }
        }
    }
}
