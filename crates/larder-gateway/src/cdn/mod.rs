//! CDN: caches outside that others run. They are one more follower of the purge log, told what has gone by their own API.
//!
//! A purge goes from the inside out: memory, the shared tier, the CDNs. An outer tier that were told first would take the old
//! copy from an inner one, and keep it.
//!
//! ```text
//! purge ─▶ memory ─▶ shared tier ──────────── holds everywhere, or 5 s are over ─┐
//!            │                                                                   ▼
//!            └─▶ trail, journal (on disk), a queue for each CDN ─────────▶ handed out ─▶ calls ─▶ clear ─▶ calls ─▶ confirmed
//! ```
//!
//! The steps are in `purged` (a purge comes in), `gate` (the tiers inside, and answers that are older), `worker` (the calls to
//! one CDN) → `queue` (◇ what is to be asked when), `rate` (◇), `client`. ◇ is pure. What has not been confirmed by every CDN
//! is in a file that outlives the process, and is purged again by the next one, from the inside out; so is, for vendors that
//! know calls by their names, each call whose end is not known (`repeat` ◇).

mod client;
pub mod driver;
pub mod drivers;
mod fleet;
mod gate;
mod hidden;
mod kept;
pub mod outgoing;
mod probe;
mod progress;
mod queue;
mod rate;
mod repeat;
mod wishes;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use larder::{
    MadePurge, Mode, Purge, PurgeFollower, Scope,
    http::HttpCache,
    journal::{Found, Journal, OutboxError},
    redis::worklist::Worklist,
};
use larder_admin::trail::{CdnName, CdnStage, CdnState, Keeper, Trail};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout},
};

use self::{
    client::Client,
    driver::{Account, Bounds, Driver, What, Wish},
    fleet::{FIRST_OF_LIST, Fleet},
    kept::Kept,
    queue::{Change, Queue, State},
    rate::Rate,
    repeat::Name,
};
pub use self::{fleet::FleetStats, probe::Probed, wishes::Public};
use crate::{downstream::UnderWay, upstream::OriginTls};

/// So many purges are kept for CDNs that do not take them; one more, and those of the CDN that has most become one of
/// everything.
pub const MOST_PURGES: usize = 100_000;
/// The same in bytes of what they name.
pub const MOST_BYTES: usize = 16 << 20;
/// A mask has room for so many.
pub const MOST_CDNS: usize = 32;
/// Of what was purged while there was no file.
const UNWRITTEN: u64 = 0;
/// Whoever waits for a disk that hangs waits no longer.
const DISK: Duration = Duration::from_secs(1);

/// One CDN, as it is to be used.
#[derive(Clone, Debug)]
pub struct CdnConfig {
    /// By its settings.
    pub name: Arc<str>,
    /// Who is asked, and how.
    pub driver: Arc<dyn Driver>,
    /// Under which URLs it has what is stored here.
    pub public: Public,
    /// How much it takes.
    pub bounds: Bounds,
    /// How long a call may take.
    pub timeout: Duration,
    /// For calls to `https` addresses.
    pub tls: Option<OriginTls>,
}

impl CdnConfig {
    /// What it is to be asked for, so that all goes that these scopes name; and why it cannot be, of what it cannot.
    fn wishes(&self, scopes: &[Scope], mode: Mode) -> Vec<Result<Wish, String>> {
        wishes::asked(scopes, mode, &self.public, &*self.driver)
    }

    /// Whether it takes these credentials and knows these names, by calls that change nothing, each within its
    /// [`timeout`](CdnConfig::timeout).
    pub async fn probe(&self) -> Probed {
        probe::probe(&*self.driver, self.tls.clone(), self.timeout).await
    }
}

