//! Snapshots: lists of what caches hold, made behind the scenes and kept for a moment.
//!
//! To look at a million entries takes a good part of a second, and nobody who asks for fifty rows waits for it on a thread
//! of his own. One list is made at a time. It holds the first 10,000 rows of an order (or 4 MiB of keys); pages are cut from
//! it as long as it is young, and the page behind its last row is asked for by another list, which begins there. So a
//! million entries are paged through with a hundred lists, and none of them takes more memory than the first.
//!
//! The first page of a cache that takes long is not waited for: what was seen in 25 ms is told, as incomplete, until the whole
//! list is there, which is made meanwhile, or once it is its turn and somebody asks again. What comes behind a page is told
//! by a whole list only.

use std::{
    cmp::Ordering,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use larder::{
    Scope,
    listing::{ListQuery, Listed, ListedTags, Order, Place},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    key_routes::KeyRoutes,
    managed::{Managed, Only},
    problem::Problem,
};

/// So many rows a list holds at most.
const ROWS: usize = 10_000;
/// So many lists are kept at once: what two or three people look at.
const KEPT: usize = 4;
/// How long a list is told before it is made anew: twenty times what it took, but within these.
const YOUNG: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// For so long whoever asks waits for a list before something else is told.
const PATIENCE: Duration = Duration::from_millis(25);
/// For so long where there is nothing else to tell.
const LAST_PATIENCE: Duration = Duration::from_secs(10);
/// The tags on most entries, and those that weigh most: so many of each.
const TAGS: usize = 1000;

/// Which entries of which cache, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its place among the caches.
    pub(crate) cache: usize,
    pub(crate) order: Order,
    pub(crate) prefix: Option<String>,
    pub(crate) contains: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) route: Option<String>,
}

/// From where a page goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) place: Place,
    pub(crate) is_inclusive: bool,
}

impl From {
    fn has(&self, place: &Place) -> bool {
        match place.cmp(&self.place) {
            Ordering::Less => false,
            Ordering::Equal => self.is_inclusive,
            Ordering::Greater => true,
        }
    }
}

/// Some rows of a list.
pub(crate) struct Page {
    pub(crate) rows: Vec<Place>,
    /// Whether there are others behind them.
    pub(crate) is_more: bool,
    pub(crate) list: Arc<Listed>,
}

#[derive(Default)]
pub(crate) struct Snapshots {
    /// Held to look for one, and to put one in.
    kept: Mutex<Kept>,
    turn: Turn,
    /// Who takes a glance, which nobody waits for whose list is being made.
    glances: Turn,
}

/// One at a time.
struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Turn(Arc::new(Semaphore::new(1)))
    }
}

impl Turn {
    async fn wait(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = timeout(LAST_PATIENCE, Arc::clone(&self.0).acquire_owned()).await;
        turn.map_err(|_| busy())?.map_err(|_| busy())
    }

    fn if_free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

#[derive(Default)]
struct Kept {
    /// The one that was used last comes last.
    lists: Vec<Snapshot>,
    /// By the caches' places.
    tags: Vec<(usize, Dated<ListedTags>)>,
}

struct Snapshot {
    wanted: Wanted,
    from: Option<From>,
    list: Dated<Listed>,
}

struct Dated<T> {
    made: Instant,
    took: Duration,
    told: Arc<T>,
}

// Derived code would ask for `T: Clone`.
impl<T> Clone for Dated<T> {
    fn clone(&self) -> Self {
        Dated { told: Arc::clone(&self.told), ..*self }
    }
}

impl<T> Dated<T> {
    fn is_young(&self, now: Instant) -> bool {
        let [least, most] = YOUNG;
        now.saturating_duration_since(self.made) < (self.took * 20).clamp(least, most)
    }
}

impl Snapshot {
    /// The rows of a page that it has. `None`: the page is not, or not only, among what it has looked for.
    fn page(&self, from: Option<&From>, limit: usize) -> Option<Page> {
        let list = &self.list.told;
        if from.is_some() && !list.is_complete {
            return None;
        }
        let begin = match (from, &self.from) {
            (None, None) => 0,
            (None, Some(_)) => return None,
            (Some(from), Some(own)) if !own.has(&from.place) && own != from => return None,
            (Some(from), _) => list.rows.partition_point(|row| !from.has(row)),
        };
        let rows = &list.rows[begin..];
        if rows.is_empty() && list.beyond > 0 {
            return None;
        }
        let is_more = rows.len() > limit || list.beyond > 0;
        let rows = rows[..rows.len().min(limit)].to_vec();
        Some(Page { rows, is_more, list: Arc::clone(list) })
    }
}

impl Snapshots {
    /// A page of what is wanted.
    pub(crate) async fn page(
        self: &Arc<Self>,
        cache: &Arc<dyn Managed>,
        routes: &Arc<dyn KeyRoutes>,
        wanted: &Wanted,
        from: Option<&From>,
        limit: usize,
    ) -> Result<Page, Problem> {
        match (self.find(wanted, from, limit), from) {
            (Some((page, true)), _) => Ok(page),
            (Some((page, false)), _) => {
                // Somebody makes one just now.
                let Some(turn) = self.turn.if_free() else { return Ok(page) };
                let made = timeout(PATIENCE, self.make(cache, routes, wanted, from, turn)).await;
                let newer = made.is_ok().then(|| self.find(wanted, from, limit)).flatten();
                Ok(newer.map_or(page, |(page, _)| page))
            }
            (None, None) => self.first_page(cache, routes, wanted, limit).await,
            (None, Some(_)) => {
                let turn = self.turn.wait().await?;
                // Whoever made one before may have made this.
                if let Some((page, _)) = self.find(wanted, from, limit) {
                    return Ok(page);
                }
                let made = self.make(cache, routes, wanted, from, turn);
                timeout(LAST_PATIENCE, made).await.map_err(|_| busy())?.map_err(|_| busy())?;
                self.find(wanted, from, limit).map(|(page, _)| page).ok_or_else(busy)
            }
        }
    }

