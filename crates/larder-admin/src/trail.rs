//! Trail: which purges were made of late, by whom, and how far each tier is with them.
//!
//! It is in memory, and bounded: the oldest make room for the newest. What a CDN has still to be told is kept elsewhere,
//! whether or not the trail remembers it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use larder::{Asked, MadePurge, Mode, PurgeFollower, Receipt, Tier, TierReceipt, TierState};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use utoipa::ToSchema;

use crate::receipt::TierView;

/// So many purges are remembered …
const MOST: usize = 20_000;
/// … and so many bytes of what they name, and of what was said of them.
const MOST_BYTES: usize = 8 << 20;
/// What one names is shortened to so many bytes.
const NAME_BYTES: usize = 256;
/// What a request names of so many is told one by one.
const NAMES: usize = 20;
/// So many requests are told of at once.
const STORIES: usize = 1000;
/// Of so many calls a purge knows at a CDN, the last.
const CALLS_OF_ONE: usize = 16;
/// So many calls are told of a request, for all CDNs together, …
const CALLS: usize = 1000;
/// … and so many where it is one of many.
const CALLS_OF_MANY: usize = 8;
/// What a call takes beside its names.
const CALL_BYTES: usize = size_of::<CdnCall>();

/// The purges of a cache. Clones share it.
#[derive(Clone)]
pub struct Trail(Arc<Inside>);

struct Inside {
    source: u32,
    has_shared: bool,
    cdns: Vec<CdnName>,
    records: Mutex<Records>,
    /// How many changes there were.
    changes: watch::Sender<u64>,
    keeper: OnceLock<Arc<dyn Keeper>>,
}

/// Keeps what the CDNs have still to be told.
pub trait Keeper: Send + Sync {
    /// Until what was purged before is on disk, where it is to be.
    ///
    /// # Errors
    ///
    /// It cannot be, or that has taken too long: why, for whom it concerns.
    fn kept(&self) -> BoxFuture<'_, Result<(), Arc<str>>>;
}

/// A CDN, as receipts name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnName {
    /// By its settings.
    pub name: Arc<str>,
    /// Whose it is.
    pub vendor: &'static str,
}

#[derive(Default)]
struct Records {
    all: BTreeMap<u64, Record>,
    /// The numbers of those that were asked for together.
    by_id: HashMap<Arc<str>, VecDeque<u64>>,
    last: u64,
    bytes: usize,
    forgotten: u64,
}

struct Record {
    id: Arc<str>,
    by: Arc<str>,
    what: String,
    mode: Mode,
    at: SystemTime,
    shared: Option<Arc<TierReceipt>>,
    cdns: Vec<AtCdn>,
    /// Why it does not outlive the process, where it was to.
    not_kept: Option<Arc<str>>,
    /// Which of all changes was the last of this.
    changed: u64,
}

/// How far a CDN is with a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnState {
    /// How far.
    pub stage: CdnStage,
    /// When it came so far.
    pub at: SystemTime,
    /// The name of the last call about it.
    pub batch: Option<Arc<str>>,
    /// What the vendor calls that.
    pub vendor_id: Option<Arc<str>>,
    /// Why it has failed, or is not done yet.
    pub reason: Option<Arc<str>>,
}

/// What is known of a purge at one CDN.
#[derive(Clone, Debug)]
struct AtCdn {
    now: CdnState,
    /// The calls about it, in their order.
    calls: Vec<CdnCall>,
    /// So many before them are not remembered.
    left_out: usize,
}

/// A call about a purge, and how far the purge came by it.
#[derive(Clone, Debug)]
struct CdnCall {
    batch: Arc<str>,
    vendor_id: Option<Arc<str>>,
    stage: CdnStage,
    at: SystemTime,
}

/// How far, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CdnStage {
    /// It has not been told.
    #[default]
    Queued,
    /// It has been told, and may yet get the old copy from an answer that was on its way.
    Sent,
    /// Nothing older is served there.
    Confirmed,
    /// It will not be told again.
    Failed,
}