/// What all CDNs have in common. Every field has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// A file for what CDNs have still to be told. Default none: it is in memory, and lost with the process.
    pub file: Option<PathBuf>,
    /// How long answers that began before a purge are waited for before it is asked for the last time. Default 30 s.
    pub old_answers: Duration,
    /// How long after the end of such an answer the last of it may still be on its way. Default 1 s.
    pub settle: Duration,
    /// After so long a purge that still fails has failed. Default a day.
    pub give_up: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        OutboxConfig {
            file: None,
            old_answers: Duration::from_secs(30),
            settle: Duration::from_secs(1),
            give_up: Duration::from_secs(86_400),
        }
    }
}

/// A file that is open, and what an earlier process has left in it.
pub struct OutboxFile {
    journal: Journal,
    found: Found,
}

impl OutboxFile {
    /// Opens it, or makes it.
    ///
    /// # Errors
    ///
    /// It is in use, is something else, or cannot be read or written.
    pub fn open(path: &std::path::Path) -> Result<OutboxFile, OutboxError> {
        let (journal, found) = Journal::open(path)?;
        Ok(OutboxFile { journal, found })
    }

    /// Whether a part of it could not be read, so that it stands for everything.
    pub fn is_damaged(&self) -> bool {
        self.found.is_damaged
    }

    /// How many purges an earlier process has left.
    pub fn left(&self) -> usize {
        let entries = self.found.entries.iter();
        entries.filter(|(_, bytes)| !repeat::Kept::is_one(bytes)).count()
    }
}

/// The CDNs before a cache. Clones share them. Dropping the last ends the work, and what is left stays in the file.
#[derive(Clone)]
pub struct Cdns(
    Arc<Inside>,
    #[expect(dead_code, reason = "its drop ends the tasks")] Arc<JoinSet<()>>,
);

/// What all tasks share.
struct Inside {
    trail: Trail,
    cdns: Vec<Cdn>,
    config: OutboxConfig,
    under_way: UnderWay,
    /// Other processes answer from the same tier, and nobody here knows which answers they have under way.
    has_others: bool,
    /// Where several gateways tell the CDNs together.
    fleet: Option<Arc<Fleet>>,
    outbox: Mutex<Outbox>,
    /// Something was purged.
    news: Notify,
    old_answers_overrun: AtomicU64,
    handed_out_early: AtomicU64,
    overflows: AtomicU64,
}

/// What is not done at every CDN.
#[derive(Default)]
struct Outbox {
    open: BTreeMap<u64, Open>,
    bytes: usize,
    /// To be handed out, and since when.
    fresh: Vec<(u64, Instant)>,
    journal: Option<Journal>,
    /// The number of the last entry, …
    last: u64,
    /// … and of the last before the file was given up.
    given_up: u64,
}

struct Open {
    /// At which CDNs, a bit for each.
    at: u32,
    /// It stands for all from this one on.
    from: u64,
    /// Its number in the file.
    entry: u64,
    bytes: usize,
    /// What stands there, where it is to be put on a list as well.
    kept: Arc<[u8]>,
    /// Of what stands there.
    name: Name,
}

/// One of them.
struct Cdn {
    config: CdnConfig,
    client: Client,
    /// Of its account, which other CDNs may have as well. Held for moments.
    rate: Arc<Mutex<Rate>>,
    /// Held for moments.
    queue: Mutex<Queue>,
    news: Notify,
    counts: Counts,
}

