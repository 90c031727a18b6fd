//! Outbox: what is not done at every CDN, in memory and in the file, and what becomes of it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use larder::{MadePurge, Mode, Purge, PurgeFollower, Scope, http::HttpCache, journal::Journal};
use larder_admin::trail::{CdnStage, CdnState, Keeper, Trail};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Cdn, Inside, MOST_BYTES, MOST_PURGES,
    driver::{What, Wish},
    fleet::FIRST_OF_LIST,
    kept::{self, Kept},
    queue::{self, Change, State},
    repeat::{self, Name},
};

/// Whoever waits for a disk that hangs waits no longer.
const DISK: Duration = Duration::from_secs(1);
/// Where another process has the file, it is looked so often whether it is back.
const LOOK_FOR_FILE: Duration = Duration::from_secs(1);

/// What is not done at every CDN.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) bytes: usize,
    /// To be handed out, and since when.
    pub(super) fresh: Vec<(u64, Instant)>,
    pub(super) journal: Option<Journal>,
    /// The number of the last entry, …
    pub(super) last: u64,
    /// … and of the last before the file was given up.
    pub(super) given_up: u64,
}

pub(super) struct Open {
    /// At which CDNs, a bit for each.
    pub(super) at: u32,
    /// It stands for all from this one on.
    pub(super) from: u64,
    /// Its number in the file.
    pub(super) entry: u64,
    pub(super) bytes: usize,
    /// What stands there, where it is to be put on a list as well.
    pub(super) kept: Arc<[u8]>,
    /// Of what stands there.
    pub(super) name: Name,
}

