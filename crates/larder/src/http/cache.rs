//! Cache: what the cache before a service is made of. It knows its parts; in which order they are asked is
//! written in `service.rs` and the steps it takes.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, COOKIE},
};
use larder_policy::{
    class::Class,
    key::RequestKey,
    reason::Reason,
    reuse::{Variant, Verdict, decide},
    settings::Policy,
};

use super::{
    body::account::Account,
    compress::{CompressionStats, Compressor},
    error::NoAnswer,
    hit_for_miss::{HitForMiss, memory_of_unshared},
    landing::{Flights, Leader},
    no_vary_search::NoVarySearchTables,
    queries::Queries,
    records::{Apart, Beneath, MayWrite},
    request::Retrieval,
    settings::Settings,
    store::{AtHand, Store},
    tags::{group_tag, origin_of, query_tag},
    turns::Turns,
    variants::Variants,
};
use crate::{
    cache::Cache,
    engine::{Engine, purge::Named},
    stats::Counters,
    tier::{lower::MAX_SCOPES, memory::ClassHeld},
};

/// How many requests may wait for each turn that there is; and how many at least, however few turns there are.
const WAITING_PER_TURN: usize = 4;
const MIN_WAITING: usize = 1024;

/// A cache of HTTP responses, to be put before services. Clones share one cache.
///
/// It obeys RFC 9111 as a shared cache, with the settings of a [`Policy`]: its own, or that which a request
/// [brings along](super::Rules). Purge it by URI
/// ([`remove`](HttpCache::remove), [`purge_prefix`](HttpCache::purge_prefix)), or through the [`Cache`]
/// it was made of, whose tags are those of `Surrogate-Key`, `Cache-Tag` and `xkey` and whose keys are
/// normalised URIs. (The key of an answer to QUERY goes on after its URI, so a prefix finds it, and
/// an unsafe request to the URI does.)
#[derive(Clone)]
pub struct HttpCache(Arc<Parts>);

/// What a cache before a service is made of.
pub(crate) struct Parts {
    pub(crate) store: Store,
    /// The rules of requests that bring none.
    pub(crate) policy: Arc<Policy>,
    pub(crate) settings: Settings,
    pub(crate) flights: Arc<Flights>,
    /// The turns of fetches.
    pub(crate) turns: Arc<Turns>,
    /// The turns of requests that pass. `None`: they need none.
    pub(crate) passing_turns: Option<Arc<Turns>>,
    /// What bodies hold outside the store.
    pub(crate) account: Arc<Account>,
    /// Answers that were passed through because there was no room for them on their way.
    crowded_out: AtomicU64,
    pub(crate) queries: Queries,
    pub(crate) hit_for_miss: HitForMiss,
    pub(crate) no_vary_search: Option<NoVarySearchTables>,
    /// What makes coded forms of what is stored.
    pub(crate) compressor: Compressor,
    /// What lies below memory, if anything does.
    pub(crate) beneath: Option<Beneath>,
    /// By which rules what a URI is asked for is stored, where that was told. Held for moments.
    pub(crate) stored_by: Mutex<Option<RulesOfUris>>,
    credentials: RandomState,
}

/// By which rules answers for a URI may be stored.
pub(crate) type RulesOfUris = Arc<dyn Fn(&Uri) -> Vec<Arc<Policy>> + Send + Sync>;

impl HttpCache {
    /// Keeps responses in `cache`, as `policy` says. The lifetimes of the builder count for nothing
    /// here: the responses' own do. One for each [`Cache`] is best: two share their fetches, but not their turns, nor what they
    /// remember. For requests with other rules there are [`Rules`](super::Rules).
    pub fn new(cache: Cache<Variants>, policy: Policy) -> Self {
        HttpCache::with_settings(cache, policy, Settings::default())
    }

    /// As [`new`](HttpCache::new), with other settings.
    pub fn with_settings(cache: Cache<Variants>, policy: Policy, settings: Settings) -> Self {
        let turns =
            |max: usize| Turns::new(max, max.saturating_mul(WAITING_PER_TURN).max(MIN_WAITING));
        let engine = cache.engine();
        let clock = || engine.clock().clone();
        let beneath = engine.lower().map(|lower| Beneath::new(lower, cache.name()));
        let flights = engine.flights(beneath.is_some());
        engine.listen(&flights);
        HttpCache(Arc::new(Parts {
            turns: turns(engine.max_fetches()),
            passing_turns: settings.max_passing.map(turns),
            account: Account::new(
                Arc::clone(engine.bound()),
                settings.max_arriving_bytes,
                Arc::clone(&engine.counters().readers_cut),
            ),
            crowded_out: AtomicU64::new(0),
            queries: Queries::new(),
            hit_for_miss: HitForMiss::new(clock()),
            no_vary_search: settings.no_vary_search.then(|| NoVarySearchTables::new(clock())),
            compressor: Compressor::new(),
            beneath,
            stored_by: Mutex::default(),
            credentials: RandomState::new(),
            store: Store::new(cache.clone()),
            policy: Arc::new(policy),
            settings,
            flights,
        }))
    }