/// What became of calls and purges.
#[derive(Debug, Default)]
struct Counts {
    calls: [AtomicU64; CallEnd::NAMES.len()],
    rests: AtomicU64,
    confirmed: AtomicU64,
    failed: AtomicU64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallEnd {
    Done,
    Working,
    Partly,
    Later,
    Refused,
    NoAnswer,
}

impl CallEnd {
    const NAMES: [&'static str; 6] = ["done", "working", "partly", "later", "refused", "no_answer"];
}

/// What is known of one CDN, for monitoring.
#[derive(Clone, Debug, PartialEq)]
pub struct CdnStats {
    /// By its settings.
    pub name: Arc<str>,
    /// Whose it is.
    pub vendor: &'static str,
    /// Calls by how they ended.
    pub calls: Vec<(&'static str, u64)>,
    /// How often its vendor had no calls left, and none were made until it had.
    pub rests: u64,
    /// Purges that were confirmed, …
    pub confirmed: u64,
    /// … that have failed for good, …
    pub failed: u64,
    /// … and that are not over.
    pub waiting: usize,
    /// For how long the oldest of those has been waiting.
    pub oldest: Duration,
}

/// What is known of all, for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Answers that were older than a purge went on for longer than they are waited for.
    pub old_answers_overrun: u64,
    /// Purges that were handed out before the shared tier had them.
    pub handed_out_early: u64,
    /// Too many purges waited for a CDN, and became one of everything.
    pub overflows: u64,
    /// The bytes of what waits.
    pub bytes: usize,
    /// How often the file could not be written.
    pub file_failures: u64,
}

impl fmt::Debug for Cdns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.cdns.iter().map(|cdn| &cdn.config.name).collect();
        f.debug_tuple("Cdns").field(&names).finish()
    }
}

impl Cdns {
    /// Begins to tell `cdns` what `cache` purges, on this runtime. What `file` has left is purged again. `under_way`: which
    /// answers are. `has_shared`: whether there is a tier below memory, and others who answer from it; `list`: where they tell
    /// the CDNs together.
    ///
    /// # Panics
    ///
    /// If there are more than [`MOST_CDNS`], or no runtime.
    pub fn start(
        cache: &HttpCache,
        cdns: Vec<CdnConfig>,
        config: OutboxConfig,
        file: Option<OutboxFile>,
        under_way: UnderWay,
        has_shared: bool,
        list: Option<Worklist>,
    ) -> Cdns {
        assert!(cdns.len() <= MOST_CDNS, "at most {MOST_CDNS} CDNs");
        let name =
            |cdn: &CdnConfig| CdnName { name: Arc::clone(&cdn.name), vendor: cdn.driver.vendor() };
        let trail = Trail::new(has_shared, cdns.iter().map(name).collect());
        let (journal, left) = match file {
            Some(OutboxFile { journal, found }) => (Some(journal), found),
            None => (None, Found { entries: Vec::new(), last: 0, is_damaged: false }),
        };
        let list = list.filter(|_| !cdns.is_empty());
        let fleet = list.map(|list| Arc::new(Fleet::new(list, cdns.len())));
        let inside = Arc::new(Inside {
            trail,
            fleet: fleet.clone(),
            cdns: with_rates(cdns),
            config,
            under_way,
            has_others: has_shared,
            outbox: Mutex::new(Outbox { journal, last: left.last, ..Outbox::default() }),
            news: Notify::new(),
            old_answers_overrun: AtomicU64::new(0),
            handed_out_early: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
        });
        inside.trail.kept_by(Arc::clone(&inside) as Arc<dyn Keeper>);
        cache.cache().follow_purges(Arc::clone(&inside) as Arc<dyn PurgeFollower>);
        let mut tasks = JoinSet::new();
        tasks.spawn(gate::keep(Arc::clone(&inside), cache.clone()));
        for place in 0..inside.cdns.len() {
            tasks.spawn(worker::work(Arc::clone(&inside), place));
        }
        if let Some(fleet) = fleet {
            tasks.spawn(fleet::keep(Arc::clone(&inside), fleet));
        }
        tasks.spawn(again(Arc::clone(&inside), cache.clone(), left.entries, left.is_damaged));
        Cdns(inside, Arc::new(tasks))
    }

    /// What is remembered of purges.
    pub fn trail(&self) -> Trail {
        self.0.trail.clone()
    }

