//! Dry run: what would become of a request now, by its own look and decision, with nothing done.
//!
//! It asks what a request asks ([`decision`](super::decision), [`miss`](super::miss), [`below`]), as an
//! onlooker: nothing counts as used, no flight begins, no turn is taken, nothing is refreshed. What is found is what the
//! next request finds, unless something changes in between.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use larder_policy::{
    freshness::Freshness,
    nearness::Difference,
    reason::Reason,
    reuse::{Ask, Variant},
    stored::StoredHead,
};

use super::{
    below::{self, SeenBelow},
    cache::{HttpCache, Parts},
    decision::{Decision, Kind, decide, kind, retrieval, rules_of},
    lead::looks_below,
    miss::{collapse_key_of, goes_alone},
    request::{Retrieval, key_of},
    store::AtHand,
    stored::Mark,
    tags::tags_of,
};
pub use crate::engine::refresh::RefreshOutlook;
use crate::tier::memory::Looker;
use larder_policy::request::Flight;

/// What would become of a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DryRun {
    /// Under which key its answer is stored. `None`: it passes.
    pub key: Option<Arc<str>>,
    /// The key of another URL whose stored answer would be served for it (`No-Vary-Search`).
    pub elsewhere: Option<Arc<str>>,
    /// What memory holds under its key, or under the other one.
    pub memory: Vec<Held>,
    /// What the tier below memory holds under its key.
    pub below: Below,
    /// For how long a fetch has been under way that it would wait for.
    pub waits_for: Option<Duration>,
    /// How many other fetches of its key are under way: of other variants, or for one reader each.
    pub other_fetches: usize,
    /// Such answers were of late for one reader each, so readers do not wait for each other.
    pub is_apart: bool,
    /// The tags by which a purge has ended what still lies in memory under its key.
    pub purged_by: Vec<String>,
    /// What would be done.
    pub step: Step,
    /// Why.
    pub reason: Reason,
}

/// What would be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is answered from memory.
    Serve,
    /// It is answered from memory with what is stale; what becomes of the refresh.
    ServeAndRefresh(RefreshOutlook),
    /// It is answered from the tier below memory.
    ServeFromBelow,
    /// The origin is asked, or the answer of a fetch under way waited for.
    Ask {
        /// What is stored is asked about: an origin that says that it is current sends no body.
        validates: bool,
        /// Something stale stands in if the origin fails.
        may_rescue: bool,
        /// Others may wait for its answer.
        is_shared: bool,
    },
    /// It passes to the origin: nothing stored answers it.
    Pass,
    /// It is answered 504: its reader wants no origin asked.
    Refuse,
}

/// What the tier below memory holds.
#[derive(Clone, Debug)]
pub enum Below {
    /// There is no such tier, or it is not looked at for a request that passes.
    NotThere,
    /// It does not answer.
    Silent,
    /// These responses.
    Holds(Vec<Held>),
}

/// A stored response, as it stands to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Held {
    /// Its status.
    pub status: StatusCode,
    /// How old it is.
    pub age: Duration,
    /// For how long it is fresh, or since when it is stale, in seconds below zero.
    pub fresh_for_seconds: f64,
    /// What it is good for.
    pub standing: Standing,
    /// In what the request differs from those that it is for; nothing where it fits.
    pub differs_by: Vec<Difference>,
    /// It would answer.
    pub is_chosen: bool,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is fresh.
    Fresh,
    /// It is stale, and may be served while it is refreshed.
    StaleUsable,
    /// It may stand in for an origin that fails.
    Rescue,
    /// Nobody is served it any more; it may still be asked about.
    Over,
    /// A purge has ended it.
    Purged,
}

impl Standing {
    /// The word itself; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Fresh => "fresh",
            Standing::StaleUsable => "stale-usable",
            Standing::Rescue => "rescue",
            Standing::Over => "over",
            Standing::Purged => "purged",
        }
    }
}