    /// The first list of what is wanted, which is waited for.
    pub(crate) async fn whole(
        self: &Arc<Self>,
        cache: &Arc<dyn Managed>,
        routes: &Arc<dyn KeyRoutes>,
        wanted: &Wanted,
    ) -> Result<Arc<Listed>, Problem> {
        let Page { list, .. } = self.page(cache, routes, wanted, None, 0).await?;
        if list.is_complete {
            return Ok(list);
        }
        let turn = self.turn.wait().await?;
        let known = self.find(wanted, None, 0).filter(|(page, _)| page.list.is_complete);
        if known.is_none() {
            let made = self.make(cache, routes, wanted, None, turn);
            timeout(LAST_PATIENCE, made).await.map_err(|_| busy())?.map_err(|_| busy())?;
        }
        self.find(wanted, None, 0).map(|(page, _)| page.list).ok_or_else(busy)
    }

    /// What a glance sees of a list that is not there.
    async fn first_page(
        self: &Arc<Self>,
        cache: &Arc<dyn Managed>,
        routes: &Arc<dyn KeyRoutes>,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<Page, Problem> {
        let turn = self.glances.wait().await?;
        if let Some((page, _)) = self.find(wanted, None, limit) {
            return Ok(page);
        }
        let list = self.glance(cache, routes, wanted, turn).await?;
        // The whole is made whether or not anybody comes for it.
        if !list.is_complete
            && let Some(turn) = self.turn.if_free()
        {
            drop(self.make(cache, routes, wanted, None, turn));
        }
        let is_more = list.beyond > 0 || list.rows.len() > limit;
        let rows = list.rows[..list.rows.len().min(limit)].to_vec();
        Ok(Page { rows, is_more, list })
    }

    /// The tags of a cache.
    pub(crate) async fn tags(
        self: &Arc<Self>,
        place: usize,
        cache: &Arc<dyn Managed>,
    ) -> Result<Arc<ListedTags>, Problem> {
        let known = self.find_tags(place);
        if let Some((tags, true)) = known {
            return Ok(tags);
        }
        let turn = match &known {
            None => self.turn.wait().await?,
            Some((tags, _)) => {
                let Some(turn) = self.turn.if_free() else { return Ok(Arc::clone(tags)) };
                turn
            }
        };
        if let Some((tags, true)) = self.find_tags(place) {
            return Ok(tags);
        }
        let (snapshots, cache) = (Arc::clone(self), Arc::clone(cache));
        let made = spawn_blocking(move || {
            let made = Instant::now();
            let told = Arc::new(cache.list_tags(TAGS));
            let dated = Dated { made, took: made.elapsed(), told: Arc::clone(&told) };
            let mut kept = snapshots.lock();
            kept.tags.retain(|(other, _)| *other != place);
            kept.tags.push((place, dated));
            drop(turn);
            told
        });
        let patience = if known.is_some() { PATIENCE } else { LAST_PATIENCE };
        match (timeout(patience, made).await, known) {
            (Ok(Ok(tags)), _) | (_, Some((tags, _))) => Ok(tags),
            (_, None) => Err(busy()),
        }
    }

    /// Runs `look`, which goes over everything, when nothing else here does.
    pub(crate) async fn alone<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.turn.wait().await?;
        let looked = spawn_blocking(move || {
            let looked = look();
            drop(turn);
            looked
        });
        looked.await.map_err(|_| busy())
    }