    /// What is known of each.
    pub fn stats(&self) -> Vec<CdnStats> {
        let now = Instant::now();
        let stats = self.0.cdns.iter().map(|cdn| {
            let queue = cdn.queue();
            let oldest = queue.oldest().map(|oldest| now.saturating_duration_since(oldest));
            let calls = CallEnd::NAMES.iter().zip(&cdn.counts.calls);
            CdnStats {
                name: Arc::clone(&cdn.config.name),
                vendor: cdn.config.driver.vendor(),
                calls: calls.map(|(name, count)| (*name, count.load(Relaxed))).collect(),
                rests: cdn.counts.rests.load(Relaxed),
                confirmed: cdn.counts.confirmed.load(Relaxed),
                failed: cdn.counts.failed.load(Relaxed),
                waiting: queue.len(),
                oldest: oldest.unwrap_or_default(),
            }
        });
        stats.collect()
    }

    /// What is known of all.
    pub fn outbox(&self) -> OutboxStats {
        let outbox = self.0.outbox();
        let written = outbox.journal.as_ref().map(Journal::written);
        OutboxStats {
            old_answers_overrun: self.0.old_answers_overrun.load(Relaxed),
            handed_out_early: self.0.handed_out_early.load(Relaxed),
            overflows: self.0.overflows.load(Relaxed),
            bytes: outbox.bytes,
            file_failures: written.map_or(0, |written| written.borrow().failures),
        }
    }

    /// What is known of the fleet, where there is one.
    pub fn fleet(&self) -> Option<FleetStats> {
        self.0.fleet.as_ref().map(|fleet| fleet.stats())
    }

    /// Writes the last of what there is to say into the file, and closes it: what is done is not left to the next process.
    /// What is purged from now on is in memory. Waits half a second at most, for the disk.
    pub fn close(&self) {
        let journal = {
            let mut outbox = self.0.outbox();
            let journal = outbox.journal.take();
            if journal.is_some() {
                outbox.given_up = outbox.last;
            }
            journal
        };
        drop(journal);
    }

    /// Writes on into the file that [`close`](Cdns::close) gave up, and another process may have had since. What was purged
    /// here meanwhile stays in memory alone; what that process has left is purged here.
    pub async fn resume(&self, OutboxFile { journal, found }: OutboxFile, cache: &HttpCache) {
        let theirs = {
            let mut outbox = self.0.outbox();
            let given_up = outbox.given_up;
            let mut ours: HashSet<u64> = HashSet::new();
            for open in outbox.open.values_mut() {
                match open.entry <= given_up {
                    true => drop(ours.insert(open.entry)),
                    false => open.entry = UNWRITTEN,
                }
            }
            let (before, since): (Vec<_>, Vec<_>) =
                found.entries.into_iter().partition(|(entry, _)| *entry <= given_up);
            let done: Vec<u64> = before
                .iter()
                .map(|(entry, _)| *entry)
                .filter(|entry| !ours.contains(entry))
                .collect();
            journal.done(&done);
            outbox.last = outbox.last.max(found.last);
            outbox.journal = Some(journal);
            since
        };
        again(Arc::clone(&self.0), cache.clone(), theirs, found.is_damaged).await;
    }

    /// Why the file is not written, if there is one and it is not.
    pub fn file_failure(&self) -> Option<Arc<str>> {
        let outbox = self.0.outbox();
        let written = outbox.journal.as_ref()?.written();
        written.borrow().failure.clone()
    }
}

