//! Store: the variants of each key, read and written.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use larder_policy::{freshness::Lifetime, head::RequestHead, settings::Policy};

use super::{
    body::stored::StoredBody,
    forms::Forms,
    landing::Leader,
    request::Retrieval,
    stored::{Mark, Stored},
    tags::tags_of,
    variants::{StoredVariant, Variants},
};
use crate::{
    answer::Storage,
    cache::Cache,
    clock::{Moment, wall::WallClock},
    engine::{
        Engine,
        look::Kept,
        purge::Named,
        store::{Dated, Unstored},
    },
    tier::memory::{Looker, TellLater},
};

/// At most this many keys may be merged at once.
const MERGES: usize = 64;

/// The cache in which the variants lie, and the time of day.
pub(crate) struct Store {
    cache: Cache<Variants>,
    wall_clock: WallClock,
    /// Held while a key's variants are read and written again, so that none is lost. Picked by hash.
    merges: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// What is stored for a request, purges considered.
#[derive(Clone, Default)]
pub(crate) struct AtHand {
    pub(crate) variants: Variants,
    /// What fetching them cost in time.
    pub(crate) cost: Duration,
    /// Where they lie, if that is not under the request's own key.
    pub(crate) elsewhere: Option<Arc<str>>,
}

impl Store {
    pub(crate) fn new(cache: Cache<Variants>) -> Self {
        let wall_clock = WallClock::new(cache.engine().clock().clone());
        let merges = (0..MERGES).map(|_| Mutex::new(())).collect();
        Store { cache, wall_clock, merges, hasher: RandomState::new() }
    }

    pub(crate) fn cache(&self) -> &Cache<Variants> {
        &self.cache
    }

    pub(crate) fn engine(&self) -> &Engine<Variants> {
        self.cache.engine()
    }

    pub(crate) fn wall_clock(&self) -> &WallClock {
        &self.wall_clock
    }

    /// What is stored under `key`, purges considered.
    pub(crate) fn look(&self, key: &str) -> AtHand {
        self.look_as(Looker::Reader, key)
    }

    /// The same for a reader, or for somebody who asks what a reader would find.
    pub(crate) fn look_as(&self, looker: Looker, key: &str) -> AtHand {
        let Some(kept) = self.engine().find_kept(key, looker) else { return AtHand::default() };
        let Kept { value: variants, cost, marked_stale, within } = kept;
        let variants = match within {
            None => variants,
            Some(time) => {
                let since = self.wall_clock.now().checked_sub(time);
                variants.asked_since(Mark::at(since.unwrap_or(SystemTime::UNIX_EPOCH)))
            }
        };
        let variants = match marked_stale {
            None => variants,
            Some(ago) => {
                let at = self.wall_clock.now().checked_sub(ago);
                variants.marked_stale(at.unwrap_or(SystemTime::UNIX_EPOCH))
            }
        };
        AtHand { variants, cost, elsewhere: None }
    }

    /// What is stored for this request, but for what is too old for it.
    pub(crate) fn look_for(&self, looker: Looker, asked: &Retrieval) -> AtHand {
        let at_hand = self.look_as(looker, &asked.key);
        match asked.not_before() {
            None => at_hand,
            Some(mark) => AtHand { variants: at_hand.variants.asked_since(mark), ..at_hand },
        }
    }

    /// The time of day at a moment of the cache's clock, which may lie before its beginning.
    pub(crate) fn time_of_day(&self, moment: Moment) -> SystemTime {
        let ago = self.engine().now().since(moment);
        self.wall_clock.now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The moment of the cache's clock at a time of day.
    pub(crate) fn moment(&self, time: SystemTime) -> Moment {
        let ago = self.wall_clock.now().duration_since(time).unwrap_or_default();
        self.engine().now().minus(ago)
    }

    /// Stores `fresh` among the variants of its leader's key, in the place of those it stands for; `updates`
    /// are the ones it was made of.
    pub(crate) fn keep(
        &self,
        policy: &Policy,
        request: RequestHead<'_>,
        fresh: impl Into<StoredVariant>,
        updates: &[Arc<Stored>],
        cost: Duration,
        leader: &Leader,
    ) -> Storage {
        let key = leader.key();
        let _merging = self.merge(key);
        let mut variants =
            match self.look(key).variants.with(fresh.into(), updates, request, policy) {
                Ok(variants) => variants,
                Err(reason) => return Storage::Not(reason),
            };
        let dated = |variants: &Variants| self.dated(policy, request, variants, cost, leader);
        let mut entry = dated(&variants);
        while !self.engine().fits(key, &entry)
            && let Some(fewer) = variants.without_the_oldest()
        {
            entry = dated(&fewer);
            variants = fewer;
        }
        // What is its own now counts there: it is moved.
        entry.value.enter_store();
        self.engine().store_whole_unless(key, entry, || leader.is_revoked())
    }

    /// Keeps what `make` makes of the response with this body, and of its forms until now, beside it. `None`: that
    /// response is gone, or something else came in between, or all of it is too much for one entry.
    pub(crate) fn keep_forms(
        &self,
        key: &str,
        body: &StoredBody,
        make: impl FnOnce(&Stored, Option<&Forms>) -> Option<Forms>,
    ) -> Option<Storage> {
        let _merging = self.merge(key);
        let remade = self.engine().remake(key, |variants| {
            let mut variants = variants.with_forms(body, make)?;
            variants.enter_store();
            Some(variants)
        });
        remade?.ok()
    }

    /// What lies under a key, as it is to be stored.
    fn dated(
        &self,
        policy: &Policy,
        request: RequestHead<'_>,
        variants: &Variants,
        cost: Duration,
        leader: &Leader,
    ) -> Dated<Variants> {
        let keep_for = variants.keep_for(policy);
        let unstored = Unstored {
            value: Box::new(variants.clone()),
            // After a soft purge its variants are of use for as long again, each by its own windows.
            lifetime: Lifetime::fresh_for(keep_for).stale_if_error(keep_for),
            tags: tags_of(variants.heads(), request).into(),
            refusal: None,
            class: policy.class(),
        };
        self.engine().dated(leader.key(), unstored, cost, leader.fence())
    }

    /// Takes what is stored under a key and is no longer true out of it.
    /// The flight that has found out may still store what it has brought.
    pub(crate) fn drop_variant(&self, gone: &Arc<Stored>, leader: &Leader) {
        let _merging = self.merge(leader.key());
        if self.look(leader.key()).variants.contain(gone) {
            // The others are fetched again: that is cheaper than being wrong.
            let beside = Named::KeyBeside(leader.key(), leader.fetch().number());
            let _until_it_is_out = self.engine().drop_below(leader.key());
            self.engine().reach(beside).pass_over();
            self.engine().take_out(leader.key()).pass_over();
        }
    }

    fn merge(&self, key: &str) -> Merging<'_> {
        let place = self.hasher.hash_one(key) as usize % MERGES;
        // It protects an order, nothing that could be left half-way.
        let lock = self.merges[place].lock().unwrap_or_else(PoisonError::into_inner);
        Merging { _lock: lock, _then_tell: TellLater::begin() }
    }
}

/// A key's variants are read and written again. The order of the fields is the one in which they are dropped: who
/// is told of what was taken out meanwhile is told under no lock.
struct Merging<'a> {
    _lock: MutexGuard<'a, ()>,
    _then_tell: TellLater,
}
