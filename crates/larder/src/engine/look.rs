//! Look: what is stored under a key, and what it is good for now.

use std::time::{Duration, Instant};

use larder_policy::{freshness::Freshness, reason::Reason};

use super::{Engine, lower::Trusted, store::Dated};
use crate::{
    answer::{Answer, AnswerSource, Storage},
    clock::Moment,
    entry::{Entry, Facts},
    purge::last::PurgeState,
    rules::Rule,
    stats::micros,
    sync::atomic::Ordering,
    tier::lower::Unsure,
    turns::Fetch,
};
#[cfg(feature = "http")]
use crate::{purge::tags::TagId, tier::memory::Looker};

/// What is older counts as stale to a reader.
pub(crate) type MaxAge = Duration;

/// For readers who go by an entry's own lifetime.
pub(crate) const ANY_AGE: MaxAge = MaxAge::MAX;

/// What that which is stored under a key is good for.
pub(crate) enum Lookup<V> {
    /// Serve it.
    Usable {
        answer: Answer<V>,
        shape: Shape,
    },
    /// Ask; serve it if that fails.
    LastResort(Answer<V>),
    Miss(Reason),
}

/// What a hit does to its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hits {
    /// It counts up its mark.
    Marked,
    /// It also notes when it was: see [`Builder::time_to_idle`](crate::Builder::time_to_idle).
    MarkedWithTime,
    /// It makes it the last to go.
    Moved,
}

/// What a reader would find who takes whatever is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreseen {
    Usable { reason: Reason, shape: Shape },
    LastResort,
    Miss(Reason),
}

/// In which shape an entry is that may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Fresh,
    /// Fresh, and to be refreshed.
    Aging,
    /// Stale, and to be refreshed.
    Stale,
}

/// What a reader finds who only wants the value.
pub(crate) enum Found<V> {
    /// It is fresh, and nothing else is to be done: nearly every hit. Nothing is made up around the
    /// value, for carrying an answer about takes a third of a hit's time.
    Plain(V),
    /// Look on: see [`Engine::look_on`].
    Other(Seen),
}

/// How far a reader has looked.
pub(crate) enum Seen {
    /// Nothing yet.
    Nothing,
    /// There is an entry, which has been marked as used. `began`: when, if the hit is to be timed.
    Entry {
        began: Option<Instant>,
    },
    NoEntry,
}

/// What is stored, for a conductor whose values have lifetimes of their own.
#[cfg(feature = "http")]
pub(crate) struct Kept<V> {
    pub(crate) value: V,
    /// What fetching it cost in time.
    pub(crate) cost: Duration,
    /// How long ago a soft purge came over it, if one did.
    pub(crate) marked_stale: Option<Duration>,
    /// Only what was asked for no longer ago than this is to be used.
    pub(crate) within: Option<Duration>,
}

/// What an entry is good for, without its value.
enum Judged {
    Usable { terms: Terms, shape: Shape },
    LastResort(Terms),
    Miss(Reason),
}

/// What an answer says beside its value.
struct Terms {
    source: AnswerSource,
    age: Duration,
    storage: Storage,
    cost: Duration,
}

impl<V> Lookup<V> {
    fn of(judged: Option<Judged>, value: Option<V>) -> Lookup<V> {
        let (terms, shape) = match judged {
            Some(Judged::Usable { terms, shape }) => (terms, Some(shape)),
            Some(Judged::LastResort(terms)) => (terms, None),
            Some(Judged::Miss(reason)) => return Lookup::Miss(reason),
            None => return Lookup::Miss(Reason::UriMiss),
        };
        let Some(value) = value else { return Lookup::Miss(Reason::UriMiss) };
        let Terms { source, age, storage, cost } = terms;
        let answer = Answer { value, source, age, storage, cost };
        match shape {
            Some(shape) => Lookup::Usable { answer, shape },
            None => Lookup::LastResort(answer),
        }
    }
}

impl<V: Clone> Engine<V> {
    /// Looks and counts. One function for its callers, which are generic in more than the value: in
    /// each of theirs the compiler would hand on what the closure holds through memory.
    ///
    /// A hit mostly waits for memory: for the entry, then for the value's own count of its owners,
    /// which nothing that follows may overtake. So what a hit has to do beside stands between those
    /// two, where the processor does it while it waits.
    #[inline(never)]
    pub(crate) fn find(&self, key: &str) -> Found<V> {
        match self.hits {
            Hits::Marked => self.find_that(key, |_, _| true),
            Hits::MarkedWithTime => self.find_read(key),
            Hits::Moved => Found::Other(Seen::Nothing),
        }
    }

