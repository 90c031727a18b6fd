//! Look: what is stored under a key, and what it is good for now.

use std::time::{Duration, Instant};

use larder_policy::{freshness::Freshness, reason::Reason};

use super::Shared;
use crate::{
    answer::{Answer, AnswerSource, Storage},
    clock::Moment,
    entry::Entry,
    tag::Standing,
};

/// What that which is stored under a key is good for.
pub(super) enum Lookup<V> {
    /// Serve it; if it is aging, refresh it as well.
    Fresh {
        answer: Answer<V>,
        is_aging: bool,
    },
    /// Serve it, and refresh it.
    Usable(Answer<V>),
    /// Ask; serve it if that fails.
    LastResort(Answer<V>),
    Miss(Reason),
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// The value, if it is fresh and nothing else is to be done, as with nearly every hit; counted
    /// then. No answer is made up around it: carrying one about takes a third of a hit's time.
    #[inline]
    pub(super) fn plain_hit(&self, key: &str) -> Option<V> {
        let began = self.counters.is_sample().then(Instant::now);
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| {
            let is_plain = entry.is_fresh(now)
                && entry.fence() == self.tags.fence()
                && self.refresh_ahead.is_none();
            is_plain.then(|| (entry.value.clone(), entry.cost()))
        });
        let (value, cost) = found.flatten()?;
        self.count_hit(cost, began);
        Some(value)
    }

    /// Looks and counts.
    pub(super) fn look_up(&self, key: &str) -> Lookup<V> {
        let began = self.counters.is_sample().then(Instant::now);
        let lookup = self.look(key);
        if let Lookup::Fresh { answer, .. } = &lookup {
            self.count_hit(answer.cost, began);
        }
        lookup
    }

    fn count_hit(&self, cost: Duration, began: Option<Instant>) {
        self.counters.hit(cost);
        if let Some(began) = began {
            self.counters.hit_took(began.elapsed());
        }
    }

    pub(super) fn look(&self, key: &str) -> Lookup<V> {
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| self.judge(entry, now));
        found.unwrap_or(Lookup::Miss(Reason::UriMiss))
    }

    fn judge(&self, entry: &Entry<V>, now: Moment) -> Lookup<V> {
        match self.freshness(entry, now) {
            None => Lookup::Miss(Reason::Purged),
            Some(Freshness::Fresh { left }) => {
                let answer = entry_answer(entry, now, AnswerSource::Hit, Storage::FreshFor(left));
                let is_aging = self.refresh_ahead.is_some_and(|fraction| {
                    entry.age(now) >= entry.lifetime().ttl().mul_f64(fraction)
                });
                Lookup::Fresh { answer, is_aging }
            }
            Some(Freshness::StaleWhileRevalidate { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleWhileRevalidate);
                Lookup::Usable(entry_answer(entry, now, source, Storage::StaleFor(stale)))
            }
            Some(Freshness::StaleIfError { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleIfError);
                Lookup::LastResort(entry_answer(entry, now, source, Storage::StaleFor(stale)))
            }
            Some(Freshness::Expired) => Lookup::Miss(Reason::Expired),
        }
    }

    /// What `entry` is good for; `None` if it was purged.
    pub(super) fn freshness(&self, entry: &Entry<V>, now: Moment) -> Option<Freshness> {
        let newest = self.tags.fence();
        if entry.fence() == newest {
            return Some(entry.freshness(now));
        }
        match self.tags.standing(entry.tags(), entry.fence()) {
            Standing::Untouched => {
                entry.outlived(newest);
                Some(entry.freshness(now))
            }
            Standing::MarkedStale(marked) => Some(entry.freshness_marked_stale(now, marked)),
            Standing::Purged => None,
        }
    }
}

fn entry_answer<V: Clone>(
    entry: &Entry<V>,
    now: Moment,
    source: AnswerSource,
    storage: Storage,
) -> Answer<V> {
    let (value, cost) = (entry.value.clone(), entry.cost());
    Answer { value, source, age: entry.age(now), storage, cost }
}
