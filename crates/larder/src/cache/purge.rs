//! Purge: the one way in, its short forms, and what the library has to forget.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Cache, Library};
use crate::{
    clock::Moment,
    engine::{
        lower::{Above, Sent},
        purge::{Done, Listener, Named, Stored},
    },
    key::CacheKey,
    purge::{Mode, Purge, PurgeError, PurgeFollower, Receipt, Tier, TierReceipt, TierState},
    tier::{
        lower::{LowerError, LowerPurge},
        memory::Burial,
    },
};

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
    /// A tier below memory ([`Builder::lower`](crate::Builder::lower)) is told next. Until it has
    /// acknowledged the purge, nothing that the purge names is taken from there; it is told again until it
    /// does, while the cache lives. Whoever is to know that other processes see the purge, too, says
    /// [`wait(Tier::Shared)`](Purge::wait), and reads the receipt: a tier that does not answer is no error.
    ///
    /// Without that the future is ready at once; with a file for the [outbox](crate::Builder::outbox) when the purge
    /// is on disk, or acknowledged, or cannot be written, and within a second. A purge is made when the future is first
    /// polled, and is not undone by dropping it.
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
        self.purge_as_stored(&purge, Stored::of(&purge.scope), None).await
    }

    /// The same, and it waits for its tier `within` this time, whatever the tier's settings say
    /// ([`Settings::purge_wait`](crate::lower::Settings::purge_wait)).
    ///
    /// # Errors
    ///
    /// Those of [`purge`](Cache::purge).
    pub async fn purge_within(
        &self,
        purge: Purge,
        within: Duration,
    ) -> Result<Receipt, PurgeError> {
        self.purge_as_stored(&purge, Stored::of(&purge.scope), Some(within)).await
    }

    /// Purges what `purge` names, as it is `stored`, and waits as it says, or `within` this time.
    pub(crate) async fn purge_as_stored(
        &self,
        purge: &Purge,
        stored: Stored<'_>,
        within: Option<Duration>,
    ) -> Result<Receipt, PurgeError> {
        let (mut receipt, sent) = self.begin_purge(purge, stored.named())?;
        if let Some(sent) = sent {
            let below = match purge.wait {
                Tier::Memory => sent.kept().await,
                Tier::Shared | Tier::Cdn => sent.wait(within).await,
            };
            receipt.tiers.push(TierReceipt { scope: purge.scope.below(), ..below });
        }
        Ok(receipt)
    }

    /// Purges memory. What is below is on its way.
    fn begin_purge(
        &self,
        purge: &Purge,
        named: Named<'_>,
    ) -> Result<(Receipt, Option<Sent>), PurgeError> {
        let engine = &self.library.engine;
        let has_tier = match purge.wait {
            Tier::Memory => true,
            Tier::Shared => engine.lower().is_some(),
            Tier::Cdn => false,
        };
        if !has_tier {
            return Err(PurgeError::NoTier { tier: purge.wait });
        }
        let (scope, mode, at) = (purge.scope.clone(), purge.mode, SystemTime::now());
        let Done { number, entries, burial, sent } =
            engine.purge(named, mode, || scope.to_string());
        engine.tell_followers(named, (mode, number), at, purge.asked.as_ref());
        burial.resume();
        let state = TierState::Applied { by: 1, of: 1 };
        let tiers = vec![TierReceipt::of(Tier::Memory, state)];
        Ok((Receipt { scope, mode, number, at, entries, tiers }, sent))
    }

    /// From now on `follower` is told of each purge that is made here, by whichever way but one: what an HTTP cache
    /// invalidates because a request has changed something (RFC 9111 §4.4) anybody can cause, and is not told.
    pub fn follow_purges(&self, follower: Arc<dyn PurgeFollower>) {
        self.library.engine.follow_purges(follower);
    }

    /// Waits until all purges that were made here before this call hold in the tier below memory, in all processes that
    /// share it, or until `within` is over; the receipt says which. `None`: there is no such tier.
    pub async fn purges_held(&self, within: Duration) -> Option<TierReceipt> {
        let lower = self.library.engine.lower()?;
        Some(lower.purges_held(within).await)
    }

    /// Reads which purges other processes have made, from the tier below memory, and makes them here. A miss
    /// does the same; a process whose memory has everything asks for nothing, and learns of a purge only so.
    /// Does nothing where there is no such tier.
    ///
    /// # Errors
    ///
    /// The tier has not answered. What it may have is unknown then, and memory is served as before.
    pub async fn catch_up(&self) -> Result<(), LowerError> {
        match self.library.engine.lower() {
            Some(lower) => lower.catch_up().await,
            None => Ok(()),
        }
    }

    pub(crate) fn purge_now(
        &self,
        named: Named<'_>,
        mode: Mode,
        what: impl FnOnce() -> String,
    ) -> usize {
        let engine = &self.library.engine;
        let Done { number, entries, burial, .. } = engine.purge(named, mode, what);
        engine.tell_followers(named, (mode, number), SystemTime::now(), None);
        burial.resume();
        entries.unwrap_or(0)
    }

    /// Removes `key`; true if something was there that could still be served, be it stale. The short form of a
    /// hard [`Purge::key`]: what holds when [`purge`](Cache::purge) returns holds here for this process. A tier
    /// below memory is told a moment later, and judged by the purge until it has it.
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
        self.purge_now(Named::Keys(&[key]), mode, || format!("key {key}")) > 0
    }

    /// Removes everything, with the same promise as [`remove`](Cache::remove); returns how many entries
    /// could still be served. The short form of a hard [`Purge::everything`].
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once everything is: see [`Cache`].
    pub fn clear(&self) -> usize {
        self.purge_now(Named::Everything, Mode::Hard, || "everything".to_owned())
    }

    /// Marks everything stale: see [`soft_remove`](Cache::soft_remove). A single step, however much
    /// there is.
    pub fn soft_clear(&self) {
        self.purge_now(Named::Everything, Mode::Soft, || "everything".to_owned());
    }

    /// Purges every entry that carries `tag`, also those whose fetch is under way: once this
    /// returns, nothing fetched before it is served to anybody who asks afterwards. A single step,
    /// however many entries that are. They go when room is needed, before anything else, or with the next
    /// [`sweep`](Cache::sweep). Remembered errors are forgotten, all of them: an error has no tags. The
    /// short form of a hard [`Purge::tag`].
    pub fn purge_tag(&self, tag: &str) {
        self.purge_now(Named::Tag(tag), Mode::Hard, || format!("tag {tag}"));
    }

    /// Marks every entry that carries `tag` stale: see [`soft_remove`](Cache::soft_remove).
    pub fn soft_purge_tag(&self, tag: &str) {
        self.purge_now(Named::Tag(tag), Mode::Soft, || format!("tag {tag}"));
    }

    /// Removes every key that begins with `prefix`, with the same promise as
    /// [`remove`](Cache::remove); returns how many of those entries could still be served. Looks at every
    /// key: tags are cheaper. A tuple is the prefix of all tuples that begin with its parts
    /// ([`ToKey`](crate::ToKey)). The short form of a hard [`Purge::prefix`].
    ///
    /// # Panics
    ///
    /// If the `Drop` of something removed does, once all of it is: see [`Cache`].
    pub fn purge_prefix<'k>(&self, prefix: impl Into<CacheKey<'k>>) -> usize {
        let prefix = prefix.into();
        let prefix = prefix.as_str();
        self.purge_now(Named::Prefixes(&[prefix]), Mode::Hard, || format!("prefix {prefix}"))
    }

    /// Marks every key that begins with `prefix` stale; returns how many of those entries could still be
    /// served.
    pub fn soft_purge_prefix<'k>(&self, prefix: impl Into<CacheKey<'k>>) -> usize {
        let prefix = prefix.into();
        let prefix = prefix.as_str();
        self.purge_now(Named::Prefixes(&[prefix]), Mode::Soft, || format!("prefix {prefix}"))
    }
}