/// Makes what an earlier process has left once more, from the inside out: what lies below may not have had it either. Calls
/// whose end that process did not know are made again as they were.
async fn again(inside: Arc<Inside>, cache: HttpCache, left: Vec<(u64, Vec<u8>)>, is_damaged: bool) {
    let (calls, left): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|(_, bytes)| repeat::Kept::is_one(bytes));
    for (entry, bytes) in calls {
        let Some(kept) = repeat::Kept::decode(&bytes) else {
            inside.outbox().release(&[entry]);
            continue;
        };
        let knows = |cdn: &&Cdn| cdn.config.driver.knows_calls_again();
        match inside.cdns.iter().filter(knows).find(|cdn| *cdn.config.name == *kept.cdn) {
            Some(cdn) => cdn.queue().expect(kept, entry),
            None => inside.outbox().release(&[entry]),
        }
    }
    let damaged = is_damaged.then(|| (None, kept::everything()));
    let left = left.into_iter().map(|(entry, bytes)| (Some(entry), kept::decode(&bytes)));
    for (entry, Kept { asked, scopes, mode }) in damaged.into_iter().chain(left) {
        for scope in scopes {
            let purge = match scope {
                Scope::Key(key) => Purge::key(key),
                Scope::Prefix(prefix) => Purge::prefix(prefix),
                Scope::Tag(tag) => Purge::tag(tag),
                _ => Purge::everything(),
            };
            // It waits for nothing that a cache could not have.
            cache.purge(purge.mode(mode).asked(asked.clone())).await.ok();
        }
        // What takes its place is in the file before it.
        if let (Some(entry), Some(journal)) = (entry, &inside.outbox().journal) {
            journal.done(&[entry]);
        }
        tokio::task::yield_now().await;
    }
    for place in 0..inside.cdns.len() {
        inside.cdns[place].queue().all_are_back(Instant::now());
        inside.tell(place, &mut inside.outbox());
    }
}

impl PurgeFollower for Inside {
    fn purged(&self, purge: &MadePurge) {
        let now = Instant::now();
        let mut outbox = self.outbox();
        let (number, asked) = self.trail.add(purge);
        if !self.cdns.is_empty() {
            let bytes = kept::encode(&purge.scopes, purge.mode, &asked);
            let name = repeat::name(&bytes);
            let mut at = 0;
            for (place, cdn) in self.cdns.iter().enumerate() {
                if self.fleet.is_none() {
                    let wishes = cdn.config.wishes(&purge.scopes, purge.mode);
                    let mut queue = cdn.queue();
                    queue.enter(number, wishes, now);
                    queue.know(number, &name);
                }
                at |= 1_u32 << place;
            }
            outbox.last += 1;
            let entry = outbox.last;
            outbox.bytes += bytes.len();
            let kept = match self.fleet {
                Some(_) => bytes.clone().into(),
                None => Arc::default(),
            };
            let open = Open { at, from: number, entry, bytes: bytes.len(), kept, name };
            outbox.open.insert(number, open);
            if let Some(journal) = &outbox.journal {
                journal.add(entry, bytes);
            }
            self.make_room(&mut outbox, number, purge, now);
        }
        outbox.fresh.push((number, now));
        for place in 0..self.cdns.len() {
            self.tell(place, &mut outbox);
        }
        drop(outbox);
        self.news.notify_one();
    }
}

impl Inside {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where too much waits, what waits for the CDN with the longest queue becomes one purge of everything.
    fn make_room(&self, outbox: &mut Outbox, number: u64, purge: &MadePurge, now: Instant) {
        let is_full = |outbox: &Outbox| {
            outbox.open.len() > MOST_PURGES
                || outbox.bytes > MOST_BYTES
                || outbox.journal.as_ref().is_some_and(|journal| !journal.has_room(0))
        };
        if self.fleet.is_some() && is_full(outbox) && outbox.open.len() > 1 {
            return self.make_one(outbox, number, purge);
        }
        for _ in 0..self.cdns.len() {
            if !is_full(outbox) || outbox.open.len() <= 1 {
                return;
            }
            let longest = self.cdns.iter().enumerate().max_by_key(|(_, cdn)| cdn.queue().len());
            let Some((place, cdn)) = longest else { return };
            self.overflows.fetch_add(1, Relaxed);
            tracing::warn!(
                cdn = %cdn.config.name,
                "too many purges wait for this CDN: instead of them everything is to be purged there"
            );
            let everything = Wish { what: What::Everything, mode: Mode::Hard };
            let everything = cdn.config.driver.widen(&everything);
            cdn.queue().collapse(number, everything, now);
            // Its entry in the file says so as well.
            self.replace(outbox, number, purge);
            outbox.finish(place, 0..=number - 1);
        }
    }