impl HttpCache {
    /// What would become of this request now, with the [`Rules`](super::Rules) and the [`Bypass`](super::Bypass) among its
    /// extensions. It has no content: of a QUERY, what is stored for an empty one is looked at.
    ///
    /// Nothing changes by it. The tier below memory is asked, once, for any request that the cache may answer: that takes as
    /// long as its settings allow.
    ///
    /// Dropping the future disturbs nobody.
    pub async fn dry_run(&self, request: Request<()>) -> DryRun {
        let cache = self.parts();
        let (mut head, ()) = request.into_parts();
        let (policy, coded_tags) = rules_of(&mut head, cache);
        let (uri, key) = match kind(&head, false, &policy) {
            Kind::Retrieval { uri, key } => (uri, key),
            Kind::Query { uri } => {
                let digest = blake3::hash(b"");
                match key_of(&head, &uri, Some(digest.as_bytes())) {
                    Some(key) => (uri, key),
                    None => return DryRun::passing(Reason::NoKey),
                }
            }
            Kind::Passes { reason, uri: _ } => return DryRun::passing(reason),
        };
        let named = (uri, key, Bytes::new());
        let asked = retrieval(head, named, Instant::now(), policy, coded_tags);
        of_retrieval(cache, &asked).await
    }
}

impl DryRun {
    fn passing(reason: Reason) -> DryRun {
        DryRun {
            key: None,
            elsewhere: None,
            memory: Vec::new(),
            below: Below::NotThere,
            waits_for: None,
            other_fetches: 0,
            is_apart: false,
            purged_by: Vec::new(),
            step: Step::Pass,
            reason,
        }
    }
}

async fn of_retrieval(cache: &Parts, asked: &Retrieval) -> DryRun {
    // First, for it takes a while: what memory holds is then looked at once, and decided over as it is.
    let (seen, mut below) = match &cache.beneath {
        None => (None, Below::NotThere),
        Some(beneath) => match below::look_on(cache, beneath, asked).await {
            None => (None, Below::Silent),
            Some(seen) => {
                let there = held_below(asked, &seen, cache.now());
                (Some(seen), Below::Holds(there))
            }
        },
    };
    let decision = decide(cache, asked, Looker::Onlooker);
    let mut told = DryRun { key: Some(Arc::clone(&asked.key)), ..DryRun::passing(Reason::Method) };
    told.is_apart = cache.hit_for_miss.is_apart(asked.sharing_name(), Looker::Onlooker);
    let mut chosen = None;
    let at_hand = match decision {
        Decision::Serve { at_hand, index, reason, refresh } => {
            let outlook = || cache.engine().refresh_outlook(&asked.key);
            chosen = Some(index);
            told.elsewhere.clone_from(&at_hand.elsewhere);
            (told.step, told.reason) = match refresh {
                None => (Step::Serve, reason),
                Some(_) => (Step::ServeAndRefresh(outlook()), reason),
            };
            at_hand
        }
        Decision::Refuse { reason } => {
            (told.step, told.reason) = (Step::Refuse, reason);
            cache.store.look_as(Looker::Onlooker, &asked.key)
        }
        Decision::Pass { reason } => {
            (told.step, told.reason) = (Step::Pass, reason);
            cache.store.look_as(Looker::Onlooker, &asked.key)
        }
        Decision::Ask { ask, at_hand } => {
            told.ask(cache, asked, (ask, &at_hand), seen, &mut below);
            at_hand
        }
    };
    told.below = below;
    told.memory = held_in_memory(asked, &at_hand, chosen, cache.now());
    if told.memory.is_empty() {
        told.find_purged(cache, asked);
    }
    told
}

