//! Purge: the order of its steps, and its short forms.

use std::time::SystemTime;

use super::{Cache, Shared};
#[cfg(feature = "http")]
use crate::{cache::fill::FlightResult, flight::Leader};
use crate::{
    key::CacheKey,
    purge::{Mode, Purge, PurgeError, Receipt, Scope, Tier, TierReceipt, TierState},
    stats::Event,
    tier::memory::Burial,
};

/// What a purge names, as it is stored. One key or prefix may be stored in several spellings.
pub(crate) enum Named<'a> {
    Keys(&'a [&'a str]),
    Prefixes(&'a [&'a str]),
    Tag(&'a str),
    Everything,
}

/// What a purge has done.
pub(crate) struct Done {
    pub(crate) number: u64,
    /// How many entries could still be served; `None` where nobody looked.
    pub(crate) entries: Option<usize>,
    /// What has gone, and what its `Drop` had to say.
    pub(crate) burial: Burial,
}

impl Named<'_> {
    fn names(&self, key: &str) -> bool {
        match self {
            Named::Keys(keys) => keys.contains(&key),
            Named::Prefixes(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
            Named::Tag(_) => false,
            Named::Everything => true,
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Makes a purge: the one way in, of which all others are short forms.
    ///
    /// When it returns, the purge has a number, and what it names is purged in memory: no value fetched
    /// before is served as fresh (soft), or at all (hard), to anybody who asks afterwards, and a fetch
    /// under way answers those who asked before and stores nothing that the purge names. Remembered
    /// errors of what it names are forgotten; a tag may have been on any of them, so all are. The tiers
    /// beneath and outside get it in their order, memory first, so that none can take the old
    /// copy from one further in; the receipt says how far each is.
    ///
    /// In this cache memory is the only tier, and the future is ready at once. A purge is made when the
    /// future is first polled, and is not undone by dropping it.
    ///
    /// # Errors
    ///
    /// [`PurgeError::NoTier`] if it is to [wait](Purge::wait) for a tier that the cache does not have.
    /// Nothing is purged then.
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once all of it is: see [`Cache`].
    pub async fn purge(&self, purge: Purge) -> Result<Receipt, PurgeError> {
        match &purge.scope {
            Scope::Key(key) => self.purge_named(&purge, &Named::Keys(&[key])),
            Scope::Prefix(prefix) => self.purge_named(&purge, &Named::Prefixes(&[prefix])),
            Scope::Tag(tag) => self.purge_named(&purge, &Named::Tag(tag)),
            Scope::Everything => self.purge_named(&purge, &Named::Everything),
        }
    }

    pub(crate) fn purge_named(
        &self,
        purge: &Purge,
        named: &Named<'_>,
    ) -> Result<Receipt, PurgeError> {
        if purge.wait != Tier::Memory {
            return Err(PurgeError::NoTier { tier: purge.wait });
        }
        let (scope, mode, at) = (purge.scope.clone(), purge.mode, SystemTime::now());
        let Done { number, entries, burial } = self.shared.purge(named, mode, || scope.to_string());
        burial.resume();
        let state = TierState::Applied { by: 1, of: 1 };
        let tiers = vec![TierReceipt { tier: Tier::Memory, state }];
        Ok(Receipt { scope, mode, number, at, entries, tiers })
    }

    pub(crate) fn purge_now(
        &self,
        named: &Named<'_>,
        mode: Mode,
        what: impl FnOnce() -> String,
    ) -> usize {
        let Done { entries, burial, .. } = self.shared.purge(named, mode, what);
        burial.resume();
        entries.unwrap_or(0)
    }

    /// Removes `key`; true if something was there that could still be served, be it stale. The short form of a
    /// hard [`Purge::key`]: what holds when [`purge`](Cache::purge) returns holds here for this process.
    ///
    /// # Panics
    ///
    /// If the `Drop` of what is removed does: see [`Cache`].
    pub fn remove<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        self.purge_key(key.into().as_str(), Mode::Hard)
    }

    /// Marks `key` stale; true if something was there that could still be served. It may still be served
    /// while it is refreshed or if that fails, as far as its stale windows allow.
    pub fn soft_remove<'k>(&self, key: impl Into<CacheKey<'k>>) -> bool {
        self.purge_key(key.into().as_str(), Mode::Soft)
    }

    fn purge_key(&self, key: &str, mode: Mode) -> bool {
        self.purge_now(&Named::Keys(&[key]), mode, || format!("key {key}")) > 0
    }

    /// Removes everything, with the same promise as [`remove`](Cache::remove); returns how many entries
    /// could still be served. The short form of a hard [`Purge::everything`].
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once everything is: see [`Cache`].
    pub fn clear(&self) -> usize {
        self.purge_now(&Named::Everything, Mode::Hard, || "everything".to_owned())
    }

    /// Marks everything stale: see [`soft_remove`](Cache::soft_remove). A single step, however much
    /// there is.
    pub fn soft_clear(&self) {
        self.purge_now(&Named::Everything, Mode::Soft, || "everything".to_owned());
    }

    /// Purges every entry that carries `tag`, also those whose fetch is under way: once this
    /// returns, nothing fetched before it is served to anybody who asks afterwards. A single step,
    /// however many entries that are. They go when room is needed, before anything else, or with the next
    /// [`sweep`](Cache::sweep). Remembered errors are forgotten, all of them: an error has no tags. The
    /// short form of a hard [`Purge::tag`].
    pub fn purge_tag(&self, tag: &str) {
        self.purge_now(&Named::Tag(tag), Mode::Hard, || format!("tag {tag}"));
    }

    /// Marks every entry that carries `tag` stale: see [`soft_remove`](Cache::soft_remove).
    pub fn soft_purge_tag(&self, tag: &str) {
        self.purge_now(&Named::Tag(tag), Mode::Soft, || format!("tag {tag}"));
    }

    /// Removes every key that begins with `prefix`, with the same promise as
    /// [`remove`](Cache::remove); returns how many of those entries could still be served. Looks at every
    /// key: tags are cheaper. The short form of a hard [`Purge::prefix`].
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once all of it is: see [`Cache`].
    pub fn purge_prefix(&self, prefix: &str) -> usize {
        self.purge_now(&Named::Prefixes(&[prefix]), Mode::Hard, || format!("prefix {prefix}"))
    }

    /// Marks every key that begins with `prefix` stale; returns how many of those entries could still be
    /// served.
    pub fn soft_purge_prefix(&self, prefix: &str) -> usize {
        self.purge_now(&Named::Prefixes(&[prefix]), Mode::Soft, || format!("prefix {prefix}"))
    }
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// How every purge goes: the log, the flights under way, the failures that are remembered, memory. In
    /// this order: what is stored later is asked for its fence under the lock of its shard, and finds the
    /// purge.
    pub(crate) fn purge(
        &self,
        named: &Named<'_>,
        mode: Mode,
        what: impl FnOnce() -> String,
    ) -> Done {
        let number = self.number_of(named, mode);
        self.revoke_flights(named);
        let errors = self.forget_failures(named);
        let (entries, burial) = self.purge_memory(named, mode);
        self.counters.purges.increment();
        self.counters.tell(|| Event::Purged { what: what(), soft: mode == Mode::Soft, number });
        Done { number, entries, burial: burial.and(errors) }
    }

    /// The hard purge of the key of a flight that is itself the cause: what it brings is what the change
    /// has led to, and may be stored.
    #[cfg(feature = "http")]
    pub(crate) fn purge_beside(&self, leader: &Leader<FlightResult<V>>) {
        let number = self.purges.next();
        leader.revoke_others();
        // What else panics here is not this request's fault.
        self.memory.remove(leader.key(), &self.judge_now()).1.pass_over();
        self.counters.purges.increment();
        let what = || format!("key {}", leader.key());
        self.counters.tell(|| Event::Purged { what: what(), soft: false, number });
    }

    /// What is not looked for is written down in the table, where entries meet it.
    fn number_of(&self, named: &Named<'_>, mode: Mode) -> u64 {
        match named {
            Named::Tag(tag) => self.purges.purge_tag(tag, mode, self.clock.now()),
            Named::Everything if mode == Mode::Soft => {
                self.purges.mark_everything_stale(self.clock.now())
            }
            Named::Keys(_) | Named::Prefixes(_) | Named::Everything => self.purges.next(),
        }
    }

    /// A flight learns the tags of what it brings only in the end, and meets the table then.
    fn revoke_flights(&self, named: &Named<'_>) {
        match named {
            Named::Keys(keys) => keys.iter().for_each(|key| self.flights.revoke(key)),
            Named::Prefixes(_) | Named::Everything => {
                self.flights.revoke_where(|key| named.names(key));
            }
            Named::Tag(_) => {}
        }
    }

    fn forget_failures(&self, named: &Named<'_>) -> Burial {
        match named {
            Named::Keys(keys) => keys.iter().fold(Burial::default(), |burial, key| {
                self.backoffs.forget(key);
                burial.and(self.negatives.forget(key))
            }),
            Named::Prefixes(_) => {
                // Which keys those are is not known: at worst some other refresh is tried again too soon.
                self.backoffs.forget_all();
                self.negatives.forget_where(|key| named.names(key))
            }
            Named::Everything => {
                self.backoffs.forget_all();
                self.negatives.forget_all()
            }
            // An error has no tags. What is held back is looked up with its entry.
            Named::Tag(_) => self.negatives.forget_all(),
        }
    }

    fn purge_memory(&self, named: &Named<'_>, mode: Mode) -> (Option<usize>, Burial) {
        let judge = self.judge_now();
        let mut marked = 0;
        let (entries, burial) = match (named, mode) {
            (Named::Keys(keys), Mode::Hard) => {
                keys.iter().fold((0, Burial::default()), |(entries, burial), key| {
                    let (was_of_use, removed) = self.memory.remove(key, &judge);
                    (entries + usize::from(was_of_use), burial.and(removed))
                })
            }
            (Named::Prefixes(_), Mode::Hard) => {
                self.memory.remove_where(|key| named.names(key), &judge)
            }
            (Named::Everything, Mode::Hard) => self.memory.clear(&judge),
            (Named::Keys(_) | Named::Prefixes(_), Mode::Soft) => {
                let mut mark = |entry: &mut crate::entry::Entry<V>| {
                    marked += usize::from(!judge.is_over(entry));
                    entry.mark_stale(judge.now());
                };
                match named {
                    Named::Keys(keys) => keys.iter().for_each(|key| {
                        self.memory.update(key, &mut mark);
                    }),
                    _ => self.memory.update_where(|key| named.names(key), &mut mark),
                }
                (marked, Burial::default())
            }
            // Nobody looks: what is there may be what it marks.
            (Named::Everything, Mode::Soft) => (self.memory.size().0, Burial::default()),
            (Named::Tag(_), _) => return (None, Burial::default()),
        };
        (Some(entries), burial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::look::Found;

    #[test]
    fn only_purges_that_entries_must_be_looked_up_for_make_a_hit_look_closer() {
        let is_plain = |cache: &Cache<String>| matches!(cache.shared.find("a"), Found::Plain(_));
        let cache = Cache::<String>::builder().build();
        cache.insert("a", String::new());
        cache.remove("b");
        cache.purge_prefix("b");
        cache.soft_remove("b");
        assert!(is_plain(&cache));
        cache.purge_tag("b");
        assert!(!is_plain(&cache));
        assert!(cache.get("a").is_some());
        assert!(is_plain(&cache), "the entry has been found to have outlived it");
    }
}
