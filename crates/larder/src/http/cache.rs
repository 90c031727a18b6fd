//! What the cache before a service is made of: the store, the rules, and what they share.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{AGE, AUTHORIZATION, COOKIE},
};
use larder_policy::{
    freshness::Lifetime,
    head::{Exchange, RequestHead, ResponseHead},
    key::RequestKey,
    part::{Piece, combine},
    reason::Reason,
    response::{hit_for_miss, storability},
    settings::Policy,
    uri::origin,
};

use super::{
    body::{Room, Span, StoredBody},
    fill::Leader,
    layer::CacheLayer,
    no_vary_search::NoVarySearchTables,
    service::{AtHand, CacheService},
    settings::Settings,
    stored::{Content, Kept, Stored, Variants},
    turns::Turns,
    wall_clock::WallClock,
};
use crate::{
    answer::Storage,
    cache::{
        Cache, Shared,
        look::{Lookup, Shape},
        store::Dated,
    },
    engine::judge::Judge,
    entry::{Entry, Facts, Fetched},
    stats::Counters,
    tier::memory::{Limits, MemoryTier},
};

/// What is remembered of which keys' answers can be shared weighs this at most.
const SHARING_BYTES: usize = 1 << 20;
/// How long it is remembered that answers to personal requests for a key are for all. Where that has
/// ceased to be so, it costs one wait, once.
const TOGETHER: Duration = Duration::from_secs(3600);
/// For so long after answers were not shared, the preconditions of their readers still go to the origin.
const HIT_FOR_MISS_WINDOW: Duration = Duration::from_secs(3600);
/// How many requests may wait for each turn that there is; and how many at least, however few turns there are.
const WAITING_PER_TURN: usize = 4;
const MIN_WAITING: usize = 1024;
/// At most this many keys may be merged at once.
const MERGES: usize = 64;
/// Bits that tell of which URIs answers to QUERY may be stored.
const QUERIED_BITS: usize = 1 << 16;

/// A cache of HTTP responses, to be put before services. Clones share one cache.
///
/// It obeys RFC 9111 as a shared cache, with the settings of a [`Policy`]. Purge it by URI
/// ([`remove`](HttpCache::remove), [`purge_prefix`](HttpCache::purge_prefix)), or through the [`Cache`]
/// it was made of, whose tags are those of `Surrogate-Key`, `Cache-Tag` and `xkey` and whose keys are
/// normalised URIs. (The key of an answer to QUERY goes on after its URI, so a prefix finds it, and
/// an unsafe request to the URI does.)
#[derive(Clone)]
pub struct HttpCache(Arc<Parts>);

struct Parts {
    cache: Cache<Variants>,
    policy: Policy,
    settings: Settings,
    wall_clock: WallClock,
    room: Arc<Room>,
    /// Answers that were passed through because there was no room for them on their way.
    crowded_out: AtomicU64,
    /// A set bit: answers to QUERY for a URI with this hash may be stored. No bit is ever cleared; one
    /// that is set for nothing costs a purge of a tag that nothing carries.
    queried: Box<[AtomicU64]>,
    no_vary_search_tables: Option<NoVarySearchTables>,
    /// What answers turned out to be, by key.
    sharing: MemoryTier<Sharing>,
    turns: Arc<Turns>,
    passing_turns: Option<Arc<Turns>>,
    /// Held while a key's variants are read and written again, so that none is lost. Picked by hash.
    merges: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// Whether readers of a key do well to wait for each other's answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// They were for one reader each, or not to be reused without asking: each goes alone.
    Apart,
    /// They are for all, although the requests looked personal.
    Together,
}

impl HttpCache {
    /// Keeps responses in `cache`, as `policy` says. The lifetimes of the builder count for nothing
    /// here: the responses' own do.
    pub fn new(cache: Cache<Variants>, policy: Policy) -> Self {
        HttpCache::with_settings(cache, policy, Settings::default())
    }