    /// All that is on its way to a fleet's list, or there, becomes one purge of everything.
    fn make_one(&self, outbox: &mut Outbox, number: u64, purge: &MadePurge) {
        self.overflows.fetch_add(1, Relaxed);
        tracing::warn!(
            "too many purges wait for the CDNs: instead of them everything is to be purged there"
        );
        self.replace(outbox, number, purge);
        let Some(last) = outbox.open.remove(&number) else { return };
        let before = std::mem::take(&mut outbox.open);
        let from = before.values().map(|open| open.from).min().unwrap_or(number);
        if let Some(journal) = &outbox.journal {
            let entries: Vec<u64> = before.values().map(|open| open.entry).collect();
            journal.done(&entries);
        }
        outbox.bytes = last.bytes;
        outbox.open.insert(number, Open { from, ..last });
        for cdn in &self.cdns {
            let mut queue = cdn.queue();
            before.keys().for_each(|number| queue.remove(*number));
        }
    }

    /// Has a call in the file before it is made: its number there. `None`: there is no file, or it cannot be kept, and is made
    /// again under another name where it has to be.
    fn keep_call(
        &self,
        cdn: &str,
        batch: &Arc<str>,
        wishes: &[Wish],
        parts: &[&[queue::Part]],
    ) -> Option<u64> {
        if parts.iter().map(|parts| parts.len()).sum::<usize>() > repeat::MOST_PARTS {
            return None;
        }
        let mut outbox = self.outbox();
        let part = |part: &queue::Part| {
            let of = outbox.open.get(&part.number)?.name;
            let place = u32::try_from(part.place).ok()?;
            Some(repeat::Part { of, place, was_clear: part.was_clear })
        };
        let row = |parts: &&[queue::Part]| parts.iter().map(part).collect();
        let rows: Option<Vec<Vec<repeat::Part>>> = parts.iter().map(row).collect();
        let (cdn, batch, digest) = (cdn.into(), Arc::clone(batch), repeat::digest(wishes));
        let bytes = repeat::Kept { cdn, batch, digest, wishes: rows? }.encode();
        let has_room = outbox.journal.as_ref()?.has_room(bytes.len());
        if !has_room {
            return None;
        }
        outbox.last += 1;
        let entry = outbox.last;
        outbox.journal.as_ref()?.add(entry, bytes);
        Some(entry)
    }

    /// What this process has to tell the CDNs by itself, though others share the tier with it.
    fn enter_alone(&self, numbers: &[u64], now: Instant) {
        if self.fleet.is_none() {
            return;
        }
        let outbox = self.outbox();
        for number in numbers {
            let Some(open) = outbox.open.get(number) else { continue };
            let Kept { scopes, mode, .. } = kept::decode(&open.kept);
            for (place, cdn) in self.cdns.iter().enumerate() {
                let mut queue = cdn.queue();
                if open.at & 1_u32 << place == 0 || queue.contains(*number) {
                    continue;
                }
                let wishes = cdn.config.wishes(&scopes, mode);
                queue.enter(*number, wishes, now);
                queue.know(*number, &open.name);
                queue.cover(*number, open.from);
            }
        }
    }

    fn replace(&self, outbox: &mut Outbox, number: u64, purge: &MadePurge) {
        let asked = purge.asked.clone().unwrap_or_else(|| Trail::ask("application"));
        let bytes = kept::encode(&[Scope::Everything], Mode::Hard, &asked);
        outbox.last += 1;
        let (entry, length) = (outbox.last, bytes.len());
        let Some(open) = outbox.open.get_mut(&number) else { return };
        let before = std::mem::replace(&mut open.entry, entry);
        let freed = std::mem::replace(&mut open.bytes, length);
        open.name = repeat::name(&bytes);
        if self.fleet.is_some() {
            open.kept = bytes.clone().into();
        }
        outbox.bytes = outbox.bytes.saturating_sub(freed) + length;
        if let Some(journal) = &outbox.journal {
            journal.add(entry, bytes);
            journal.done(&[before]);
        }
    }

