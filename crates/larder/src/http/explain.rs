//! Explain: what the cache did with a request, in `Cache-Status` (RFC 9211) and `Server-Timing`.

use std::time::{Duration, Instant, SystemTime};

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

/// Put into a request's extensions, it has the answer tell in its own what was done with the request: [`Handled`].
#[derive(Clone, Copy, Debug)]
pub struct ShowHandled;

/// In an answer's extensions, where [`ShowHandled`] asks for it: what was done with its request, for whoever accounts for
/// requests.
#[derive(Clone, Copy, Debug)]
pub struct Handled {
    /// What the request was.
    pub verdict: Verdict,
    /// Why the origin was asked, or else why it was not.
    pub why: Reason,
    /// What came of it, as the `detail` in `Cache-Status` says it: why an answer was not stored, for instance.
    pub reason: Reason,
    /// The same as `Cache-Status` has it: [`CacheStatus::word`].
    pub word: &'static str,
    /// How long the head of the origin's answer took, or of what stands in for it, where the reader has waited for the
    /// origin: for its own request there, or for another reader's.
    pub origin: Option<Duration>,
    /// When it came.
    pub began: Instant,
    /// What the fetch took whose response answers it, where nothing was fetched for it.
    pub saved: Duration,
}

/// What a request was to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Answered with what was stored and fresh, in memory or below.
    Hit,
    /// Answered with what was stored and stale, at once or in the place of an answer that failed or took too long.
    Stale,
    /// Sent on.
    Miss,
    /// Answered with what another reader's request brought.
    Collapsed,
    /// Passed on: the cache had no part in it.
    Pass,
    /// Not answered, by the cache's own word.
    Refused,
}

impl Verdict {
    /// Each of them.
    pub const ALL: [Verdict; 6] = [
        Verdict::Hit,
        Verdict::Stale,
        Verdict::Miss,
        Verdict::Collapsed,
        Verdict::Pass,
        Verdict::Refused,
    ];

    /// Its word, stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Hit => "hit",
            Verdict::Stale => "stale",
            Verdict::Miss => "miss",
            Verdict::Collapsed => "collapsed",
            Verdict::Pass => "pass",
            Verdict::Refused => "refused",
        }
    }
}

impl Handling {
    /// The same for whoever accounts for it. `saved`: what fetching cost that which was answered with.
    pub(crate) fn handled(self, began: Instant, saved: Duration) -> Handled {
        let verdict = match self {
            Handling::Served { reason: Reason::Hit, .. }
            | Handling::Found { reason: Reason::Hit, .. } => Verdict::Hit,
            Handling::Served { .. } | Handling::Found { .. } => Verdict::Stale,
            Handling::Refused(_) => Verdict::Refused,
            Handling::Forwarded { outcome, why, .. } => match outcome {
                ReplyOutcome::Passed => Verdict::Pass,
                // The answer to a request that passes may be stored.
                _ if why == Reason::Method => Verdict::Pass,
                ReplyOutcome::Collapsed => Verdict::Collapsed,
                ReplyOutcome::StoodIn(_) => Verdict::Stale,
                ReplyOutcome::Stored | ReplyOutcome::NotStored(_) => Verdict::Miss,
            },
        };
        let reason = self.outcome();
        let (why, origin) = match self {
            Handling::Forwarded { why, took, .. } => (why, Some(took)),
            Handling::Served { .. } | Handling::Found { .. } | Handling::Refused(_) => {
                (reason, None)
            }
        };
        let word = match self {
            Handling::Served { .. } | Handling::Found { .. } => "hit",
            // What stands in for no answer at all is a hit.
            Handling::Forwarded { outcome: ReplyOutcome::StoodIn(_), status: None, .. } => "hit",
            Handling::Forwarded { why, .. } => CacheStatus::forwarded(why, None).word(),
            Handling::Refused(_) => CacheStatus::refused().word(),
        };
        Handled { verdict, why, reason, word, origin, began, saved }
    }

    /// What the `detail` in `Cache-Status` says.
    fn outcome(self) -> Reason {
        match self {
            Handling::Found { reason: Reason::Hit, .. } => Reason::Shared,
            Handling::Served { reason, .. }
            | Handling::Found { reason, .. }
            | Handling::Refused(reason) => reason,
            Handling::Forwarded { why, outcome, .. } => match outcome {
                ReplyOutcome::Stored | ReplyOutcome::Passed => why,
                ReplyOutcome::Collapsed => Reason::Collapsed,
                ReplyOutcome::NotStored(reason) | ReplyOutcome::StoodIn(reason) => reason,
            },
        }
    }
}

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
    let told = match handling {
        Handling::Served { .. } | Handling::Found { .. } => hit(),
        Handling::Refused(_) => CacheStatus::refused(),
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
                ReplyOutcome::Stored => stored_for(forwarded),
                ReplyOutcome::Collapsed => stored_for(forwarded).collapsed(),
                ReplyOutcome::StoodIn(_) => match status {
                    Some(status) => hit().stands_in_for(why, status),
                    None => hit(),
                },
                ReplyOutcome::NotStored(_) | ReplyOutcome::Passed => forwarded,
            }
        }
    };
    told.detail(handling.outcome())
}