impl CdnStage {
    /// The word for it: `queued`, `sent`, `confirmed` or `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            CdnStage::Queued => "queued",
            CdnStage::Sent => "sent",
            CdnStage::Confirmed => "confirmed",
            CdnStage::Failed => "failed",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, CdnStage::Confirmed | CdnStage::Failed)
    }
}

/// What became of what was asked for in one go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Story {
    /// By this name it is found again.
    pub id: String,
    /// What was purged; of much, the first of it.
    what: Vec<String>,
    /// So many purges it was.
    purges: usize,
    mode: &'static str,
    /// RFC 3339, to the millisecond.
    at: String,
    by: String,
    tiers: Tiers,
    /// Why what CDNs have still to be told is not on disk, where it was to be: it is lost with the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_on_disk: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct Tiers {
    memory: TierView,
    #[serde(skip_serializing_if = "Option::is_none")]
    shared: Option<TierView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cdn: Vec<CdnView>,
}

/// How far one CDN is with all of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CdnView {
    name: String,
    vendor: &'static str,
    /// That of the one that is least far; `failed` where all is over and one has.
    state: &'static str,
    queued: usize,
    sent: usize,
    confirmed: usize,
    failed: usize,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// All calls about them, in their order; of many, the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<CallView>,
    /// So many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    calls_left_out: usize,
}