    /// The first rows as far as they are found at once: kept, until there are better ones.
    async fn glance(
        self: &Arc<Self>,
        cache: &Arc<dyn Managed>,
        routes: &Arc<dyn KeyRoutes>,
        wanted: &Wanted,
        turn: OwnedSemaphorePermit,
    ) -> Result<Arc<Listed>, Problem> {
        let (snapshots, cache) = (Arc::clone(self), Arc::clone(cache));
        let (routes, wanted) = (Arc::clone(routes), wanted.clone());
        let listed = spawn_blocking(move || {
            let made = Instant::now();
            let mut query = wanted.query(None);
            query.until = Some(made + PATIENCE);
            let told = Arc::new(cache.list(&query, &*routes, wanted.only()));
            let list = Dated { made, took: made.elapsed(), told: Arc::clone(&told) };
            snapshots.keep(Snapshot { wanted, from: None, list });
            drop(turn);
            told
        });
        listed.await.map_err(|_| busy())
    }

    /// Makes a list and keeps it, whether or not anybody waits for that.
    fn make(
        self: &Arc<Self>,
        cache: &Arc<dyn Managed>,
        routes: &Arc<dyn KeyRoutes>,
        wanted: &Wanted,
        from: Option<&From>,
        turn: OwnedSemaphorePermit,
    ) -> JoinHandle<()> {
        let (snapshots, cache) = (Arc::clone(self), Arc::clone(cache));
        let (routes, wanted, from) = (Arc::clone(routes), wanted.clone(), from.cloned());
        spawn_blocking(move || {
            let made = Instant::now();
            let told = cache.list(&wanted.query(from.as_ref()), &*routes, wanted.only());
            let list = Dated { made, took: made.elapsed(), told: Arc::new(told) };
            snapshots.keep(Snapshot { wanted, from, list });
            drop(turn);
        })
    }

    fn keep(&self, snapshot: Snapshot) {
        let mut kept = self.lock();
        let is_older =
            |other: &Snapshot| other.wanted == snapshot.wanted && other.from == snapshot.from;
        let mut gone: Vec<_> = kept.lists.extract_if(.., |other| is_older(other)).collect();
        kept.lists.push(snapshot);
        if kept.lists.len() > KEPT {
            gone.push(kept.lists.remove(0));
        }
        drop(kept);
        // Ten thousand keys are given back under no lock.
        drop(gone);
    }

    /// A page of what is kept, and whether that is young, and all of it.
    fn find(&self, wanted: &Wanted, from: Option<&From>, limit: usize) -> Option<(Page, bool)> {
        let now = Instant::now();
        let mut kept = self.lock();
        let pages = kept.lists.iter().enumerate().rev().filter(|(_, list)| list.wanted == *wanted);
        let mut pages = pages.filter_map(|(at, list)| Some((at, list.page(from, limit)?)));
        let (at, page) = pages.next()?;
        drop(pages);
        let used = kept.lists.remove(at);
        let is_young = used.list.is_young(now) && used.list.told.is_complete;
        kept.lists.push(used);
        Some((page, is_young))
    }

    fn find_tags(&self, place: usize) -> Option<(Arc<ListedTags>, bool)> {
        let kept = self.lock();
        let (_, tags) = kept.tags.iter().find(|(other, _)| *other == place)?;
        Some((Arc::clone(&tags.told), tags.is_young(Instant::now())))
    }

    /// Whole after each step, so whoever panicked with it has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn only(&self) -> Only<'_> {
        Only { contains: self.contains.as_deref(), route: self.route.as_deref() }
    }

    fn query(&self, from: Option<&From>) -> ListQuery {
        let mut query = ListQuery::new(self.order, ROWS);
        query.scopes.extend(self.prefix.clone().map(Scope::Prefix));
        query.scopes.extend(self.tag.clone().map(Scope::Tag));
        if let Some(From { place, is_inclusive }) = from {
            query.after = Some(place.clone());
            query.is_inclusive = *is_inclusive;
        }
        query
    }
}

fn busy() -> Problem {
    let detail = "others look at everything just now: ask again in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail)
}