impl DryRun {
    /// What becomes of a request that memory does not answer: the steps of a miss, as far as they can be told.
    fn ask(
        &mut self,
        cache: &Parts,
        asked: &Retrieval,
        (ask, at_hand): (Ask, &AtHand),
        seen: Option<SeenBelow>,
        below: &mut Below,
    ) {
        let goes_alone = goes_alone(cache, asked, &ask, Looker::Onlooker);
        let collapse_key =
            collapse_key_of(cache, asked, at_hand, std::iter::empty(), Looker::Onlooker);
        let flights = cache.flights.seen(&asked.key, &collapse_key);
        self.waits_for = flights.joinable_for.filter(|_| !goes_alone);
        let waited_for = usize::from(flights.joinable_for.is_some() && goes_alone);
        self.other_fetches = flights.others + waited_for;
        let is_shared = !goes_alone && ask.flight == Flight::Share;
        let reads_below = self.waits_for.is_none()
            && looks_below(cache, asked, &ask, is_shared, Looker::Onlooker);
        let (mut ask, mut is_shared) = (ask, is_shared);
        if let Some(seen) = seen.filter(|_| reads_below) {
            if let Some((place, reason)) = seen.serves {
                if let Below::Holds(there) = below
                    && let Some(chosen) = there.get_mut(place)
                {
                    chosen.is_chosen = true;
                }
                let reason = if reason == Reason::Hit { Reason::Shared } else { reason };
                (self.step, self.reason) = (Step::ServeFromBelow, reason);
                return;
            }
            is_shared &= !seen.is_apart;
            self.is_apart |= seen.is_apart;
            // It is brought into memory first, and the origin asked about it.
            ask = seen.asks.unwrap_or(ask);
        }
        self.reason = ask.reason;
        self.step = Step::Ask {
            validates: !ask.revalidates.is_empty(),
            may_rescue: ask.rescue.is_some(),
            is_shared,
        };
    }

    /// What a purge by tag has ended lies in memory until somebody looks.
    fn find_purged(&mut self, cache: &Parts, asked: &Retrieval) {
        let engine = cache.engine();
        let Some((variants, names_it)) = engine.find_purged(&asked.key) else { return };
        let now = cache.now();
        let tags = tags_of(variants.heads(), asked.request());
        let ids = engine.tag_ids(tags.iter().map(String::as_str));
        let purged = tags.iter().zip(&ids).filter(|(_, id)| names_it(**id));
        self.purged_by = purged.map(|(tag, _)| tag.clone()).collect();
        let all = variants.iter().map(|variant| held(asked, variant.variant(), now));
        self.memory = all.map(|held| Held { standing: Standing::Purged, ..held }).collect();
    }
}

fn held_in_memory(
    asked: &Retrieval,
    at_hand: &AtHand,
    chosen: Option<usize>,
    now: SystemTime,
) -> Vec<Held> {
    let all = at_hand.variants.iter().enumerate();
    let all = all.map(|(index, variant)| Held {
        is_chosen: chosen == Some(index),
        ..held(asked, variant.variant(), now)
    });
    all.collect()
}

fn held_below(asked: &Retrieval, seen: &SeenBelow, now: SystemTime) -> Vec<Held> {
    let all = seen.responses.iter().map(|response| {
        let marked_stale = response.marked_stale.map(Mark::time);
        held(asked, Variant { head: &response.head, marked_stale }, now)
    });
    all.collect()
}

fn held(asked: &Retrieval, variant: Variant<'_>, now: SystemTime) -> Held {
    let policy = &asked.policy;
    let head: &StoredHead = variant.head;
    let (standing, fresh_for_seconds) = match variant.freshness(policy, now) {
        Freshness::Fresh { left } => (Standing::Fresh, left.as_secs_f64()),
        other => {
            let standing = match other {
                Freshness::StaleWhileRevalidate { .. } => Standing::StaleUsable,
                Freshness::StaleIfError { .. } => Standing::Rescue,
                _ => Standing::Over,
            };
            (standing, -variant.stale_for(policy, now).as_secs_f64())
        }
    };
    Held {
        status: head.status(),
        age: head.age(now),
        fresh_for_seconds,
        standing,
        differs_by: head.differences(policy, &asked.head.headers),
        is_chosen: false,
    }
}
