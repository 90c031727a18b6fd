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
//! The steps are in `outbox` (`purged`: a purge comes in), `gate` (the tiers inside, and answers that are older), `worker` (the calls to
//! one CDN) → `queue` (◇ what is to be asked when), `rate` (◇), `client`. ◇ is pure. What has not been confirmed by every CDN
//! is in a file that outlives the process, and is purged again by the next one, from the inside out; so is, for vendors that
//! know calls by their names, each call whose end is not known (`repeat` ◇).

mod accounts;
mod client;
pub mod driver;
pub mod drivers;
mod fleet;
mod gate;
mod hidden;
mod kept;
mod outbox;
pub mod outgoing;
mod probe;
mod progress;
mod queue;
mod rate;
mod repeat;
mod wishes;
mod worker;

use std::{
    collections::HashSet,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use larder::{
    Mode, PurgeFollower, Scope,
    http::HttpCache,
    journal::{Found, Journal, OutboxError},
    redis::worklist::Worklist,
};
use larder_admin::trail::{CdnName, Keeper, Trail};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use self::{
    accounts::with_rates,
    client::Client,
    driver::{Bounds, Driver, Wish},
    drivers::Secret,
    fleet::Fleet,
    outbox::{Outbox, again},
    queue::Queue,
    rate::Rate,
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

/// One CDN, as it is to be used.
#[derive(Clone, Debug)]
pub struct CdnConfig {
    /// By its settings.
    pub name: Arc<str>,
    /// Who is asked, and how.
    pub driver: Arc<dyn Driver>,
    /// With what it is asked: what is in files is read anew before each call.
    pub secrets: Vec<Secret>,
    /// Under which URLs it has what is stored here.
    pub public: Public,
    /// How much it takes.
    pub bounds: Bounds,
    /// Whose account it is: those of one name at one vendor share its calls. `None`: that of its credentials.
    pub account: Option<Arc<str>>,
    /// How long a call may take.
    pub timeout: Duration,
    /// For calls to `https` addresses.
    pub tls: Option<OriginTls>,
}

impl CdnConfig {
    /// What it is to be asked for, so that all goes that these scopes name; and why it cannot be, of what it cannot.
    fn wishes(
        &self,
        (scopes, mode): (&[Scope], Mode),
        is_told_tags: bool,
    ) -> Vec<Result<Wish, String>> {
        wishes::asked(scopes, mode, (&self.public, is_told_tags), &*self.driver)
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
    /// Answers may tell their tags in the form that all vendors take (`cdn_tags`), so that they are purged by it as well. Default
    /// false; see [`Cdns::tells_tags`].
    pub tells_tags: bool,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        OutboxConfig {
            file: None,
            old_answers: Duration::from_secs(30),
            settle: Duration::from_secs(1),
            give_up: Duration::from_secs(86_400),
            tells_tags: false,
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

    /// So many bytes at its end are no whole purge: a crash leaves such of one that nobody was told to be on disk, or somebody has
    /// cut off the end.
    pub fn torn_bytes(&self) -> usize {
        self.found.torn_bytes
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

/// The process before this one still answers, as long as this is there.
pub struct Overlap(Arc<Inside>);

impl Drop for Overlap {
    fn drop(&mut self) {
        // The last of its answers may still be on its way.
        self.0.under_way.has_ended_elsewhere();
        self.0.is_overlapped.store(false, SeqCst);
        self.0.news.notify_one();
    }
}

/// What all tasks share.
struct Inside {
    trail: Trail,
    cdns: Vec<Cdn>,
    config: OutboxConfig,
    under_way: UnderWay,
    /// Whether answers tell tags in the form that all vendors take, or have: what was told so stays outside.
    tells_tags: AtomicBool,
    /// Other processes answer from the same tier, and nobody here knows which answers they have under way.
    has_others: bool,
    /// Nor of the process before this one, which still answers.
    is_overlapped: AtomicBool,
    /// Where several gateways tell the CDNs together.
    fleet: Option<Arc<Fleet>>,
    outbox: Mutex<Outbox>,
    /// Something was purged.
    news: Notify,
    old_answers_overrun: AtomicU64,
    handed_out_early: AtomicU64,
    overflows: AtomicU64,
    not_told: AtomicU64,
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
    /// Purges that an earlier process has left for a CDN that is none of these, so that nobody tells it.
    pub not_told: u64,
    /// The bytes of what waits.
    pub bytes: usize,
    /// How often the file could not be written.
    pub file_failures: u64,
}

impl Inside {
    /// Whether all answers to readers are known here.
    fn knows_all_answers(&self) -> bool {
        !self.has_others && !self.is_overlapped.load(SeqCst)
    }
}

impl fmt::Debug for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overlap")
    }
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
            None => (None, Found::default()),
        };
        let list = list.filter(|_| !cdns.is_empty());
        let fleet = list.map(|list| Arc::new(Fleet::new(list, cdns.len())));
        let inside = Arc::new(Inside {
            trail,
            fleet: fleet.clone(),
            cdns: with_rates(cdns),
            tells_tags: AtomicBool::new(config.tells_tags),
            config,
            under_way,
            has_others: has_shared,
            is_overlapped: AtomicBool::new(false),
            outbox: Mutex::new(Outbox { journal, last: left.last, ..Outbox::default() }),
            news: Notify::new(),
            old_answers_overrun: AtomicU64::new(0),
            handed_out_early: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
            not_told: AtomicU64::new(0),
        });
        inside.trail.kept_by(Arc::clone(&inside) as Arc<dyn Keeper>);
        cache.cache().follow_purges(Arc::clone(&inside) as Arc<dyn PurgeFollower>);
        let mut tasks = JoinSet::new();
        tasks.spawn(gate::keep(Arc::clone(&inside), cache.clone()));
        if inside.outbox().journal.is_some() {
            tasks.spawn(outbox::watch_file(Arc::clone(&inside)));
        }
        for place in 0..inside.cdns.len() {
            tasks.spawn(worker::work(Arc::clone(&inside), place));
        }
        if let Some(fleet) = fleet {
            tasks.spawn(fleet::keep(Arc::clone(&inside), fleet));
        }
        tasks.spawn(again(Arc::clone(&inside), cache.clone(), left.entries, left.is_damaged));
        Cdns(inside, Arc::new(tasks))
    }

    /// The process before this one goes on to answer until what this gives is dropped. Nobody here knows which of its answers are
    /// under way, so that a purge waits for its end, or as long as for any answer.
    pub fn overlap(&self) -> Overlap {
        self.0.is_overlapped.store(true, SeqCst);
        Overlap(Arc::clone(&self.0))
    }

    /// From now on answers tell their tags in the form that all vendors take. To be said before the first does.
    pub fn tells_tags(&self) {
        self.0.tells_tags.store(true, Relaxed);
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
            not_told: self.0.not_told.load(Relaxed),
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
    use std::time::SystemTime;

    use larder::{Cache, Purge, http::Policy};

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
            account: None,
            driver,
            secrets: Vec::new(),
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