/// A call to a CDN.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CallView {
    batch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor_id: Option<String>,
    /// How far what it was about came by it; of several, the one that is least far.
    state: &'static str,
    at: String,
    /// About so many of them.
    purges: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Trail {
    /// Of a cache with these CDNs before it, and perhaps a shared tier below.
    pub fn new(has_shared: bool, cdns: Vec<CdnName>) -> Trail {
        Trail(Arc::new(Inside {
            source: random() as u32,
            has_shared,
            cdns,
            records: Mutex::default(),
            changes: watch::Sender::new(0),
            keeper: OnceLock::new(),
        }))
    }

    /// Who asks for something under a new name.
    pub fn ask(by: impl Into<Arc<str>>) -> Asked {
        Asked { id: format!("{:016x}", random()).into(), by: by.into(), came_by: Arc::default() }
    }

    /// `keeper` keeps what the CDNs have still to be told. The first who is named does.
    pub fn kept_by(&self, keeper: Arc<dyn Keeper>) {
        _ = self.0.keeper.set(keeper);
    }

    /// Until what was asked for under this name is on disk, where it is to be. Where it is not, its story says so.
    pub async fn kept(&self, id: &str) {
        let Some(keeper) = self.0.keeper.get() else { return };
        let Err(why) = keeper.kept().await else { return };
        let mut records = self.lock();
        let numbers: Vec<u64> = records.by_id.get(id).into_iter().flatten().copied().collect();
        for number in numbers {
            if let Some(record) = records.all.get_mut(&number) {
                record.not_kept = Some(Arc::clone(&why));
            }
        }
    }

    /// All that waits is on disk again.
    pub fn all_kept(&self) {
        self.lock().all.values_mut().for_each(|record| record.not_kept = None);
    }

    /// Whether there is a CDN.
    pub fn has_cdns(&self) -> bool {
        !self.0.cdns.is_empty()
    }

    /// When this was purged last (`tag post:1`), as far as that is remembered.
    pub(crate) fn last_of(&self, what: &str) -> Option<SystemTime> {
        let names_it = |record: &&Record| record.what.split(", ").any(|named| named == what);
        self.lock().all.values().rev().find(names_it).map(|record| record.at)
    }

    /// A purge that was made. By this number the tiers are spoken of, and by this name it is asked for.
    pub fn add(&self, purge: &MadePurge) -> (u64, Asked) {
        let what: Vec<_> = purge.scopes.iter().take(4).map(ToString::to_string).collect();
        let mut what = what.join(", ");
        what.truncate(what.floor_char_boundary(NAME_BYTES));
        let mut records = self.lock();
        records.last += 1;
        let number = records.last;
        let nobody = || Asked {
            id: format!("{:08x}-{number}", self.0.source).into(),
            by: "application".into(),
            came_by: Arc::default(),
        };
        let asked = purge.asked.clone().unwrap_or_else(nobody);
        let Asked { id, by, came_by: _ } = asked.clone();
        let now = CdnState {
            stage: CdnStage::Queued,
            at: purge.at,
            batch: None,
            vendor_id: None,
            reason: None,
        };
        let cdn = AtCdn { now, calls: Vec::new(), left_out: 0 };
        let cdns = vec![cdn; self.0.cdns.len()];
        // Under the lock, here and below: whoever looks sees all that has a lower number.
        let changed = self.next_change();
        let (mode, at) = (purge.mode, purge.at);
        let record = Record {
            id: Arc::clone(&id),
            by,
            what,
            mode,
            at,
            shared: None,
            cdns,
            not_kept: None,
            changed,
        };
        records.bytes += record.bytes();
        records.all.insert(number, record);
        records.by_id.entry(id).or_default().push_back(number);
        records.shrink();
        (number, asked)
    }

    /// Whether there is a shared tier.
    pub(crate) fn has_shared(&self) -> bool {
        self.0.has_shared
    }

    /// Those of which the shared tier has not said that they hold.
    pub(crate) fn not_shared(&self) -> Vec<u64> {
        let records = self.lock();
        let open = records.all.iter().filter(|(_, record)| !record.is_shared());
        open.map(|(number, _)| *number).collect()
    }

    /// How far the shared tier is with these.
    pub fn shared(&self, numbers: &[u64], receipt: &Arc<TierReceipt>) {
        let mut records = self.lock();
        for number in numbers {
            if let Some(record) = records.all.get_mut(number) {
                // What holds, holds, whoever asked less of it later.
                if !record.is_shared() {
                    record.shared = Some(Arc::clone(receipt));
                    record.changed = self.next_change();
                }
            }
        }
        drop(records);
        self.0.changes.send_modify(|_| {});
    }

    /// How far the shared tier is with what was asked for under this name, as these receipts say: the one that is least
    /// far speaks for all.
    pub fn told(&self, id: &str, receipts: &[Receipt]) {
        let tiers = receipts.iter().flat_map(|receipt| &receipt.tiers);
        let shared = tiers.filter(|tier| tier.tier == Tier::Shared);
        let Some(least) = shared.min_by_key(|tier| is_applied(tier)) else { return };
        let numbers: Vec<u64> = self
            .lock()
            .by_id
            .get(id)
            .map(|numbers| numbers.iter().copied().collect())
            .unwrap_or_default();
        self.shared(&numbers, &Arc::new(least.clone()));
    }

    /// How far the CDN at this place is with the purges from one number to another: all that is not over there.
    pub fn cdn(&self, place: usize, from: u64, to: u64, state: &CdnState) {
        let mut records = self.lock();
        let (mut bytes, mut freed) = (0, 0);
        for record in records.all.range_mut(from..=to).map(|(_, record)| record) {
            let Some(known) = record.cdns.get_mut(place) else { continue };
            if known.now.stage.is_over() {
                continue;
            }
            freed += known.bytes();
            known.note(state);
            bytes += known.bytes();
            record.changed = self.next_change();
        }
        records.bytes = (records.bytes + bytes).saturating_sub(freed);
        records.shrink();
        drop(records);
        self.0.changes.send_modify(|_| {});
    }

    /// What became of what was asked for under this name.
    pub fn story(&self, id: &str) -> Option<Story> {
        let records = self.lock();
        let numbers = records.by_id.get(id)?;
        self.tell(&records, numbers, CALLS)
    }

    /// What was asked for since then, the oldest first; and whether there was more, of which the newest is told.
    pub fn stories(&self, since: Option<SystemTime>) -> (Vec<Story>, bool) {
        let records = self.lock();
        let mut ids: Vec<&Arc<str>> = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut is_more = false;
        for record in records.all.values().rev() {
            if since.is_some_and(|since| record.at < since) {
                break;
            }
            if seen.contains(&*record.id) {
                continue;
            }
            if ids.len() == STORIES {
                is_more = true;
                break;
            }
            seen.insert(&record.id);
            ids.push(&record.id);
        }
        let stories = ids.into_iter().rev().filter_map(|id| records.by_id.get(id));
        let tell = |numbers| self.tell(&records, numbers, CALLS_OF_MANY);
        (stories.filter_map(tell).collect(), is_more)
    }

    /// What has changed since so many changes, and up to which change that is: what changed first comes first, and of much the rest
    /// comes when it is asked for again.
    pub fn changed_since(&self, changes: u64, most: usize) -> (Vec<Story>, u64) {
        let records = self.lock();
        let mut told = *self.0.changes.borrow();
        let changed = records.all.values().filter(|record| record.changed > changes);
        let mut changed: Vec<&Record> = changed.collect();
        changed.sort_unstable_by_key(|record| record.changed);
        let mut ids: Vec<&Arc<str>> = Vec::new();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut last = changes;
        for record in changed {
            if !seen.contains(&*record.id) {
                if ids.len() == most {
                    told = last;
                    break;
                }
                seen.insert(&record.id);
                ids.push(&record.id);
            }
            last = record.changed;
        }
        let stories = ids.into_iter().filter_map(|id| records.by_id.get(id));
        let tell = |numbers| self.tell(&records, numbers, CALLS_OF_MANY);
        (stories.filter_map(tell).collect(), told)
    }

    /// Waits until `tier`, and all inside it, is done with what was asked for under this name, for so long at most.
    pub async fn wait(&self, id: &str, tier: Tier, within: Duration) -> Option<Story> {
        let deadline = Instant::now() + within;
        let mut changes = self.0.changes.subscribe();
        while !self.is_done(id, tier) {
            if timeout_at(deadline, changes.changed()).await.is_err() {
                break;
            }
        }
        self.story(id)
    }

    fn is_done(&self, id: &str, tier: Tier) -> bool {
        let records = self.lock();
        let Some(numbers) = records.by_id.get(id) else { return true };
        let mut all = numbers.iter().filter_map(|number| records.all.get(number));
        all.all(|record| {
            let is_shared = !self.0.has_shared || record.is_shared();
            let is_outside = record.cdns.iter().all(|cdn| cdn.now.stage.is_over());
            match tier {
                Tier::Memory => true,
                Tier::Shared => is_shared,
                _ => is_shared && is_outside,
            }
        })
    }

    /// With so many calls to CDNs at most.
    fn tell(&self, records: &Records, numbers: &VecDeque<u64>, calls: usize) -> Option<Story> {
        let all: Vec<&Record> =
            numbers.iter().filter_map(|number| records.all.get(number)).collect();
        let first = all.first()?;
        // This one, which has done all of them: other instances are the shared tier's to tell.
        let memory = TierState::Applied { by: 1, of: 1 };
        let memory = TierView::of_state(Tier::Memory, &memory);
        let shared = self.0.has_shared.then(|| {
            // The one that is least far speaks for all.
            let open = all.iter().find(|record| !record.is_shared()).or(all.last());
            match open.and_then(|record| record.shared.as_deref()) {
                Some(receipt) => TierView::of(receipt),
                None => TierView::of_state(Tier::Shared, &TierState::Queued),
            }
        });
        let calls = (calls / self.0.cdns.len().max(1)).max(1);
        let cdns = self.0.cdns.iter().enumerate();
        let cdn = cdns.filter_map(|(place, name)| CdnView::of(name, place, &all, calls)).collect();
        Some(Story {
            id: first.id.to_string(),
            what: all.iter().take(NAMES).map(|record| record.what.clone()).collect(),
            purges: all.len(),
            mode: first.mode.as_str(),
            at: humantime::format_rfc3339_millis(first.at).to_string(),
            by: first.by.to_string(),
            tiers: Tiers { memory, shared, cdn },
            not_on_disk: all
                .iter()
                .find_map(|record| record.not_kept.as_deref())
                .map(str::to_owned),
        })
    }

    fn next_change(&self) -> u64 {
        let mut next = 0;
        self.0.changes.send_if_modified(|changes| {
            *changes += 1;
            next = *changes;
            false
        });
        next
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where nobody else does anything about purges.
impl PurgeFollower for Trail {
    fn purged(&self, purge: &MadePurge) {
        self.add(purge);
    }
}

impl Records {
    fn shrink(&mut self) {
        while self.all.len() > MOST || self.bytes > MOST_BYTES && self.all.len() > 1 {
            let Some((number, record)) = self.all.pop_first() else { return };
            self.bytes = self.bytes.saturating_sub(record.bytes());
            self.forgotten += 1;
            if let Some(numbers) = self.by_id.get_mut(&record.id) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_id.remove(&record.id);
                }
            }
        }
    }
}

