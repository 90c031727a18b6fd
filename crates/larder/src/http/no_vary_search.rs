//! No-Vary-Search: what is stored for one URI may answer others whose query differs in nothing that
//! matters (`No-Vary-Search`, draft-ietf-httpbis-no-vary-search).
//!
//! Two small tables, both bounded: by path, the variance that an answer there named last; by key modulo
//! that variance, the key of an answer that named it. Nothing is stored twice, and what is found is
//! judged like everything that is stored.

use std::sync::Arc;

use http::Method;
use larder_policy::{
    fields::Fields, freshness::Lifetime, key::RequestKey, no_vary_search::NoVarySearch,
    reuse::Verdict,
};

use super::{
    HttpCache,
    service::{Asked, AtHand},
    stored::Stored,
};
use crate::{
    engine::judge::Judge,
    entry::{Entry, Facts},
    purge::log::Fence,
    tier::memory::{Limits, MemoryTier},
};

/// Each of the tables weighs this at most.
const TABLE_BYTES: usize = 1 << 20;

pub(crate) struct NoVarySearchTables {
    variances: MemoryTier<Arc<NoVarySearch>>,
    answers: MemoryTier<Answer>,
}

/// Where an answer for a key modulo its variance is stored.
struct Answer {
    key: Arc<str>,
    /// The last purge before it was asked for: any later one may have meant another URI that it stands
    /// for.
    fence: Fence,
}

impl NoVarySearchTables {
    pub(crate) fn new() -> Self {
        let limits = || Limits::bytes(TABLE_BYTES);
        NoVarySearchTables {
            variances: MemoryTier::new(limits()),
            answers: MemoryTier::new(limits()),
        }
    }
}

impl HttpCache {
    /// Remembers what `stored`, just stored for `key`, may answer beside it. `fence` is the last
    /// purge before it was asked for.
    pub(crate) fn remember_no_vary_search(&self, key: &Arc<str>, stored: &Stored, fence: Fence) {
        let Some(tables) = self.no_vary_search_tables() else { return };
        let variance = variance_of(stored.head.fields());
        let Some((path, modulo)) = variance.as_ref().and_then(|rule| names(key, rule)) else {
            return;
        };
        let facts = || Facts {
            lifetime: Lifetime::fresh_for(stored.head.keep_for(self.policy())),
            fetched: self.shared().clock.now(),
            cost: std::time::Duration::ZERO,
            tags: Box::default(),
            fence: 0,
        };
        let heap_bytes = size_of::<NoVarySearch>() + modulo.len();
        let entry = Entry::new(Arc::new(variance.unwrap_or_default()), facts());
        let judge = Judge::of_untagged(self.shared().clock.now());
        tables.variances.put(path, entry, heap_bytes, &judge, || false);
        let answer = Answer { key: Arc::clone(key), fence };
        let answer = Entry::new(answer, facts());
        tables.answers.put(&modulo, answer, key.len(), &judge, || false);
    }

    /// What is stored for an equivalent URI, if it may answer this request as it is: its key, what is
    /// there, and the verdict.
    pub(crate) fn by_no_vary_search(&self, asked: &Asked) -> Option<(AtHand, Verdict)> {
        let tables = self.no_vary_search_tables()?;
        if !matches!(asked.head.method, Method::GET | Method::HEAD) {
            return None;
        }
        let path = path_of(&asked.key);
        let variance = tables.variances.read(path, |entry| Arc::clone(&entry.value))?;
        let (_, modulo) = names(&asked.key, &variance)?;
        let found =
            tables.answers.read(&modulo, |entry| (Arc::clone(&entry.value.key), entry.value.fence));
        let (key, fence) = found?;
        if fence != self.shared().purges.position() || key == asked.key {
            return None;
        }
        let at_hand = self.look(&key);
        let verdict = self.decide(asked, &at_hand);
        let Verdict::Serve { index, .. } = verdict else { return None };
        // Another answer may be stored there by now, with another variance.
        let kept = at_hand.variants.get(index)?;
        let is_still_so = variance_of(kept.stored.head.fields()).as_ref() == Some(&*variance);
        is_still_so.then_some((at_hand, verdict))
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