    /// As [`new`](HttpCache::new), with other settings.
    pub fn with_settings(cache: Cache<Variants>, policy: Policy, settings: Settings) -> Self {
        let turns =
            |max: usize| Turns::new(max, max.saturating_mul(WAITING_PER_TURN).max(MIN_WAITING));
        HttpCache(Arc::new(Parts {
            turns: turns(cache.shared().max_fetches),
            passing_turns: settings.max_passing.map(turns),
            wall_clock: WallClock::new(cache.shared().clock.clone()),
            cache,
            policy,
            room: Room::new(settings.max_arriving_bytes),
            crowded_out: AtomicU64::new(0),
            queried: (0..QUERIED_BITS / 64).map(|_| AtomicU64::new(0)).collect(),
            no_vary_search_tables: settings.no_vary_search.then(NoVarySearchTables::new),
            settings,
            sharing: MemoryTier::new(Limits::bytes(SHARING_BYTES)),
            merges: (0..MERGES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
        }))
    }

    /// Before one service.
    pub fn service<S>(&self, origin: S) -> CacheService<S> {
        CacheService::new(self.clone(), origin)
    }

    /// Before an application's own handlers, as tower and axum put layers.
    pub fn layer(&self) -> CacheLayer {
        CacheLayer::new(self.clone())
    }

    /// The store: for purges, counters and events.
    pub fn cache(&self) -> &Cache<Variants> {
        &self.0.cache
    }

    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// What it may spend.
    pub fn settings(&self) -> Settings {
        self.0.settings
    }

    /// What bodies on their way into the cache hold now, in bytes.
    pub fn arriving_bytes(&self) -> usize {
        self.0.room.held()
    }

    /// How many answers were passed through, or stopped being kept, because bodies on their way held
    /// all they may ([`Settings::max_arriving_bytes`]).
    pub fn crowded_out(&self) -> u64 {
        self.0.crowded_out.load(Ordering::Relaxed)
    }

    /// How many requests wait for the head of their answer, or bring a body into the cache; each has a
    /// turn. Those that pass are counted where they take turns
    /// ([`max_passing`](Settings::max_passing)).
    pub fn turns_taken(&self) -> usize {
        self.in_turns(|(taken, _)| taken)
    }

    /// How many requests wait for a turn.
    pub fn waiting_for_turns(&self) -> usize {
        self.in_turns(|(_, waiting)| waiting)
    }

    /// Whether requests wait for a turn: whoever may have left had better not keep one.
    pub fn is_crowded(&self) -> bool {
        self.waiting_for_turns() > 0
    }

    fn in_turns(&self, of: impl Fn((usize, usize)) -> usize) -> usize {
        let passing = self.passing_turns().map_or(0, |turns| of(turns.in_use()));
        of(self.turns().in_use()) + passing
    }

    /// The turns of fetches.
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.0.turns
    }

    /// The turns of requests that pass. `None`: they need none.
    pub(crate) fn passing_turns(&self) -> Option<&Arc<Turns>> {
        self.0.passing_turns.as_ref()
    }