impl<V: Clone + Send + Sync + 'static> Listener for Library<V> {
    /// A failure has no tags: any of those that are remembered may have been meant.
    fn purge(&self, named: Named<'_>) -> Burial {
        let Library { flights, negatives, .. } = self;
        let revoked = flights.purge(named);
        let forgotten = match named {
            Named::Keys(keys) => {
                keys.iter().fold(Burial::default(), |burial, key| burial.and(negatives.forget(key)))
            }
            #[cfg(feature = "http")]
            Named::KeyBeside(key, _) => negatives.forget(key),
            Named::Prefixes(_) | Named::Globs(_) => negatives.forget_where(|key| named.names(key)),
            Named::Everything | Named::Tag(_) => negatives.forget_all(),
        };
        revoked.and(forgotten)
    }
}

impl<V: Clone + Send + Sync + 'static> Above for Library<V> {
    fn purge_too(&self, purge: &LowerPurge) {
        self.engine.purge_too(purge);
    }

    fn trust_until(&self, moment: Moment) {
        self.engine.trust_until(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::look::Found, freshness::Lifetime};

    #[test]
    fn a_hit_is_plain_whatever_else_is_purged_and_each_purge_by_tag_is_looked_up_once() {
        let cache = Cache::<String>::builder().build();
        let Library { engine, .. } = &*cache.library;
        let is_plain = || matches!(engine.find("a"), Found::Plain(_));
        let outlived = || engine.peek("a", |entry| entry.fence());
        cache.insert_with("a", String::new(), Lifetime::fresh_for(Duration::MAX), ["of a"]);
        let begun = outlived();
        cache.remove("b");
        cache.purge_prefix("b");
        cache.soft_remove("b");
        assert!(is_plain());
        assert_eq!(outlived(), begun, "those of keys are not looked up");
        cache.purge_tag("b");
        assert!(is_plain());
        assert_eq!(outlived(), Some(engine.position()));
        cache.purge_tag("of a");
        assert!(!is_plain());
    }
}