impl Record {
    fn bytes(&self) -> usize {
        let cdns: usize = self.cdns.iter().map(AtCdn::bytes).sum();
        self.id.len() + self.by.len() + self.what.len() + cdns
    }

    fn is_shared(&self) -> bool {
        self.shared.as_deref().is_some_and(is_applied)
    }
}

pub(crate) fn is_applied(receipt: &TierReceipt) -> bool {
    matches!(receipt.state, TierState::Applied { .. } | TierState::Lapsed { .. })
}

impl AtCdn {
    /// How far it is now, and by which call.
    fn note(&mut self, state: &CdnState) {
        let before = std::mem::replace(&mut self.now, state.clone());
        // What is not said again is still so.
        self.now.batch = self.now.batch.take().or(before.batch);
        self.now.vendor_id = self.now.vendor_id.take().or(before.vendor_id);
        let Some(batch) = &state.batch else { return };
        let is_about = |call: &&mut CdnCall| {
            let is_same_id = call.vendor_id.is_none() || state.vendor_id.is_none();
            call.batch == *batch && (is_same_id || call.vendor_id == state.vendor_id)
        };
        let (stage, at, vendor_id) = (state.stage, state.at, state.vendor_id.clone());
        match self.calls.iter_mut().rev().find(is_about) {
            Some(call) => {
                (call.stage, call.at) = (stage, at);
                call.vendor_id = call.vendor_id.take().or(vendor_id);
            }
            None => self.calls.push(CdnCall { batch: Arc::clone(batch), vendor_id, stage, at }),
        }
        if self.calls.len() > CALLS_OF_ONE {
            self.calls.remove(0);
            self.left_out += 1;
        }
    }