    /// Tells the trail, and whoever waits, what has changed at the CDN at this place.
    fn tell(&self, place: usize, outbox: &mut Outbox) {
        let cdn = &self.cdns[place];
        let (changes, released) = {
            let mut queue = cdn.queue();
            (queue.take_changes(), queue.take_released())
        };
        outbox.release(&released);
        for change in changes {
            match &self.fleet {
                Some(fleet) if change.to >= FIRST_OF_LIST => fleet.ended(place, &change),
                _ => self.changed(place, change, outbox),
            }
        }
        cdn.news.notify_one();
    }

    /// What has become of purges that were made here, at the CDN at this place.
    fn changed(&self, place: usize, change: Change, outbox: &mut Outbox) {
        let cdn = &self.cdns[place];
        let Change { from, to, state, batch, vendor_id, reason } = change;
        let stage = match state {
            State::Queued => CdnStage::Queued,
            State::Sent => CdnStage::Sent,
            State::Confirmed => CdnStage::Confirmed,
            State::Failed => CdnStage::Failed,
        };
        if state == State::Failed {
            tracing::warn!(
                cdn = %cdn.config.name,
                "a purge has failed for good: {}",
                reason.as_deref().unwrap_or_default()
            );
        }
        let at = SystemTime::now();
        let state = CdnState { stage, at, batch, vendor_id, reason };
        let count = match stage {
            CdnStage::Confirmed => Some(&cdn.counts.confirmed),
            CdnStage::Failed => Some(&cdn.counts.failed),
            CdnStage::Queued | CdnStage::Sent => None,
        };
        // Before whoever waits for it may look.
        if let Some(count) = count {
            count.fetch_add(1, Relaxed);
            outbox.finish(place, from..=to);
        }
        self.trail.cdn(place, from, to, &state);
    }
}

impl Outbox {
    /// It is known what became of these calls.
    fn release(&self, entries: &[u64]) {
        if let Some(journal) = &self.journal
            && !entries.is_empty()
        {
            journal.done(entries);
        }
    }

    /// The CDN at this place is done with these.
    fn finish(&mut self, place: usize, numbers: RangeInclusive<u64>) {
        let mut gone: HashMap<u64, (u64, usize)> = HashMap::new();
        for (number, open) in self.open.range_mut(numbers) {
            open.at &= !(1_u32 << place);
            if open.at == 0 {
                gone.insert(*number, (open.entry, open.bytes));
            }
        }
        let mut entries = Vec::with_capacity(gone.len());
        for (number, (entry, bytes)) in gone {
            self.open.remove(&number);
            self.bytes = self.bytes.saturating_sub(bytes);
            entries.push(entry);
        }
        if let Some(journal) = &self.journal
            && !entries.is_empty()
        {
            journal.done(&entries);
        }
    }
}

impl Keeper for Inside {
    fn kept(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let last = self.outbox().last;
            let Some(mut written) = self.outbox().journal.as_ref().map(Journal::written) else {
                return;
            };
            let is_over =
                written.wait_for(|written| written.to >= last || written.failure.is_some());
            timeout(DISK, is_over).await.ok();
        })
    }
}