    /// The cache, if there is still somebody else who has it.
    pub(crate) fn downgrade(&self) -> impl FnOnce() -> Option<HttpCache> + Send + 'static {
        let parts = Arc::downgrade(&self.0);
        move || parts.upgrade().map(HttpCache)
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.0.room
    }

    pub(crate) fn count_crowded_out(&self) {
        self.0.crowded_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn no_vary_search_tables(&self) -> Option<&NoVarySearchTables> {
        self.0.no_vary_search_tables.as_ref()
    }

    /// An answer to QUERY may be stored for this URI from now on. Said before the origin is asked, so
    /// whoever invalidates the URI either sees it, or does so before the origin answers.
    pub(crate) fn note_query(&self, uri: &RequestKey) {
        let (word, bit) = self.queried_bit(uri.as_str());
        word.fetch_or(bit, Ordering::SeqCst);
    }

    /// Removes what is stored for this URI, whatever the method. `own`: the flight whose answer is
    /// the cause, and is what the change has led to.
    pub(crate) fn invalidate(&self, uri: &RequestKey, own: Option<&Leader>) {
        match own.filter(|leader| **leader.key() == *uri.as_str() && !leader.is_revoked()) {
            Some(leader) => {
                self.shared().purge_beside(leader);
            }
            None => {
                self.cache().remove(uri.as_str());
            }
        }
        let (word, bit) = self.queried_bit(uri.as_str());
        if word.load(Ordering::SeqCst) & bit != 0 {
            self.cache().purge_tag(&query_tag(uri));
        }
    }

    fn queried_bit(&self, uri: &str) -> (&AtomicU64, u64) {
        let place = self.0.hasher.hash_one(uri) as usize % QUERIED_BITS;
        (&self.0.queried[place / 64], 1 << (place % 64))
    }

    /// What tells the credentials of one reader from those of another, and tells them to nobody.
    pub(crate) fn credentials(&self, headers: &HeaderMap) -> String {
        let mut hasher = self.0.hasher.build_hasher();
        for name in [AUTHORIZATION, COOKIE] {
            for line in headers.get_all(&name) {
                line.as_bytes().hash(&mut hasher);
            }
            0xff_u8.hash(&mut hasher);
        }
        format!("{:x}", hasher.finish())
    }

    pub(crate) fn wall_clock(&self) -> &WallClock {
        &self.0.wall_clock
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<Variants>> {
        self.0.cache.shared()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    /// What is stored under `key`, purges considered.
    pub(crate) fn look(&self, key: &str) -> AtHand {
        let shared = self.shared();
        match shared.look(key) {
            Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } => {
                AtHand { variants: answer.value, cost: answer.cost }
            }
            // An entry lives as long as any of its variants is of use, so only a purge makes it stale.
            Lookup::Usable { answer, shape: Shape::Stale } | Lookup::LastResort(answer) => {
                let Storage::StaleFor(ago) = answer.storage else { return AtHand::default() };
                let at = self.wall_clock().now().checked_sub(ago);
                let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
                AtHand { variants: answer.value.marked_stale(at), cost: answer.cost }
            }
            Lookup::Miss(_) => AtHand::default(),
        }
    }

    /// Whether answers of this name ([`HttpCache::sharing_name`]) were of late for one reader each.
    pub(crate) fn is_hit_for_miss(&self, name: &str) -> bool {
        self.sharing(name).is_some_and(|(sharing, _)| sharing == Sharing::Apart)
    }

    /// The same of the last hour: too long ago to let all readers ask one by one, but of those who have a
    /// copy the origin most likely only has to say that it is current.
    pub(crate) fn was_hit_for_miss(&self, name: &str) -> bool {
        let now = self.shared().clock.now();
        let is_young =
            |entry: &Entry<Sharing>| entry.value == Sharing::Apart && now < entry.expires();
        self.0.sharing.read(name, is_young).unwrap_or(false)
    }

    /// Whether answers of this name were for all, although the requests looked personal.
    pub(crate) fn is_shared_though_personal(&self, name: &str) -> bool {
        self.sharing(name).is_some_and(|(sharing, _)| sharing == Sharing::Together)
    }

    /// What is remembered, and whether that was said or confirmed of late.
    fn sharing(&self, name: &str) -> Option<(Sharing, bool)> {
        let now = self.shared().clock.now();
        let remembered = |entry: &Entry<Sharing>| {
            entry.is_fresh(now).then(|| (entry.value, !entry.has_lived(0.5, now)))
        };
        self.0.sharing.read(name, remembered)?
    }

    /// Remembers it for a while, if the reason lies in the answer. Each such answer says it anew: readers
    /// who come again and again do not wait for each other in between.
    pub(crate) fn remember_hit_for_miss(&self, name: &Arc<str>, reason: Reason, leader: &Leader) {
        if let Some(memory) = hit_for_miss(self.policy(), reason) {
            let memory = Lifetime::fresh_for(memory).stale_if_error(HIT_FOR_MISS_WINDOW);
            self.remember_sharing(name, Sharing::Apart, memory, leader);
        }
    }

    pub(crate) fn remember_shared_though_personal(&self, name: &Arc<str>, leader: &Leader) {
        self.remember_sharing(name, Sharing::Together, Lifetime::fresh_for(TOGETHER), leader);
    }

    fn remember_sharing(
        &self,
        name: &Arc<str>,
        sharing: Sharing,
        lifetime: Lifetime,
        leader: &Leader,
    ) {
        if self.sharing(name) == Some((sharing, true)) {
            return;
        }
        let facts = Facts {
            lifetime,
            fetched: self.shared().clock.now(),
            cost: Duration::ZERO,
            tags: Box::default(),
            fence: leader.fence(),
        };
        let entry = Entry::new(sharing, facts);
        let judge = Judge::of_untagged(self.shared().clock.now());
        self.0.sharing.put(name, entry, 0, &judge, || leader.is_revoked());
    }

    pub(crate) fn forget_hit_for_miss(&self, name: &str) {
        if self.was_hit_for_miss(name) {
            // It is nothing whose dropping could panic.
            self.0.sharing.remove(name, &self.shared().judge_now()).1.pass_over();
        }
    }

    /// Stores `fresh` among the variants of its key, in the place of those it stands for; `updates`
    /// are the ones it was made of. Where those are gone, and something else has come in their place,
    /// or where that was asked for later, it is older news and not stored.
    pub(crate) fn keep(
        &self,
        request: RequestHead<'_>,
        fresh: Arc<Stored>,
        updates: &[Arc<Stored>],
        cost: Duration,
        leader: &Leader,
    ) -> Storage {
        let _turn = self.turn(leader.key());
        let stored = self.look(leader.key()).variants;
        let is_update = |kept: &Kept| updates.iter().any(|old| Arc::ptr_eq(old, &kept.stored));
        let is_in_the_way = |kept: &Kept| {
            let asked_later = kept.stored.asked_at > fresh.asked_at;
            let replaced = !updates.is_empty() && !stored.iter().any(is_update);
            (asked_later || replaced)
                && kept.stored.is_whole()
                && !is_update(kept)
                && kept.stored.head.selects(request.headers)
        };
        if stored.iter().any(is_in_the_way) {
            return Storage::Not(Reason::NotStorable);
        }
        let mut kept = self.merged(request, stored, fresh, updates);
        let mut dated = self.dated(request, &kept, cost, leader);
        // Where all of them are too much for one entry, the new one is worth more than the old.
        while kept.len() > 1 && !self.shared().fits(leader.key(), &dated) {
            kept.remove(0);
            dated = self.dated(request, &kept, cost, leader);
        }
        self.shared().store(leader.key(), &dated, || leader.is_revoked())
    }

    /// What lies under a key, as it is to be stored.
    fn dated(
        &self,
        request: RequestHead<'_>,
        kept: &[Kept],
        cost: Duration,
        leader: &Leader,
    ) -> Dated<Variants> {
        let keep_for = kept.iter().map(|kept| kept.stored.head.keep_for(self.policy())).max();
        // After a soft purge its variants are of use for as long again, each by its own windows.
        let keep_for = keep_for.unwrap_or_default();
        let lifetime = Lifetime::fresh_for(keep_for).stale_if_error(keep_for);
        let tags = tags_of(kept, request);
        let fetched = Fetched::new(Variants::of(kept.to_vec())).lifetime(lifetime).tags(tags);
        self.shared().dated(leader.key(), fetched, cost, leader.fence())
    }

    /// Takes what is stored under a key and is no longer true out of it.
    /// The flight that has found out may still store what it has brought.
    pub(crate) fn drop_variants(&self, leader: &Leader, gone: &[Arc<Stored>]) {
        let _turn = self.turn(leader.key());
        let stored = self.look(leader.key()).variants;
        if stored.iter().any(|kept| gone.iter().any(|gone| Arc::ptr_eq(&kept.stored, gone))) {
            // The others are fetched again: that is cheaper than being wrong.
            leader.revoke_others();
            let shared = self.shared();
            shared.memory.remove(leader.key(), &shared.judge_now()).1.pass_over();
        }
    }

    /// The variants of a key from now on: the fresh one last, before it those that stay, the oldest
    /// first.
    fn merged(
        &self,
        request: RequestHead<'_>,
        stored: Variants,
        mut fresh: Arc<Stored>,
        updates: &[Arc<Stored>],
    ) -> Vec<Kept> {
        let mut kept: Vec<Kept> = Vec::with_capacity(stored.len() + 1);
        for old in stored.iter() {
            if updates.iter().any(|update| Arc::ptr_eq(update, &old.stored)) {
                continue;
            }
            if !old.stored.head.selects(request.headers) {
                kept.push(old.clone());
                continue;
            }
            if let Some(joined) = self.joined(request, &old.stored, &fresh) {
                fresh = joined;
            } else if old.stored.is_whole() && !fresh.is_whole() {
                kept.push(old.clone());
            }
        }
        kept.sort_by_key(|kept| kept.stored.head.received_at());
        kept.push(Kept::from(fresh));
        let max = self.policy().variant_limit().max(1);
        kept.drain(..kept.len().saturating_sub(max));
        kept
    }

    /// Two parts as one (RFC 9111 §3.4), if they fit.
    pub(crate) fn joined(
        &self,
        request: RequestHead<'_>,
        old: &Stored,
        new: &Stored,
    ) -> Option<Arc<Stored>> {
        let (Content::Here(old_body), Content::Here(new_body)) = (&old.content, &new.content)
        else {
            return None;
        };
        let parts = (old.part()?, new.part()?);
        let joined = combine((old.head.fields(), &parts.0), (new.head.fields(), &parts.1))?;
        let mut slices = Vec::new();
        for piece in &joined.pieces {
            let (body, range) = match piece {
                Piece::Stored(range) => (old_body, range),
                Piece::Newer(range) => (new_body, range),
            };
            let span = Span { start: range.start, len: Some(range.end - range.start) };
            slices.extend(body.slices(span));
        }
        let received_at = new.head.received_at();
        let exchange = Exchange { requested_at: received_at, received_at };
        // It is as old as its newer part was when that came; what is stored does not say so itself.
        let mut headers = joined.headers;
        let age = new.head.age(received_at).as_secs();
        headers.insert(AGE, HeaderValue::from(age));
        let response = ResponseHead { status: joined.status, headers: (&headers).into() };
        let head = storability(self.policy(), request, response, exchange).ok()?;
        let content = Content::Here(StoredBody::of_slices(slices));
        Some(Arc::new(Stored { head, content, asked_at: new.asked_at }))
    }

    fn turn(&self, key: &str) -> MutexGuard<'_, ()> {
        let place = self.0.hasher.hash_one(key) as usize % MERGES;
        // It protects an order, nothing that could be left half-way.
        self.0.merges[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tags by which a purge finds a key: those of all its variants, and their groups.
pub(crate) fn tags_of(kept: &[Kept], request: RequestHead<'_>) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for Kept { stored, .. } in kept {
        let groups = stored.head.groups().iter().map(|group| group_tag(request.uri, group));
        tags.extend(stored.head.tags().iter().map(ToString::to_string).chain(groups));
    }
    if request.method.as_str() == "QUERY" {
        tags.extend(RequestKey::of_uri(request.uri).map(|uri| query_tag(&uri)));
    }
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The tag of every answer to QUERY that is stored for a URI, whatever its content.
fn query_tag(uri: &RequestKey) -> String {
    format!("query {}", uri.as_str())
}

/// The tag under which the members of a cache group of this origin are purged (RFC 9875 §2.1).
pub(crate) fn group_tag(uri: &Uri, group: &str) -> String {
    // Written as in the keys: one origin, however its host and port are spelt.
    format!("group {} {group}", origin(uri).unwrap_or_default())
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("cache", &self.0.cache).finish_non_exhaustive()
    }
}