/// Makes what an earlier process has left once more, from the inside out: what lies below may not have had it either. Calls
/// whose end that process did not know are made again as they were.
pub(super) async fn again(
    inside: Arc<Inside>,
    cache: HttpCache,
    left: Vec<(u64, Vec<u8>)>,
    is_damaged: bool,
) {
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
    let left: Vec<_> =
        left.into_iter().map(|(entry, bytes)| (Some(entry), kept::decode(&bytes))).collect();
    inside.tell_of_gone(left.iter().flat_map(|(_, kept)| &kept.cdns));
    for (entry, Kept { asked, scopes, mode, cdns: _ }) in damaged.into_iter().chain(left) {
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

/// Tells when the file is not written any more, and when it is again. Until its task is dropped.
pub(super) async fn watch_file(inside: Arc<Inside>) {
    loop {
        let written = inside.outbox().journal.as_ref().map(Journal::written);
        if let Some(mut written) = written {
            let (mut is_failing, mut is_there) = (false, true);
            // It ends with the journal, which another process may have for a while.
            while is_there {
                let failure = written.borrow_and_update().failure.clone();
                let failed = std::mem::replace(&mut is_failing, failure.is_some());
                match failure {
                    Some(why) if !failed => tracing::warn!(
                        "the journal is not on disk: until it is, purges that wait for CDNs are in memory alone ({why})"
                    ),
                    None if failed => {
                        inside.trail.all_kept();
                        tracing::info!("the journal is on disk again");
                    }
                    Some(_) | None => {}
                }
                is_there = written.changed().await.is_ok();
            }
        }
        sleep(LOOK_FOR_FILE).await;
    }
}

impl PurgeFollower for Inside {
    fn purged(&self, purge: &MadePurge) {
        let now = Instant::now();
        let mut outbox = self.outbox();
        let (number, asked) = self.trail.add(purge);
        if !self.cdns.is_empty() {
            let mut bytes = kept::encode(&purge.scopes, purge.mode, &asked);
            let name = repeat::name(&bytes);
            let mut at = 0;
            for (place, cdn) in self.cdns.iter().enumerate() {
                if self.fleet.is_none() {
                    let of = (&*purge.scopes, purge.mode);
                    let wishes = cdn.config.wishes(of, self.tells_tags.load(Relaxed));
                    let mut queue = cdn.queue();
                    queue.enter(number, wishes, now);
                    queue.know(number, &name);
                    if cdn.config.driver.tells_others() {
                        queue.came_by(number, &asked.came_by);
                    }
                }
                at |= 1_u32 << place;
            }
            outbox.last += 1;
            let entry = outbox.last;
            outbox.bytes += bytes.len();
            let kept = match self.fleet {
                Some(_) => bytes.clone().into(),
                None => {
                    kept::put_cdns(&mut bytes, self.names());
                    Arc::default()
                }
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
    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the CDNs are called.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.cdns.iter().map(|cdn| &*cdn.config.name)
    }

    /// What an earlier process has left was for these CDNs: who has taken one away hears that nobody tells it any more.
    fn tell_of_gone<'a>(&self, named: impl Iterator<Item = &'a String>) {
        let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
        for name in named.filter(|name| !self.names().any(|known| known == **name)) {
            *gone.entry(name).or_default() += 1;
        }
        for (cdn, purges) in gone {
            self.not_told.fetch_add(purges as u64, Relaxed);
            tracing::warn!(
                cdn,
                purges,
                "an earlier run has left purges that were for this CDN as well, and no [[cdn]] is called so any more: it is told of \
                 none that it had not confirmed"
            );
        }
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
    pub(super) fn keep_call(
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
    pub(super) fn enter_alone(&self, numbers: &[u64], now: Instant) {
        if self.fleet.is_none() {
            return;
        }
        let outbox = self.outbox();
        for number in numbers {
            let Some(open) = outbox.open.get(number) else { continue };
            let Kept { scopes, mode, asked, cdns: _ } = kept::decode(&open.kept);
            for (place, cdn) in self.cdns.iter().enumerate() {
                let mut queue = cdn.queue();
                if open.at & 1_u32 << place == 0 || queue.contains(*number) {
                    continue;
                }
                let wishes = cdn.config.wishes((&scopes, mode), self.tells_tags.load(Relaxed));
                queue.enter(*number, wishes, now);
                queue.know(*number, &open.name);
                queue.cover(*number, open.from);
                if cdn.config.driver.tells_others() {
                    queue.came_by(*number, &asked.came_by);
                }
            }
        }
    }

    fn replace(&self, outbox: &mut Outbox, number: u64, purge: &MadePurge) {
        let asked = purge.asked.clone().unwrap_or_else(|| Trail::ask("application"));
        let mut bytes = kept::encode(&[Scope::Everything], Mode::Hard, &asked);
        let name = repeat::name(&bytes);
        if self.fleet.is_none() {
            kept::put_cdns(&mut bytes, self.names());
        }
        outbox.last += 1;
        let (entry, length) = (outbox.last, bytes.len());
        let Some(open) = outbox.open.get_mut(&number) else { return };
        let before = std::mem::replace(&mut open.entry, entry);
        let freed = std::mem::replace(&mut open.bytes, length);
        open.name = name;
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
    pub(super) fn tell(&self, place: usize, outbox: &mut Outbox) {
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
    pub(super) fn changed(&self, place: usize, change: Change, outbox: &mut Outbox) {
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
    pub(super) fn release(&self, entries: &[u64]) {
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
    fn kept(&self) -> BoxFuture<'_, Result<(), Arc<str>>> {
        Box::pin(async move {
            let last = self.outbox().last;
            let Some(mut written) = self.outbox().journal.as_ref().map(Journal::written) else {
                return Ok(());
            };
            let is_over =
                written.wait_for(|written| written.to >= last || written.failure.is_some());
            let Ok(written) = timeout(DISK, is_over).await else {
                return Err("the disk takes longer than a second".into());
            };
            match written.as_deref().map(|written| (written.to >= last, written.failure.clone())) {
                Ok((false, Some(failure))) => Err(failure),
                // It is closed: another process has it.
                Ok(_) | Err(_) => Ok(()),
            }
        })
    }
}