/// Those of one account share its calls: as many as the one takes that takes fewest.
fn with_rates(configs: Vec<CdnConfig>) -> Vec<Cdn> {
    let now = Instant::now();
    let of_account = |config: &CdnConfig| {
        let account = config.driver.account();
        let others = configs.iter().filter(|other| other.driver.account() == account);
        let bounds = others.map(|other| other.bounds);
        let least = bounds.reduce(|one, other| Bounds {
            calls_a_second: one.calls_a_second.min(other.calls_a_second),
            burst: one.burst.min(other.burst),
            ..one
        });
        (account, least.unwrap_or(config.bounds))
    };
    let mut rates: HashMap<Account, Arc<Mutex<Rate>>> = HashMap::new();
    let rate = |config: &CdnConfig| {
        let new = |bounds: Bounds| {
            Arc::new(Mutex::new(Rate::new(bounds.calls_a_second, bounds.burst, now)))
        };
        match of_account(config) {
            (Some(account), least) => {
                Arc::clone(rates.entry(account).or_insert_with(|| new(least)))
            }
            (None, _) => new(config.bounds),
        }
    };
    let rates: Vec<_> = configs.iter().map(rate).collect();
    configs.into_iter().zip(rates).map(|(config, rate)| Cdn::new(config, rate)).collect()
}

impl Cdn {
    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(config: CdnConfig, rate: Arc<Mutex<Rate>>) -> Cdn {
        let queue = match config.driver.knows_calls_again() {
            true => Queue::of_named_calls(config.bounds.propagation),
            false => Queue::new(config.bounds.propagation),
        };
        Cdn {
            rate,
            client: Client::new(config.tls.clone(), config.timeout),
            queue: Mutex::new(queue),
            news: Notify::new(),
            counts: Counts::default(),
            config,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use larder::{Cache, http::Policy};

    use super::{
        driver::{Answer, Call, Said},
        *,
    };

    /// Nobody can be reached, so nothing is ever done.
    #[derive(Debug)]
    struct Unreachable;

    impl Driver for Unreachable {
        fn vendor(&self) -> &'static str {
            "larder"
        }

        fn bounds(&self) -> Bounds {
            Bounds {
                most_in_a_call: 1,
                most_bytes: 1000,
                calls_a_second: 1.0,
                burst: 1,
                propagation: Duration::ZERO,
            }
        }

        fn widen(&self, wish: &Wish) -> Result<Wish, String> {
            Ok(wish.clone())
        }

        fn calls(&self, wishes: &[Wish], _: &str, _: SystemTime) -> Vec<Call> {
            let request = http::Request::post("http://127.0.0.1:1/").body(()).unwrap();
            let (head, ()) = request.into_parts();
            vec![Call { head, body: bytes::Bytes::new(), wishes: (0..wishes.len()).collect() }]
        }

        fn said(&self, _: &Call, _: &Answer, _: SystemTime) -> Said {
            Said::Done { id: None }
        }

        fn probes(&self, _: SystemTime) -> Vec<Call> {
            Vec::new()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_that_was_given_up_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdn");
        let driver: Arc<dyn Driver> = Arc::new(Unreachable);
        let config = CdnConfig {
            name: "edge".into(),
            public: Public::default(),
            bounds: driver.bounds(),
            driver,
            timeout: Duration::from_secs(1),
            tls: None,
        };
        let cache = HttpCache::new(Cache::builder().build(), Policy::guarded());
        let file = OutboxFile::open(&path).unwrap();
        let cdns = Cdns::start(
            &cache,
            vec![config],
            OutboxConfig::default(),
            Some(file),
            UnderWay::default(),
            false,
            None,
        );
        let purge = async |tag: &str| drop(cache.purge(Purge::tag(tag).hard()).await.unwrap());
        purge("before").await;
        cdns.close();
        // It is told twice where that took long.
        purge("between").await;
        cdns.close();
        let other = OutboxFile::open(&path).unwrap();
        assert_eq!(other.left(), 1, "the other process has what was purged before");
        drop(other);
        cdns.resume(OutboxFile::open(&path).unwrap(), &cache).await;
        purge("after").await;
        cdns.close();
        let left = OutboxFile::open(&path).unwrap();
        let tags = |(_, bytes): &(u64, Vec<u8>)| kept::decode(bytes).scopes;
        let left: Vec<_> = left.found.entries.iter().flat_map(tags).collect();
        assert_eq!(left, [Scope::Tag("before".into()), Scope::Tag("after".into())]);
    }
}
