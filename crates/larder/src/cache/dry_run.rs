//! Dry run: what would become of a reader of a key now, by its own look, with nothing done.
//!
//! It asks what a reader asks, in the same order ([`answer`](Cache::answer)), as an onlooker: nothing counts as used, no
//! flight begins, nothing is refreshed, no value is brought up from below. What is found is what the next reader finds,
//! unless something changes in between.

use std::time::Duration;

use larder_policy::{freshness::Freshness, reason::Reason};

use super::{Cache, Library};
pub use crate::engine::refresh::RefreshOutlook;
use crate::{
    engine::look::{Foreseen, Shape},
    key::CacheKey,
    listing::Held,
};

/// What would become of a reader of a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DryRead {
    /// What memory holds under it.
    pub held: Option<Held>,
    /// What the tier below memory holds.
    pub below: ReadBelow,
    /// For how long a fetch of it has been under way.
    pub under_way_for: Option<Duration>,
    /// What would be done.
    pub step: ReadStep,
    /// Why.
    pub reason: Reason,
}

/// What would be done for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// He gets what is in memory.
    Serve,
    /// He gets what is in memory, and it is asked for anew behind his back; what becomes of that.
    ServeAndRefresh(RefreshOutlook),
    /// He gets what is stale in memory: the last fetch failed a moment ago.
    Rescue,
    /// He gets the error of the last fetch, which failed a moment ago.
    Fail,
    /// He waits for the fetch that is under way.
    Wait,
    /// He gets what the tier below memory holds.
    ServeFromBelow,
    /// His fetch runs.
    Fetch {
        /// Something stale stands in if it fails.
        may_rescue: bool,
    },
}

/// What the tier below memory holds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBelow {
    /// There is no such tier.
    NotThere,
    /// It does not answer.
    Silent,
    /// Nothing that is of use to anybody.
    Nothing,
    /// A value.
    Holds {
        /// What it is good for.
        freshness: Freshness,
        /// How long ago it was fetched.
        age: Duration,
    },
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// What would become of a reader who asks for `key` now, as [`answer`](Cache::answer) does: what is stored for it, and
    /// whether its fetch would run.
    ///
    /// Nothing changes by it. The tier below memory is asked, once, and takes as long as its settings allow; whether a value
    /// that lies there can be read shows only when it is.
    ///
    /// Dropping the future disturbs nobody.
    pub async fn dry_run<'k>(&self, key: impl Into<CacheKey<'k>>) -> DryRead {
        let key = key.into();
        let key = key.as_str();
        // First, for it takes a while: what memory holds is then looked at once, and decided over as it is.
        let below = self.library.seen_below(key).await;
        let (step, reason) = self.library.foresee(key, below);
        let under_way_for = self.library.flights.seen(key, "").joinable_for;
        DryRead { held: self.held(key), below, under_way_for, step, reason }
    }
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    async fn seen_below(&self, key: &str) -> ReadBelow {
        let Some(beneath) = &self.beneath else { return ReadBelow::NotThere };
        let Some(asked) = beneath.lower.heads(key).await else { return ReadBelow::Silent };
        self.judge_below(beneath, key, &asked)
            .map_or(ReadBelow::Nothing, |(freshness, age)| ReadBelow::Holds { freshness, age })
    }

    /// The steps of a reader, as far as they can be told.
    fn foresee(&self, key: &str, below: ReadBelow) -> (ReadStep, Reason) {
        let known_to_fail = self.negatives.knows(key, self.engine.now());
        let (reason, has_stale) = match self.engine.foresee(key) {
            Foreseen::Usable { reason, shape: Shape::Fresh } => return (ReadStep::Serve, reason),
            Foreseen::Usable { reason, shape: Shape::Aging | Shape::Stale } => {
                let outlook = match known_to_fail {
                    Some(left) => RefreshOutlook::HeldBack { left },
                    None => self.engine.refresh_outlook(key),
                };
                return (ReadStep::ServeAndRefresh(outlook), reason);
            }
            Foreseen::LastResort => (Reason::Expired, true),
            Foreseen::Miss(reason) => (reason, false),
        };
        if known_to_fail.is_some() {
            return match has_stale {
                true => (ReadStep::Rescue, Reason::StaleIfError),
                false => (ReadStep::Fail, Reason::OriginError),
            };
        }
        if self.flights.seen(key, "").joinable_for.is_some() {
            return (ReadStep::Wait, reason);
        }
        match below {
            ReadBelow::Holds { freshness: Freshness::Fresh { .. }, .. } => {
                (ReadStep::ServeFromBelow, Reason::Shared)
            }
            // It is brought into memory first, and stands in as if it had been there.
            ReadBelow::Holds { .. } => (ReadStep::Fetch { may_rescue: true }, reason),
            ReadBelow::NotThere | ReadBelow::Silent | ReadBelow::Nothing => {
                (ReadStep::Fetch { may_rescue: has_stale }, reason)
            }
        }
    }
}
