//! No-Vary-Search: what is stored for one URI may answer others whose query differs in nothing that
//! matters (`No-Vary-Search`, draft-ietf-httpbis-no-vary-search).
//!
//! Two small tables, both bounded: by path, the variance that an answer there named last; by key modulo
//! that variance, the key of an answer that named it. Nothing is stored twice, and what is found is
//! judged like everything that is stored.

use std::{sync::Arc, time::Duration};

use larder_policy::{
    fields::Fields, freshness::Lifetime, key::RequestKey, no_vary_search::NoVarySearch,
};

use crate::{
    clock::Clock,
    entry::{Entry, Facts},
    purge::Fence,
    purge::judge::Judge,
    tier::memory::{Limits, Looker, MemoryTier},
};

/// Each of the tables weighs this at most.
const TABLE_BYTES: usize = 1 << 20;

pub(crate) struct NoVarySearchTables {
    variances: MemoryTier<Arc<NoVarySearch>>,
    answers: MemoryTier<StoredUnder>,
    clock: Clock,
}

/// Where an answer for a key modulo its variance is stored.
struct StoredUnder {
    key: Arc<str>,
    /// The last purge before it was asked for: any later one may have meant another URI that it stands
    /// for.
    fence: Fence,
}

/// A key under which an answer may be stored that answers another key as well.
pub(crate) struct Equivalent {
    pub(crate) key: Arc<str>,
    variance: Arc<NoVarySearch>,
}

impl Equivalent {
    /// Whether an answer with these fields still says so. Another may be stored there by now.
    pub(crate) fn is_still_so(&self, headers: Fields<'_>) -> bool {
        variance_of(headers).as_ref() == Some(&*self.variance)
    }
}

impl NoVarySearchTables {
    pub(crate) fn new(clock: Clock) -> Self {
        let limits = || Limits::bytes(TABLE_BYTES);
        NoVarySearchTables {
            variances: MemoryTier::new(limits()),
            answers: MemoryTier::new(limits()),
            clock,
        }
    }

    /// Remembers what an answer with these fields, just stored for `key` and kept for so long, may answer
    /// beside it. `fence` is the last purge before it was asked for.
    pub(crate) fn remember(
        &self,
        key: &Arc<str>,
        headers: Fields<'_>,
        keep_for: Duration,
        fence: Fence,
    ) {
        let Some(variance) = variance_of(headers) else { return };
        let Some((path, modulo)) = names(key, &variance) else { return };
        let now = self.clock.now();
        let facts = || Facts {
            lifetime: Lifetime::fresh_for(keep_for),
            fetched: now,
            cost: Duration::ZERO,
            tags: Box::default(),
            fence: 0,
        };
        let judge = Judge::of_untagged(now);
        let heap_bytes = size_of::<NoVarySearch>() + modulo.len();
        let entry = Entry::new(Arc::new(variance), facts());
        self.variances.put(path, entry, heap_bytes, &judge, || false);
        let answer = Entry::new(StoredUnder { key: Arc::clone(key), fence }, facts());
        self.answers.put(&modulo, answer, key.len(), &judge, || false);
    }

    /// Under which other key an answer may be stored that answers `key`, where no purge has come since
    /// `position`.
    pub(crate) fn equivalent(
        &self,
        key: &Arc<str>,
        position: Fence,
        looker: Looker,
    ) -> Option<Equivalent> {
        let variance = |entry: &Entry<Arc<NoVarySearch>>| Arc::clone(&entry.value);
        let variance = self.variances.look(looker, path_of(key), variance)?;
        let (_, modulo) = names(key, &variance)?;
        let under = |entry: &Entry<StoredUnder>| (Arc::clone(&entry.value.key), entry.value.fence);
        let (other, fence) = self.answers.look(looker, &modulo, under)?;
        (fence == position && other != *key).then_some(Equivalent { key: other, variance })
    }
}

/// The variance that an answer names, if not every byte of the query matters.
fn variance_of(headers: Fields<'_>) -> Option<NoVarySearch> {
    Some(NoVarySearch::of(headers)).filter(|variance| !variance.is_default())
}

fn path_of(key: &str) -> &str {
    key.split('?').next().unwrap_or(key)
}

/// The names in the two tables.
fn names<'a>(key: &'a str, variance: &NoVarySearch) -> Option<(&'a str, String)> {
    let modulo = RequestKey::of_uri(&key.parse().ok()?)?.modulo(variance)?;
    Some((path_of(key), modulo.as_str().to_owned()))
}