    fn bytes(&self) -> usize {
        let of = |call: &CdnCall| {
            CALL_BYTES + call.batch.len() + call.vendor_id.as_deref().map_or(0, str::len)
        };
        self.now.bytes() + self.calls.iter().map(of).sum::<usize>()
    }
}

impl CdnState {
    fn bytes(&self) -> usize {
        let of = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        of(&self.batch) + of(&self.vendor_id) + of(&self.reason)
    }
}

impl CdnView {
    fn of(name: &CdnName, place: usize, all: &[&Record], most: usize) -> Option<CdnView> {
        let known: Vec<&AtCdn> = all.iter().filter_map(|record| record.cdns.get(place)).collect();
        let states: Vec<&CdnState> = known.iter().map(|known| &known.now).collect();
        let (calls, calls_left_out) = calls(&known, most);
        let count = |stage: CdnStage| states.iter().filter(|state| state.stage == stage).count();
        let least = states.iter().map(|state| state.stage).min()?;
        let has_failed = count(CdnStage::Failed) > 0;
        let stage = if least.is_over() && has_failed { CdnStage::Failed } else { least };
        // What is told of all is told of the last of those that are as far as that.
        let told = states.iter().rev().find(|state| state.stage == stage)?;
        Some(CdnView {
            name: name.name.to_string(),
            vendor: name.vendor,
            state: stage.as_str(),
            queued: count(CdnStage::Queued),
            sent: count(CdnStage::Sent),
            confirmed: count(CdnStage::Confirmed),
            failed: count(CdnStage::Failed),
            at: humantime::format_rfc3339_millis(told.at).to_string(),
            batch: told.batch.as_deref().map(str::to_owned),
            vendor_id: told.vendor_id.as_deref().map(str::to_owned),
            reason: told.reason.as_deref().map(str::to_owned),
            calls,
            calls_left_out,
        })
    }
}