    /// Tells by which rules answers for a URI may be stored, where requests [bring theirs along](super::Rules): a purge of the URI
    /// reaches what is stored under the keys that these make of it. Otherwise the cache's own rules count. The last one who
    /// tells it does.
    pub fn stored_by(&self, rules: impl Fn(&Uri) -> Vec<Arc<Policy>> + Send + Sync + 'static) {
        let mut stored_by = self.0.stored_by.lock().unwrap_or_else(PoisonError::into_inner);
        *stored_by = Some(Arc::new(rules));
    }

    pub(crate) fn parts(&self) -> &Arc<Parts> {
        &self.0
    }

    /// The store: for purges, counters and events.
    pub fn cache(&self) -> &Cache<Variants> {
        self.0.store.cache()
    }

    /// The rules of requests that [bring none along](super::Rules).
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// What it may spend.
    pub fn settings(&self) -> Settings {
        self.0.settings
    }

    /// What bodies hold outside the store now, in bytes: those that arrive, those that were evicted and are still
    /// read, and what is on its way out.
    pub fn arriving_bytes(&self) -> usize {
        self.0.account.loose()
    }

    /// Changes the bound in bytes, as [`Cache::resize`], and with it what bodies may hold outside the store: readers who
    /// hold more of these than there is room for now, and do not go on, are cut off. Returns how many entries had to go.
    ///
    /// # Panics
    ///
    /// If the `Drop` of something that had to go does, once the bound holds.
    pub fn resize(&self, max_bytes: usize) -> usize {
        let evicted = self.cache().resize(max_bytes);
        self.0.account.relieve();
        evicted
    }

    /// What the responses hold that were stored by [rules of this class](Policy::accounted_for); of [`Class::NONE`], all
    /// others. What was stored stays of its class until it is replaced or goes, whatever the rules become. At a moment when
    /// nothing is stored or removed, what all classes hold comes to the [size](crate::Stats::bytes) of the cache.
    ///
    /// Each class takes 32 bytes, and a response that has one three more than one that has none.
    pub fn held_by(&self, class: Class) -> ClassHeld {
        self.0.engine().held_by(class)
    }

    /// Bounds what the responses of a class may weigh together, or no longer. From then on they never weigh more, and none of
    /// them may weigh more alone: beyond that responses of the class go, those first that nobody has asked for since they
    /// were last passed over. Others are not touched. [`Class::NONE`] has no bound.
    ///
    /// Those that are too many at once go before this returns, and their `Drop`s run here.
    pub fn bound_class(&self, class: Class, max_bytes: Option<usize>) {
        self.0.engine().bound_class(class, max_bytes.unwrap_or(usize::MAX));
    }

    /// How many answers were passed through, or stopped being kept, because bodies held all they may outside the
    /// store ([`Settings::max_arriving_bytes`]).
    pub fn crowded_out(&self) -> u64 {
        self.0.crowded_out.load(Ordering::Relaxed)
    }

    /// What has become of the coded forms of stored responses
    /// ([`Policy::compression`](larder_policy::settings::Policy::compression)).
    pub fn compression(&self) -> CompressionStats {
        self.0.compressor.stats()
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
        let Parts { turns, passing_turns, .. } = &*self.0;
        of(turns.in_use()) + passing_turns.as_ref().map_or(0, |turns| of(turns.in_use()))
    }
}

impl Parts {
    pub(crate) fn engine(&self) -> &Engine<Variants> {
        self.store.engine()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.engine().counters()
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.store.wall_clock().now()
    }

    /// The same where an answer has come in whose dates will be compared with it.
    pub(crate) fn received_now(&self) -> SystemTime {
        self.store.wall_clock().now_followed_up()
    }