    /// The same where an entry is over that nobody reads. Apart, so that no other hit costs more for it.
    #[inline(never)]
    fn find_read(&self, key: &str) -> Found<V> {
        self.find_that(key, Entry::read)
    }

    #[inline(always)]
    fn find_that(&self, key: &str, read: impl Fn(&Entry<V>, Moment) -> bool) -> Found<V> {
        let tally = self.counters.tally();
        let began = tally.is_sample().then(Instant::now);
        let reading = self.clock.reading();
        let mut is_there = false;
        let found = self.memory.read_and_mark(key, |entry| {
            is_there = true;
            let now = reading.now();
            (self.is_plain(entry, now) && read(entry, now)).then(|| {
                tally.hit(entry.cost_micros());
                entry.value.clone()
            })
        });
        match found.flatten() {
            Some(value) => {
                self.time_hit(began);
                Found::Plain(value)
            }
            None if is_there => Found::Other(Seen::Entry { began }),
            None => Found::Other(Seen::NoEntry),
        }
    }

    /// Looks closer, and counts. For whoever finds that it is no plain hit: on the stack of a plain one
    /// there is no room for what this needs, where values are large.
    pub(crate) fn look_on(&self, key: &str, seen: Seen, max_age: MaxAge) -> Lookup<V> {
        match seen {
            Seen::Nothing => self.look_up(key, max_age),
            Seen::Entry { began } => self.look_again(key, began),
            Seen::NoEntry => Lookup::Miss(Reason::UriMiss),
        }
    }

    /// Looks and counts.
    fn look_up(&self, key: &str, max_age: MaxAge) -> Lookup<V> {
        let began = self.counters.tally().is_sample().then(Instant::now);
        let lookup = self.look(key, max_age);
        self.count(&lookup, began);
        lookup
    }

    /// Looks closer at an entry that has just been marked as used, and counts. Only readers who take whatever
    /// is fresh look in two steps.
    #[cold]
    fn look_again(&self, key: &str, began: Option<Instant>) -> Lookup<V> {
        let lookup = self.judged(ANY_AGE, |judge| self.memory.peek(key, judge));
        self.count(&lookup, began);
        lookup
    }