/// The calls about these, each once, the last `most` of them; and how many more there were.
fn calls(known: &[&AtCdn], most: usize) -> (Vec<CallView>, usize) {
    let mut left_out = known.iter().map(|known| known.left_out).sum();
    let mut all: Vec<(&CdnCall, CdnStage, SystemTime, usize)> = Vec::new();
    let mut places: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for call in known.iter().flat_map(|known| &known.calls) {
        let named = (&*call.batch, call.vendor_id.as_deref());
        let place = *places.entry(named).or_insert(all.len());
        match all.get_mut(place) {
            Some((_, stage, at, purges)) => {
                (*stage, *at, *purges) =
                    ((*stage).min(call.stage), (*at).max(call.at), *purges + 1);
            }
            None => all.push((call, call.stage, call.at, 1)),
        }
    }
    all.sort_by_key(|(_, _, at, _)| *at);
    let more = all.len().saturating_sub(most);
    left_out += more;
    let view = |(call, stage, at, purges): &(&CdnCall, CdnStage, SystemTime, usize)| CallView {
        batch: call.batch.to_string(),
        vendor_id: call.vendor_id.as_deref().map(str::to_owned),
        state: stage.as_str(),
        at: humantime::format_rfc3339_millis(*at).to_string(),
        purges: *purges,
    };
    (all[more..].iter().map(view).collect(), left_out)
}

