//! Outside: what an answer says to caches outside, where its policy says something.
//!
//! How an answer came about is known where it is made; its fields are changed once, on its way out. What the second needs
//! of the first goes with the answer.

use std::time::SystemTime;

use http::{Response, request::Parts as Head};
use larder_policy::{
    freshness::Freshness,
    outgoing::{Known, Standing, tell_stale},
    reason::Reason,
    reuse::Variant,
    settings::Policy,
    tags,
};

use super::{
    explain::{Handling, ReplyOutcome, ShowTags},
    request::request_head,
    tags::tags_of,
};
use crate::http::Body;

/// Notes what is known of an answer. `stored`: what it was made from, or what is stored of it.
pub(crate) fn note(
    answer: &mut Response<Body>,
    (head, uri): (&Head, &http::Uri),
    (policy, now): (&Policy, SystemTime),
    handling: Handling,
    stored: Option<Variant<'_>>,
) {
    // What was purged softly is younger than its origin said it may be, and stale all the same; of what is older not every cache
    // looks at the age. Who reads the fields alone would keep both. That holds without any rule.
    let is_marked = stored.is_some_and(|stored| stored.marked_stale.is_some());
    if is_marked || stands_in(handling) {
        tell_stale(answer.headers_mut());
    }
    let outgoing = policy.says_outside();
    if outgoing.changes_nothing() {
        return;
    }
    let is_told = outgoing.tells_tags() && head.extensions.get::<ShowTags>().is_some();
    let tags = is_told.then(|| match stored {
        Some(stored) => tags_of([stored.head], request_head(head, uri)),
        None => {
            let own = tags::tags(answer.headers()).into_iter().map(String::from);
            own.chain(policy.tags_of_path(uri)).collect()
        }
    });
    let standing = standing(policy, now, handling, stored);
    answer.extensions_mut().insert(Known { standing, tags });
}

/// Whether it is stale, and answers all the same.
fn stands_in(handling: Handling) -> bool {
    match handling {
        Handling::Served { reason, .. } | Handling::Found { reason, .. } => reason != Reason::Hit,
        Handling::Forwarded { outcome, .. } => matches!(outcome, ReplyOutcome::StoodIn(_)),
        Handling::Refused(_) => false,
    }
}

fn standing(
    policy: &Policy,
    now: SystemTime,
    handling: Handling,
    stored: Option<Variant<'_>>,
) -> Standing {
    let Some(stored) = stored else { return Standing::NotKept };
    // A purge has come while it was fetched, say.
    let is_not_kept =
        matches!(handling, Handling::Forwarded { outcome: ReplyOutcome::NotStored(_), .. });
    let is_fresh = matches!(stored.freshness(policy, now), Freshness::Fresh { .. });
    match is_fresh && !is_not_kept && stored.head.can_be_shared(policy) {
        true => Standing::Fresh,
        false => Standing::Stale,
    }
}

/// The answer has more fields than what is stored has: those are its reader's own.
pub(crate) fn is_for_one(answer: &mut Response<Body>) {
    if let Some(known) = answer.extensions_mut().get_mut::<Known>() {
        known.standing = Standing::NotKept;
    }
}

/// Changes the fields of an answer on its way out, and tells how many of its tags did not fit.
pub(crate) fn say(answer: &mut Response<Body>, policy: &Policy) -> usize {
    let known = answer.extensions_mut().remove::<Known>().unwrap_or_default();
    policy.says_outside().change(answer.headers_mut(), &known, policy.shares_cookies())
}