    fn count(&self, lookup: &Lookup<V>, began: Option<Instant>) {
        if let Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } = lookup {
            self.counters.tally().hit(micros(answer.cost));
            self.time_hit(began);
        }
    }

    #[inline]
    fn time_hit(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.counters.hit_took(began);
        }
    }

    /// Whether `entry` is fresh, no purge has named it, and nobody need refresh it.
    #[inline]
    fn is_plain(&self, entry: &Entry<V>, now: Moment) -> bool {
        entry.is_fresh(now)
            && now < self.purges.trusted_until()
            && !self.is_aging(entry, now)
            && (entry.fence() >= self.purges.last_in_table() || self.outlives(entry))
    }

    /// Whether none of the purges since names it. Then it need not look again before the next one.
    #[cold]
    #[inline(never)]
    fn outlives(&self, entry: &Entry<V>) -> bool {
        let newest = self.purges.last_in_table();
        let outlives = self.purges.state(entry.tags(), entry.fence()) == PurgeState::Untouched;
        if outlives {
            entry.outlived(newest);
        }
        outlives
    }

    /// The value of a plain hit, and what fetching it cost in microseconds. Counts nothing, for the caller
    /// may not be able to use it, and marks nothing where it is none.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn plain(&self, key: &str) -> Option<(V, u64)> {
        let now = self.clock.now();
        self.memory.read_if(key, |entry| {
            let is_plain =
                self.is_plain(entry, now) && (self.hits == Hits::Marked || entry.read(now));
            is_plain.then(|| (entry.value.clone(), entry.cost_micros()))
        })
    }

    /// What is stored under `key`, as far as purges and the end of its windows tell: for a conductor whose
    /// values have lifetimes of their own. Counts nothing.
    #[cfg(feature = "http")]
    pub(crate) fn find_kept(&self, key: &str, looker: Looker) -> Option<Kept<V>> {
        let now = self.clock.now();
        let kept = self.memory.look(looker, key, |entry| {
            let (freshness, within) = match self.trusted(now) {
                Trusted::All => (self.purges_left(entry, now)?, None),
                Trusted::Within(within) if !self.serves_unsure() => {
                    (self.purges_left(entry, now)?, Some(within))
                }
                Trusted::Within(_) | Trusted::Nothing => {
                    (self.lifetime_left(entry, now).ok()?, None)
                }
            };
            let marked_stale = match freshness {
                Freshness::Fresh { .. } => None,
                Freshness::StaleWhileRevalidate { stale } | Freshness::StaleIfError { stale } => {
                    Some(stale)
                }
                Freshness::Expired => return None,
            };
            if looker == Looker::Reader {
                entry.read(now);
            }
            Some(Kept { value: entry.value.clone(), cost: entry.cost(), marked_stale, within })
        });
        kept?
    }

    /// What still lies under `key` although a purge by tag has named it, and whether that purge named this tag: for
    /// whoever asks why it is not served.
    #[cfg(feature = "http")]
    pub(crate) fn find_purged(&self, key: &str) -> Option<(V, impl Fn(TagId) -> bool)> {
        let purged = self.memory.peek(key, |entry| {
            let fence = entry.fence();
            let is_purged = self.purges.state(entry.tags(), fence) == PurgeState::Purged;
            is_purged.then(|| (entry.value.clone(), fence))
        });
        let (value, fence) = purged??;
        Some((value, move |tag| self.purges.state(&[tag], fence) == PurgeState::Purged))
    }

    #[inline]
    fn is_aging(&self, entry: &Entry<V>, now: Moment) -> bool {
        self.refresh_ahead.is_some_and(|fraction| entry.has_lived(fraction, now))
    }

    /// Whether what is found below has lived so long that it would be refreshed at once.
    pub(crate) fn is_to_be_refreshed(&self, found: &Dated<V>) -> bool {
        let Facts { lifetime, fetched, .. } = &found.facts;
        let age = self.clock.now().since(*fetched);
        self.refresh_ahead.is_some_and(|fraction| age >= lifetime.ttl().mul_f64(fraction))
    }

    pub(crate) fn look(&self, key: &str, max_age: MaxAge) -> Lookup<V> {
        self.judged(max_age, |judge| self.memory.read(key, judge))
    }

    /// What [`look`](Engine::look) would come to now. Counts nothing, and nothing is marked as used.
    pub(crate) fn foresee(&self, key: &str) -> Foreseen {
        let now = self.clock.now();
        match self.memory.peek(key, |entry| self.judge(entry, now, ANY_AGE)) {
            None => Foreseen::Miss(Reason::UriMiss),
            Some(Judged::Miss(reason)) => Foreseen::Miss(reason),
            Some(Judged::LastResort(_)) => Foreseen::LastResort,
            Some(Judged::Usable { terms, shape }) => {
                let reason = match terms.source {
                    AnswerSource::Stale(reason) => reason,
                    _ => Reason::Hit,
                };
                Foreseen::Usable { reason, shape }
            }
        }
    }

    /// What `look` comes to, which lets its argument at an entry. The value is cloned to where it is
    /// needed: were it handed on from function to function, a large one would need much of the stack.
    fn judged(
        &self,
        max_age: MaxAge,
        look: impl FnOnce(&mut dyn FnMut(&Entry<V>) -> Judged) -> Option<Judged>,
    ) -> Lookup<V> {
        let now = self.clock.now();
        let mut value = None;
        let judged = look(&mut |entry| {
            let judged = self.judge(entry, now, max_age);
            if !matches!(judged, Judged::Miss(_)) {
                entry.read(now);
                value = Some(entry.value.clone());
            }
            judged
        });
        Lookup::of(judged, value)
    }

    fn judge(&self, entry: &Entry<V>, now: Moment, max_age: MaxAge) -> Judged {
        let age = entry.age(now);
        let terms = |source, storage| Terms { source, age, storage, cost: entry.cost() };
        match self.freshness(entry, now) {
            Err(reason) => Judged::Miss(reason),
            Ok(freshness) if age > max_age => self.judge_too_old(entry, freshness, age, max_age),
            Ok(Freshness::Fresh { left }) => {
                let terms = terms(AnswerSource::Hit, Storage::FreshFor(left));
                let shape = if self.is_aging(entry, now) { Shape::Aging } else { Shape::Fresh };
                Judged::Usable { terms, shape }
            }
            Ok(Freshness::StaleWhileRevalidate { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleWhileRevalidate);
                let terms = terms(source, Storage::StaleFor(stale));
                Judged::Usable { terms, shape: Shape::Stale }
            }
            Ok(Freshness::StaleIfError { stale }) => {
                let source = AnswerSource::Stale(Reason::StaleIfError);
                Judged::LastResort(terms(source, Storage::StaleFor(stale)))
            }
            Ok(Freshness::Expired) => Judged::Miss(Reason::Expired),
        }
    }

    /// What `entry` is good for to a reader for whom it is too old: what an entry is whose freshness ended at
    /// `max_age`, and that is not served while it is refreshed.
    #[cold]
    fn judge_too_old(
        &self,
        entry: &Entry<V>,
        freshness: Freshness,
        age: Duration,
        max_age: MaxAge,
    ) -> Judged {
        let too_old_for = age.saturating_sub(max_age);
        let (storage, stale, reason) = match freshness {
            Freshness::Fresh { left } => {
                (Storage::FreshFor(left), too_old_for, Reason::RequestMaxAge)
            }
            Freshness::StaleWhileRevalidate { stale } | Freshness::StaleIfError { stale } => {
                (Storage::StaleFor(stale), stale.max(too_old_for), Reason::Expired)
            }
            Freshness::Expired => return Judged::Miss(Reason::Expired),
        };
        if stale >= entry.lifetime().rescue_window() {
            return Judged::Miss(reason);
        }
        let source = AnswerSource::Stale(Reason::StaleIfError);
        Judged::LastResort(Terms { source, age, storage, cost: entry.cost() })
    }

    /// What `entry` is good for, or why for nothing.
    pub(crate) fn freshness(&self, entry: &Entry<V>, now: Moment) -> Result<Freshness, Reason> {
        match self.lifetime_left(entry, now)? {
            Freshness::StaleWhileRevalidate { stale }
                if !self.serves_while_revalidating.load(Ordering::Relaxed) =>
            {
                let is_kept = stale < entry.lifetime().rescue_window();
                Ok(if is_kept { Freshness::StaleIfError { stale } } else { Freshness::Expired })
            }
            freshness => Ok(freshness),
        }
    }

    /// What its lifetime, the purges, and what is known of those of others say.
    fn lifetime_left(&self, entry: &Entry<V>, now: Moment) -> Result<Freshness, Reason> {
        let freshness = self.purges_left(entry, now).ok_or(Reason::Purged)?;
        let (is_trusted, may_be_stale) = match self.trusted(now) {
            Trusted::All => (true, true),
            Trusted::Within(within) => {
                (self.began_within(entry, now, within), self.serves_unsure())
            }
            Trusted::Nothing => (false, false),
        };
        match freshness {
            freshness if is_trusted => Ok(freshness),
            Freshness::Fresh { .. } if may_be_stale => {
                Ok(entry.freshness_marked_stale(now, self.purges.trusted_until().min(now)))
            }
            Freshness::Expired => Ok(freshness),
            freshness if may_be_stale => Ok(freshness),
            _ => Err(Reason::Unsure),
        }
    }

    /// Whether its fetch began no longer ago than `within`.
    fn began_within(&self, entry: &Entry<V>, now: Moment, within: Duration) -> bool {
        let cost = match Rule::IsolationCountsFromTheBeginning.holds() {
            true => entry.cost(),
            false => Duration::ZERO,
        };
        entry.age(now).saturating_add(cost) < within || !Rule::IsolationIsBounded.holds()
    }

    /// What of memory may be gone by.
    #[inline]
    fn trusted(&self, now: Moment) -> Trusted {
        match &self.lower {
            Some(lower)
                if now >= self.purges.trusted_until() && Rule::TrustIsComparedAtHits.holds() =>
            {
                lower.trusted()
            }
            _ => Trusted::All,
        }
    }

    /// Who asks now shares only fetches with this number or a later one. `None`: any.
    ///
    /// Without trust, one that began earlier may have read what has been purged since, for all whom that purge had to
    /// wait for: that was not this cache, or its time is over. What such a fetch stores is judged like all that is in
    /// memory.
    pub(crate) fn first_to_share(&self) -> Option<u64> {
        let is_trusted = self.trusted(self.clock.now()) == Trusted::All;
        (!is_trusted && Rule::WithoutTrustNoEarlierFetchIsShared.holds()).then(Fetch::next_number)
    }

    /// Whether what may have been purged by others is served as if it were stale.
    fn serves_unsure(&self) -> bool {
        let unsure = self.lower.as_ref().map(|lower| lower.settings().unsure);
        unsure == Some(Unsure::ServeStale)
    }

    /// What its lifetime and the purges say. `None`: it was purged.
    fn purges_left(&self, entry: &Entry<V>, now: Moment) -> Option<Freshness> {
        let newest = self.purges.last_in_table();
        if entry.fence() >= newest {
            return Some(entry.freshness(now));
        }
        match self.purges.state(entry.tags(), entry.fence()) {
            PurgeState::Untouched => {
                entry.outlived(newest);
                Some(entry.freshness(now))
            }
            PurgeState::MarkedStale(marked) => Some(entry.freshness_marked_stale(now, marked)),
            PurgeState::Purged => None,
        }
    }
}
