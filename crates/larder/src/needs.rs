//! Needs: which fetch waits for which other, over all caches of the process.
//!
//! ```text
//! fetch a ── asks for b ──► fetch b ── asks for c ──► fetch c, which waits for its turn
//! ```
//!
//! A fetch may ask for another key; then its flight needs that key's flight. Each such need is written
//! down while it lasts, and tells two things:
//!
//! - a fetch that needs itself, directly or through others, would wait for ever: whoever would close the
//!   ring is told so ([`Recursive`]);
//! - a fetch that is needed by one of its own cache, or by one of a cache whose turns this cache's
//!   fetches wait for in turn, hurries: it takes no turn, nor do those that it needs.
//!
//! Only flights that a fetch asks for come here; what plain readers wait for does not.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{sync::thread_local, turns::Fetch};

thread_local! {
    /// The fetch that this thread polls right now, the innermost if there are several.
    static WITHIN: RefCell<Option<Arc<Fetch>>> = const { RefCell::new(None) };
}

/// The fetch that asks, if it is a fetch that does. It is not known in a task that a fetch has spawned.
pub(crate) fn within() -> Option<Arc<Fetch>> {
    WITHIN.try_with(|within| within.borrow().clone()).ok().flatten()
}

/// What `future` asks for, `fetch` needs.
pub(crate) async fn run_as<F: Future>(fetch: Arc<Fetch>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _polled = Polled { outer: WITHIN.with(|within| within.replace(Some(fetch.clone()))) };
        future.as_mut().poll(context)
    })
    .await
}

/// While a fetch is polled, also if that panics.
struct Polled {
    outer: Option<Arc<Fetch>>,
}

impl Drop for Polled {
    fn drop(&mut self) {
        let outer = self.outer.take();
        drop(WITHIN.with(|within| within.replace(outer)));
    }
}

/// Tells caches apart while they exist.
type CacheId = usize;

/// All needs of the process. One lock for them all, so that of two which close a ring together the
/// second sees the first. Only fetches within fetches take it. It is the standard library's also where
/// interleavings are tried out, for nobody is interrupted under it.
static NEEDS: Mutex<Needs> = Mutex::new(Needs { of: BTreeMap::new(), between: BTreeMap::new() });

struct Needs {
    /// By a fetch's number, what it waits for. No list is empty.
    of: BTreeMap<u64, Vec<Arc<Fetch>>>,
    /// How many needs of this kind there are, none of them zero: a fetch of the first cache waits for
    /// one of the second.
    between: BTreeMap<(CacheId, CacheId), usize>,
}

/// The fetch would wait for itself.
pub(crate) struct Recursive;

/// One fetch waits for another, until this is dropped.
pub(crate) struct Need {
    who: Arc<Fetch>,
    whom: Arc<Fetch>,
}

impl Need {
    /// What `whom` brings is needed by the fetch `within` which it is asked for, if there is one.
    pub(crate) fn of(
        within: Option<&Arc<Fetch>>,
        whom: &Arc<Fetch>,
    ) -> Result<Option<Need>, Recursive> {
        within.map(|who| Need::begin(Arc::clone(who), Arc::clone(whom))).transpose()
    }

    fn begin(who: Arc<Fetch>, whom: Arc<Fetch>) -> Result<Need, Recursive> {
        let hurrying = {
            let mut needs = lock();
            let reached = needs.reached_from(&whom);
            if reached.iter().any(|fetch| fetch.number() == who.number()) {
                return Err(Recursive);
            }
            needs.add(&who, &whom);
            if needs.is_ring(who.cache(), whom.cache()) { reached } else { Vec::new() }
        };
        // The last need of a ring finds the ring, and then everybody in it goes on without a turn. What
        // hurries stays so: what it asks for later joins the ring last, and finds it again.
        hurrying.iter().for_each(|fetch| fetch.hurry());
        Ok(Need { who, whom })
    }
}

impl Drop for Need {
    fn drop(&mut self) {
        lock().remove(&self.who, &self.whom);
    }
}

impl Needs {
    /// `first` and all that it needs, directly or through others.
    fn reached_from(&self, first: &Arc<Fetch>) -> Vec<Arc<Fetch>> {
        let mut reached = vec![Arc::clone(first)];
        let mut numbers = BTreeSet::from([first.number()]);
        let mut next = 0;
        while let Some(fetch) = reached.get(next) {
            let needed = self.of.get(&fetch.number()).into_iter().flatten();
            let news: Vec<_> = needed.filter(|it| numbers.insert(it.number())).cloned().collect();
            reached.extend(news);
            next += 1;
        }
        reached
    }

    /// Whether fetches of `whom` wait for fetches of `who`, directly or through other caches.
    fn is_ring(&self, who: CacheId, whom: CacheId) -> bool {
        let mut reached = vec![whom];
        let mut next = 0;
        while let Some(&cache) = reached.get(next) {
            if cache == who {
                return true;
            }
            for (&(_, needed), _) in self.between.range((cache, 0)..=(cache, CacheId::MAX)) {
                if !reached.contains(&needed) {
                    reached.push(needed);
                }
            }
            next += 1;
        }
        false
    }

    fn add(&mut self, who: &Fetch, whom: &Arc<Fetch>) {
        self.of.entry(who.number()).or_default().push(Arc::clone(whom));
        *self.between.entry((who.cache(), whom.cache())).or_default() += 1;
    }

    fn remove(&mut self, who: &Fetch, whom: &Fetch) {
        if let Some(needed) = self.of.get_mut(&who.number()) {
            if let Some(place) = needed.iter().position(|fetch| fetch.number() == whom.number()) {
                needed.swap_remove(place);
            }
            if needed.is_empty() {
                self.of.remove(&who.number());
            }
        }
        let between = (who.cache(), whom.cache());
        if let Some(count) = self.between.get_mut(&between) {
            *count -= 1;
            if *count == 0 {
                self.between.remove(&between);
            }
        }
    }
}

fn lock() -> MutexGuard<'static, Needs> {
    NEEDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Panics if a fetch of this cache still waits for another, or another for it.
#[cfg(all(test, not(shuttle)))]
pub(crate) fn assert_none_of(turns: &Arc<crate::turns::Turns>) {
    let (needs, cache) = (lock(), turns.cache());
    assert!(needs.between.keys().all(|(who, whom)| *who != cache && *whom != cache));
    assert!(needs.of.values().flatten().all(|fetch| fetch.cache() != cache));
}
