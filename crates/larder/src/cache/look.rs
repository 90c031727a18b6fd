//! Look: what is stored under a key, and what it is good for now.

use std::time::Instant;

use larder_policy::{freshness::Freshness, reason::Reason};

use super::Shared;
use crate::{
    answer::{Answer, AnswerSource, Storage},
    clock::Moment,
    entry::Entry,
    judge::Judge,
    stats::micros,
    tag::Standing,
};

/// What that which is stored under a key is good for.
pub(crate) enum Lookup<V> {
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

/// What a reader finds who only wants the value.
pub(super) enum Found<V> {
    /// It is fresh, and nothing else is to be done: nearly every hit. Nothing is made up around the
    /// value, for carrying an answer about takes a third of a hit's time.
    Plain(V),
    Other(Lookup<V>),
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// Looks and counts. One function for its callers, which are generic in more than the value: in
    /// each of theirs the compiler would hand on what the closure holds through memory.
    ///
    /// A hit mostly waits for memory: for the entry, then for the value's own count of its owners,
    /// which nothing that follows may overtake. So what a hit has to do beside stands between those
    /// two, where the processor does it while it waits.
    #[inline(never)]
    pub(super) fn find(&self, key: &str) -> Found<V> {
        if !self.memory.marks_hits() {
            return Found::Other(self.look_up(key));
        }
        let tally = self.counters.tally();
        let began = tally.is_sample().then(Instant::now);
        let glance = self.clock.glance();
        let mut is_there = false;
        let found = self.memory.read_and_mark(key, |entry| {
            is_there = true;
            self.is_plain(entry, glance.now()).then(|| {
                tally.hit(entry.cost_micros());
                entry.value.clone()
            })
        });
        match found.flatten() {
            Some(value) => {
                self.time_hit(began);
                Found::Plain(value)
            }
            None if is_there => Found::Other(self.look_again(key, began)),
            None => Found::Other(Lookup::Miss(Reason::UriMiss)),
        }
    }

    /// Looks and counts.
    pub(super) fn look_up(&self, key: &str) -> Lookup<V> {
        let began = self.counters.tally().is_sample().then(Instant::now);
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| self.judge(entry, now));
        self.counted(found, began)
    }

    /// Looks closer at an entry that has just been marked as used, and counts.
    #[cold]
    fn look_again(&self, key: &str, began: Option<Instant>) -> Lookup<V> {
        let now = self.clock.now();
        let found = self.memory.peek(key, |entry| self.judge(entry, now));
        self.counted(found, began)
    }

    fn counted(&self, found: Option<Lookup<V>>, began: Option<Instant>) -> Lookup<V> {
        let lookup = found.unwrap_or(Lookup::Miss(Reason::UriMiss));
        if let Lookup::Fresh { answer, .. } = &lookup {
            self.counters.tally().hit(micros(answer.cost));
            self.time_hit(began);
        }
        lookup
    }

    #[inline]
    fn time_hit(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.counters.hit_took(began);
        }
    }

    /// Whether `entry` is fresh, no purge came since it last looked, and nobody need refresh it.
    #[inline]
    fn is_plain(&self, entry: &Entry<V>, now: Moment) -> bool {
        entry.is_fresh(now) && entry.fence() == self.tags.fence() && !self.is_aging(entry, now)
    }

    /// The value of a plain hit, and what fetching it cost in microseconds. Counts nothing, for the caller
    /// may not be able to use it, and marks nothing where it is none.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn plain(&self, key: &str) -> Option<(V, u64)> {
        let now = self.clock.now();
        self.memory.read_if(key, |entry| {
            self.is_plain(entry, now).then(|| (entry.value.clone(), entry.cost_micros()))
        })
    }

    #[inline]
    fn is_aging(&self, entry: &Entry<V>, now: Moment) -> bool {
        self.refresh_ahead.is_some_and(|fraction| entry.has_lived(fraction, now))
    }

    pub(crate) fn look(&self, key: &str) -> Lookup<V> {
        let now = self.clock.now();
        let found = self.memory.read(key, |entry| self.judge(entry, now));
        found.unwrap_or(Lookup::Miss(Reason::UriMiss))
    }

    fn judge(&self, entry: &Entry<V>, now: Moment) -> Lookup<V> {
        match self.freshness(entry, now) {
            None => Lookup::Miss(Reason::Purged),
            Some(Freshness::Fresh { left }) => {
                let answer = entry_answer(entry, now, AnswerSource::Hit, Storage::FreshFor(left));
                Lookup::Fresh { answer, is_aging: self.is_aging(entry, now) }
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

    /// What is over now.
    pub(crate) fn judge_now(&self) -> Judge<'_> {
        Judge::new(self.clock.now(), &self.tags)
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