    pub(crate) fn count_crowded_out(&self) {
        self.crowded_out.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest body that is stored.
    pub(crate) fn max_body_bytes(&self, policy: &Policy) -> u64 {
        let max =
            self.engine().max_entry_bytes_of(policy.class()).min(self.settings.max_body_bytes);
        let max = max.min(policy.body_limit().unwrap_or(usize::MAX));
        max.min(self.settings.max_arriving_bytes) as u64
    }

    /// How long the origin may take for the head of an answer.
    pub(crate) fn hard_timeout(&self, policy: &Policy) -> Option<Duration> {
        policy.patience().or(self.engine().hard_timeout)
    }

    /// How long a reader waits for it where something stale would do.
    pub(crate) fn soft_timeout(&self, policy: &Policy) -> Option<Duration> {
        policy.patience_with_stale().or(self.engine().soft_timeout)
    }

    /// What the rules make of a request and what is stored for it. That may answer a request in any spelling;
    /// but one in another than the key's brings nothing into the cache.
    pub(crate) fn decide(&self, asked: &Retrieval, at_hand: &AtHand) -> Verdict {
        let now = self.now();
        let verdict =
            at_hand.variants.judged(|stored| decide(&asked.policy, stored, asked.request(), now));
        for_its_spelling(asked, verdict)
    }

    /// The same where one more lies below: as the last of them.
    pub(crate) fn decide_beside(
        &self,
        asked: &Retrieval,
        at_hand: &AtHand,
        below: Variant<'_>,
    ) -> Verdict {
        let now = self.now();
        let verdict = at_hand
            .variants
            .judged_beside(below, |stored| decide(&asked.policy, stored, asked.request(), now));
        for_its_spelling(asked, verdict)
    }

    /// Removes what is stored for this URI, whatever the method. `own`: the flight whose answer is
    /// the cause, and is what the change has led to.
    pub(crate) fn invalidate(&self, uri: &RequestKey, own: Option<&Leader>) {
        let key = uri.as_str();
        let own = own.filter(|leader| **leader.key() == *key && !leader.is_revoked());
        let keys = [key];
        let named = match own {
            Some(leader) => Named::KeyBeside(key, leader.fetch().number()),
            None => Named::Keys(&keys),
        };
        let queries = query_tag(uri);
        let both = [named, Named::Tag(&queries)];
        // What other processes may have stored below nobody here knows of.
        let of_queries = self.queries.may_be_stored(uri) || self.beneath.is_some();
        let named = if of_queries { &both[..] } else { &both[..1] };
        // Answers to QUERY, and those whose URIs differ in their queries alone, are stored under keys that begin so.
        let within = key.split(['?', ' ']).next().unwrap_or(key);
        self.engine().invalidate(named, within);
    }

    /// Removes the members of these groups of one origin, below in a few purges.
    pub(crate) fn invalidate_groups(&self, uri: &Uri, groups: &[String]) {
        let tags: Vec<_> = groups.iter().map(|group| group_tag(uri, group)).collect();
        let origin = origin_of(uri);
        let within = if origin.is_empty() { origin } else { origin + "/" };
        for tags in tags.chunks(MAX_SCOPES) {
            let named: Vec<_> = tags.iter().map(|tag| Named::Tag(tag)).collect();
            self.engine().invalidate(&named, &within);
        }
    }

    /// What tells the credentials of one reader from those of another, and tells them to nobody.
    pub(crate) fn credentials(&self, headers: &HeaderMap) -> String {
        let mut hasher = self.credentials.build_hasher();
        for name in [AUTHORIZATION, COOKIE] {
            for line in headers.get_all(&name) {
                line.as_bytes().hash(&mut hasher);
            }
            0xff_u8.hash(&mut hasher);
        }
        format!("{:x}", hasher.finish())
    }

    /// Remembers that answers of this name are for one reader each, if the reason lies in the answer. For how long,
    /// where that is news: other processes are to be told.
    pub(crate) fn remember_apart(
        &self,
        policy: &Policy,
        name: &str,
        reason: Reason,
        leader: &Leader,
    ) -> Option<Duration> {
        let memory = memory_of_unshared(policy, reason)?;
        let is_revoked = || leader.is_revoked();
        let is_news = self.hit_for_miss.remember_apart(name, memory, leader.fence(), is_revoked);
        (is_news && !memory.is_zero()).then_some(memory)
    }

    /// Tells other processes that answers of this name are for one reader each, for so long.
    pub(crate) fn publish_apart(
        &self,
        policy: &Policy,
        name: &str,
        memory: Duration,
        leader: &Leader,
        may_write: MayWrite,
    ) {
        let Some(beneath) = &self.beneath else { return };
        let (key, now) = (leader.key(), self.engine().now());
        let is_personal = *name != **key;
        beneath.write_apart(may_write, Apart { key, policy, is_personal, memory, now });
    }

    /// Why a fetch, or a request passed on, ended without a word.
    pub(crate) fn given_up(&self) -> NoAnswer {
        match self.engine().tasks().is_closed() {
            true => NoAnswer::ShutDown,
            false => NoAnswer::Unusable("it was given up"),
        }
    }

    /// One more key than may be fetched at once.
    pub(crate) fn too_many(&self) -> NoAnswer {
        self.counters().turns_refused.increment();
        NoAnswer::TooManyFetches
    }
}

fn for_its_spelling(asked: &Retrieval, verdict: Verdict) -> Verdict {
    if asked.is_spelt_as_its_key() { verdict } else { verdict.for_its_reader() }
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("cache", self.cache()).finish_non_exhaustive()
    }
}