/// To tell one thing from another; whoever can read it may know it.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use larder::{Cache, Purge};
    use serde_json::{Value, json};

    use super::*;

    fn trail() -> (Cache<String>, Trail) {
        let cache = Cache::<String>::builder().build();
        let cdn = CdnName { name: "edge".into(), vendor: "larder" };
        let trail = Trail::new(false, vec![cdn]);
        cache.follow_purges(Arc::new(trail.clone()));
        (cache, trail)
    }

    fn state(stage: CdnStage) -> CdnState {
        let at = SystemTime::UNIX_EPOCH;
        CdnState { stage, at, batch: None, vendor_id: None, reason: None }
    }

    fn told(story: &Story) -> Value {
        serde_json::to_value(story).unwrap()
    }

    #[tokio::test]
    async fn what_was_asked_for_together_is_told_together_by_the_one_that_is_least_far() {
        let (cache, trail) = trail();
        let asked = Trail::ask("somebody");
        for tag in ["a", "b"] {
            cache.purge(Purge::tag(tag).asked(asked.clone())).await.unwrap();
        }
        cache.purge_tag("c");
        trail.cdn(0, 1, 1, &state(CdnStage::Confirmed));
        let told_of = told(&trail.story(&asked.id).unwrap());
        assert_eq!(told_of["what"], json!(["tag a", "tag b"]));
        let cdn = &told_of["tiers"]["cdn"][0];
        assert_eq!((&cdn["state"], &cdn["confirmed"]), (&json!("queued"), &json!(1)), "{told_of}");
        trail.cdn(0, 1, 2, &state(CdnStage::Failed));
        let told_of = told(&trail.story(&asked.id).unwrap());
        let cdn = &told_of["tiers"]["cdn"][0];
        assert_eq!((&cdn["state"], &cdn["confirmed"]), (&json!("failed"), &json!(1)), "{told_of}");
        let (stories, is_more) = trail.stories(None);
        assert_eq!((stories.len(), is_more), (2, false));
        assert_eq!(told(&stories[1])["by"], "application");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_cdn_waits_until_it_is_over_there() {
        let (cache, trail) = trail();
        let asked = Trail::ask("somebody");
        cache.purge(Purge::everything().asked(asked.clone())).await.unwrap();
        let early = trail.wait(&asked.id, Tier::Cdn, Duration::from_millis(1)).await;
        assert_eq!(told(&early.unwrap())["tiers"]["cdn"][0]["state"], "queued");
        let waits = trail.wait(&asked.id, Tier::Cdn, Duration::from_secs(600));
        let (waited, ()) = tokio::join!(waits, async {
            tokio::task::yield_now().await;
            trail.cdn(0, 1, 1, &state(CdnStage::Confirmed));
        });
        assert_eq!(told(&waited.unwrap())["tiers"]["cdn"][0]["state"], "confirmed");
    }

    #[tokio::test]
    async fn every_call_about_a_purge_is_told_and_of_too_many_how_many_there_were() {
        let (cache, trail) = trail();
        let asked = Trail::ask("somebody");
        for tag in ["a", "b", "c"] {
            cache.purge(Purge::tag(tag).asked(asked.clone())).await.unwrap();
        }
        let note = |from, to, batch: &str, vendor_id: Option<&str>, stage| {
            let vendor_id = vendor_id.map(Arc::from);
            let state = CdnState { batch: Some(batch.into()), vendor_id, ..state(stage) };
            trail.cdn(0, from, to, &state);
        };
        let calls = || {
            let story = told(&trail.story(&asked.id).unwrap());
            let cdn = &story["tiers"]["cdn"][0];
            let calls = cdn["calls"].as_array().cloned().unwrap_or_default();
            let words = |call: &Value| {
                let id = call["vendor_id"].as_str().unwrap_or("-");
                format!("{} {id} {} {}", call["batch"], call["state"], call["purges"])
                    .replace('"', "")
            };
            (calls.iter().map(words).collect::<Vec<_>>(), cdn["calls_left_out"].as_u64())
        };
        assert_eq!(calls(), (vec![], None));
        note(1, 3, "x-1", None, CdnStage::Sent);
        assert_eq!(calls().0, ["x-1 - sent 3"]);
        // The vendor calls each by a name of its own.
        for (number, id) in [(1, "v1"), (2, "v2"), (3, "v3")] {
            note(number, number, "x-1", Some(id), CdnStage::Sent);
        }
        note(2, 3, "x-2", Some("v4"), CdnStage::Confirmed);
        note(1, 1, "x-3", Some("v5"), CdnStage::Sent);
        note(1, 1, "x-3", None, CdnStage::Failed);
        assert_eq!(
            calls().0,
            [
                "x-1 v1 sent 1",
                "x-3 v5 failed 1",
                "x-1 v2 sent 1",
                "x-2 v4 confirmed 2",
                "x-1 v3 sent 1"
            ]
        );
        assert_eq!(calls().1, None);
        let other = Trail::ask("another");
        cache.purge(Purge::tag("d").asked(other.clone())).await.unwrap();
        for call in 0..CALLS_OF_ONE + 5 {
            note(4, 4, &format!("y-{call}"), None, CdnStage::Sent);
        }
        let story = told(&trail.story(&other.id).unwrap());
        let cdn = &story["tiers"]["cdn"][0];
        assert_eq!(cdn["calls"].as_array().unwrap().len(), CALLS_OF_ONE);
        assert_eq!(cdn["calls_left_out"], 5);
        // One of many is told shortly.
        let (stories, _) = trail.stories(None);
        let cdn = &told(&stories[1])["tiers"]["cdn"][0];
        assert_eq!(cdn["calls"].as_array().unwrap().len(), CALLS_OF_MANY);
        assert_eq!(cdn["calls_left_out"], 5 + CALLS_OF_ONE - CALLS_OF_MANY);
        assert_eq!(cdn["calls"][CALLS_OF_MANY - 1]["batch"], format!("y-{}", CALLS_OF_ONE + 4));
    }

    #[tokio::test]
    async fn what_is_not_on_disk_is_said_in_its_receipt() {
        struct Full;
        impl Keeper for Full {
            fn kept(&self) -> BoxFuture<'_, Result<(), Arc<str>>> {
                Box::pin(async { Err("no space left".into()) })
            }
        }
        let (cache, trail) = trail();
        let asked = Trail::ask("somebody");
        cache.purge(Purge::tag("a").asked(asked.clone())).await.unwrap();
        trail.kept(&asked.id).await;
        assert!(told(&trail.story(&asked.id).unwrap()).get("not_on_disk").is_none());
        trail.kept_by(Arc::new(Full));
        trail.kept(&asked.id).await;
        assert_eq!(told(&trail.story(&asked.id).unwrap())["not_on_disk"], "no space left");
    }

    #[test]
    fn of_many_changes_each_is_told_whatever_comes_between() {
        let (cache, trail) = trail();
        let count = 120;
        (0..count).for_each(|number| cache.purge_tag(&format!("{number}")));
        let (mut seen, mut told_of) = (0, HashSet::new());
        for round in 0..4 {
            let (stories, last) = trail.changed_since(seen, 50);
            assert_eq!(stories.len(), [50, 50, 20, 0][round]);
            told_of.extend(stories.into_iter().map(|story| story.id));
            seen = last;
        }
        assert_eq!(told_of.len(), count);
        // All of them at once, while somebody listens.
        let changing = std::thread::scope(|scope| {
            let changes = scope.spawn(|| {
                for number in 1..=count as u64 {
                    trail.cdn(0, number, number, &state(CdnStage::Sent));
                    trail.cdn(0, number, number, &state(CdnStage::Confirmed));
                }
            });
            let mut last_states = HashMap::new();
            loop {
                let is_over = changes.is_finished();
                let (stories, last) = trail.changed_since(seen, 7);
                for story in &stories {
                    let state = told(story)["tiers"]["cdn"][0]["state"].to_string();
                    last_states.insert(story.id.clone(), state);
                }
                seen = last;
                if is_over && stories.is_empty() {
                    return last_states;
                }
            }
        });
        assert_eq!(changing.len(), count);
        assert!(changing.values().all(|state| state == "\"confirmed\""), "{changing:?}");
    }

    #[test]
    fn the_oldest_are_forgotten_whatever_they_are_called() {
        let (cache, trail) = trail();
        for number in 0..MOST + 10 {
            cache.purge_tag(&format!("{number}"));
        }
        let records = trail.lock();
        assert_eq!((records.all.len(), records.by_id.len()), (MOST, MOST));
        assert_eq!(records.forgotten, 10);
        let bytes: usize = records.all.values().map(Record::bytes).sum();
        assert_eq!(records.bytes, bytes);
    }

    #[test]
    fn long_names_make_room_sooner() {
        let (cache, trail) = trail();
        let reason: Option<Arc<str>> = Some("x".repeat(1 << 20).into());
        for number in 1..=100 {
            cache.purge_tag("a");
            let state = CdnState { reason: reason.clone(), ..state(CdnStage::Queued) };
            trail.cdn(0, number, number, &state);
        }
        let records = trail.lock();
        assert!(records.bytes <= MOST_BYTES + (1 << 20), "{}", records.bytes);
        let bytes: usize = records.all.values().map(Record::bytes).sum();
        assert_eq!(records.bytes, bytes);
    }
}
