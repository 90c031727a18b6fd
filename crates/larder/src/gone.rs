//! Gone: which keys left memory of late, why and when, and by which purge: so that "why was this not a hit?" has an answer
//! after the entry is gone.
//!
//! It is told of an entry after that was taken out, under no lock, and never waits: while somebody else writes or reads it,
//! and once a second has brought as many keys as it holds, further ones are left out and counted. A hit does not know it.

use std::{collections::VecDeque, fmt, sync::PoisonError, time::SystemTime};

use crate::{
    clock::{Clock, Moment},
    purge::Mode,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    tier::memory::RemovalCause,
};

/// How much is remembered of keys that went ([`Cache::remember_gone`](crate::Cache::remember_gone)): of those that were purged,
/// and as much again of all others, so that no flood of evictions makes a purge forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoneLimits {
    /// So many keys at most; the oldest make room for the newest. Default 4096.
    pub keys: usize,
    /// So many bytes of keys at most. Default 1 MiB.
    pub bytes: usize,
}

impl Default for GoneLimits {
    fn default() -> Self {
        GoneLimits { keys: 4096, bytes: 1 << 20 }
    }
}

/// A key that left memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GoneKey {
    /// The key, as it was stored.
    pub key: String,
    /// Why it went.
    pub cause: GoneCause,
    /// When it was taken out. A purge by tag looks for no entry: one that it ended is taken out when it is swept or when
    /// room is needed, and until then it lies there and is served to nobody. When it was purged, `purge` says.
    pub at: SystemTime,
    /// Which purge, where one was the cause and is still remembered.
    pub purge: Option<GonePurge>,
}

/// Why a key left memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoneCause {
    /// A hard purge, or a closure that removed it.
    Purged,
    /// Others needed its room, or the bound became smaller.
    Evicted,
    /// It could no longer be served: its lifetime and its stale windows were over.
    Expired,
    /// Something newer came that is not stored itself. What was replaced by what is stored is not gone.
    Replaced,
    /// [`Cache::take`](crate::Cache::take) has handed it out.
    Taken,
}

impl GoneCause {
    /// All there are.
    pub const ALL: [GoneCause; 5] = [
        GoneCause::Purged,
        GoneCause::Evicted,
        GoneCause::Expired,
        GoneCause::Replaced,
        GoneCause::Taken,
    ];

    /// The word for it: `purged`, `evicted`, `expired`, `replaced` or `taken`.
    pub fn as_str(self) -> &'static str {
        match self {
            GoneCause::Purged => "purged",
            GoneCause::Evicted => "evicted",
            GoneCause::Expired => "expired",
            GoneCause::Replaced => "replaced",
            GoneCause::Taken => "taken",
        }
    }
}

impl fmt::Display for GoneCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RemovalCause> for GoneCause {
    fn from(cause: RemovalCause) -> GoneCause {
        match cause {
            RemovalCause::Purged => GoneCause::Purged,
            RemovalCause::Evicted | RemovalCause::Resized => GoneCause::Evicted,
            RemovalCause::Expired => GoneCause::Expired,
            RemovalCause::Replaced => GoneCause::Replaced,
            RemovalCause::Taken => GoneCause::Taken,
        }
    }
}

/// A purge by which something went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GonePurge {
    /// Its number in the log of purges.
    pub number: u64,
    /// What it named: `tag post:1`; of a long name, the beginning.
    pub what: String,
    /// What it left of that.
    pub mode: Mode,
    /// When it was made.
    pub at: SystemTime,
}

/// So many purges are remembered …
const PURGES: usize = 1024;
/// … and so many bytes of what each names.
const WHAT_BYTES: usize = 256;

/// The last keys that went, and the last purges.
pub(crate) struct GoneRing {
    limits: GoneLimits,
    times: Times,
    purged: Part,
    /// What went for any other reason.
    others: Part,
    /// Held to write down a purge, and to read.
    purges: Mutex<VecDeque<GonePurge>>,
    /// Of the next record, in the order of both parts.
    next: AtomicU64,
    left_out: AtomicU64,
}

/// Keys that went for reasons of one kind: a flood of one kind leaves the other alone.
struct Part {
    /// Held for a moment to write, by who finds it free; longer to read.
    keys: Mutex<Keys>,
    /// The second in which as many keys have come as it holds: those that follow are not looked at.
    full_second: AtomicU64,
}

#[derive(Default)]
struct Keys {
    /// The newest last.
    ring: VecDeque<Record>,
    bytes: usize,
    second: u64,
    in_second: usize,
}

struct Record {
    number: u64,
    key: Box<str>,
    cause: GoneCause,
    at: Moment,
    purge: Option<u64>,
}

/// The time of day at a moment of a cache's clock, which is always the same for one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    moment: Moment,
    time: SystemTime,
}

impl Times {
    pub(crate) fn of(clock: &Clock) -> Times {
        Times { moment: clock.now(), time: SystemTime::now() }
    }

    /// The same in nanoseconds since 1970.
    pub(crate) fn nanos_at(&self, moment: Moment) -> u64 {
        let since = self.at(moment).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What lies before all times is the earliest that can be told.
    pub(crate) fn at(&self, moment: Moment) -> SystemTime {
        let Times { moment: began, time } = *self;
        let told = match moment >= began {
            true => time.checked_add(moment.since(began)),
            false => time.checked_sub(began.since(moment)),
        };
        told.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl GoneRing {
    pub(crate) fn new(limits: GoneLimits, clock: &Clock) -> GoneRing {
        GoneRing {
            limits,
            times: Times::of(clock),
            purged: Part::new(),
            others: Part::new(),
            purges: Mutex::default(),
            next: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// `key` went at `at`; `purge` tells the number of the one by which it did. Never waits: it may be left out.
    pub(crate) fn note(
        &self,
        key: &str,
        cause: RemovalCause,
        at: Moment,
        purge: impl FnOnce() -> Option<u64>,
    ) {
        let second = at.next_second().into();
        let cause = GoneCause::from(cause);
        let part = if cause == GoneCause::Purged { &self.purged } else { &self.others };
        if part.full_second.load(Ordering::Relaxed) == second || key.len() > self.limits.bytes {
            return self.leave_out();
        }
        let Ok(mut keys) = part.keys.try_lock() else { return self.leave_out() };
        if keys.second != second {
            (keys.second, keys.in_second) = (second, 0);
        }
        keys.in_second += 1;
        if keys.in_second > self.limits.keys {
            drop(keys);
            part.full_second.store(second, Ordering::Relaxed);
            return self.leave_out();
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let record = Record { number, key: key.into(), cause, at, purge: purge() };
        let forgotten = keys.push(record, self.limits);
        drop(keys);
        // Whatever an allocator does with them, it does under no lock.
        drop(forgotten);
    }

    fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A purge was made.
    pub(crate) fn note_purge(&self, number: u64, what: &str, mode: Mode, at: Moment) {
        let what = what[..what.floor_char_boundary(WHAT_BYTES)].to_owned();
        let purge = GonePurge { number, what, mode, at: self.times.at(at) };
        let mut purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        if purges.len() == PURGES {
            purges.pop_front();
        }
        purges.push_back(purge);
    }

    /// The purge with this number, if it is still remembered.
    pub(crate) fn purge(&self, number: u64) -> Option<GonePurge> {
        let purges = self.purges.lock().unwrap_or_else(PoisonError::into_inner);
        purges.iter().rev().find(|purge| purge.number == number).cloned()
    }

    /// What became of `key` the last time that it went.
    pub(crate) fn find(&self, key: &str) -> Option<GoneKey> {
        self.newest(1, |gone| gone == key).pop()
    }

    /// Up to `most` of those `is_wanted`, the newest first.
    pub(crate) fn newest(&self, most: usize, is_wanted: impl Fn(&str) -> bool) -> Vec<GoneKey> {
        let mut records: Vec<_> = [&self.purged, &self.others]
            .into_iter()
            .flat_map(|part| part.newest(most, &is_wanted))
            .collect();
        records.sort_unstable_by_key(|(number, ..)| std::cmp::Reverse(*number));
        records.truncate(most);
        let told = records.into_iter().map(|(_, key, cause, at, purge)| {
            let purge = purge.and_then(|number| self.purge(number));
            GoneKey { key, cause, at: self.times.at(at), purge }
        });
        told.collect()
    }

    /// How many were not written down.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Part {
    fn new() -> Part {
        Part { keys: Mutex::default(), full_second: AtomicU64::new(u64::MAX) }
    }

    /// Up to `most` of those `is_wanted`, the newest first.
    fn newest(
        &self,
        most: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Vec<(u64, String, GoneCause, Moment, Option<u64>)> {
        let keys = self.keys();
        let wanted = keys.ring.iter().rev().filter(|record| is_wanted(&record.key)).take(most);
        let records = wanted.map(|Record { number, key, cause, at, purge }| {
            (*number, String::from(&**key), *cause, *at, *purge)
        });
        records.collect()
    }

    /// Whole after each step, so whoever panicked with it has left nothing half done.
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// What had to make room.
    fn push(&mut self, record: Record, limits: GoneLimits) -> Vec<Record> {
        self.bytes += record.key.len();
        self.ring.push_back(record);
        let mut forgotten = Vec::new();
        while (self.ring.len() > limits.keys || self.bytes > limits.bytes)
            && let Some(oldest) = self.ring.pop_front()
        {
            self.bytes -= oldest.key.len();
            forgotten.push(oldest);
        }
        forgotten
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::clock::ManualClock;

    fn ring(keys: usize, bytes: usize) -> (ManualClock, GoneRing) {
        let clock = ManualClock::new();
        let ring = GoneRing::new(GoneLimits { keys, bytes }, &clock.clock());
        (clock, ring)
    }

    fn note(ring: &GoneRing, clock: &ManualClock, key: &str, purge: Option<u64>) {
        ring.note(key, RemovalCause::Purged, clock.clock().now(), || purge);
    }

    fn keys(ring: &GoneRing) -> Vec<String> {
        ring.newest(usize::MAX, |_| true).into_iter().map(|gone| gone.key).collect()
    }

    #[test]
    fn the_newest_are_kept_within_both_bounds() {
        let (clock, ring) = ring(3, 10);
        for key in ["a", "bb", "ccc", "dddd", "eeeee"] {
            clock.advance(Duration::from_secs(1));
            note(&ring, &clock, key, None);
        }
        assert_eq!(keys(&ring), ["eeeee", "dddd"]);
        note(&ring, &clock, "longer than all together", None);
        assert_eq!((keys(&ring).len(), ring.left_out()), (2, 1));
        let none = GoneRing::new(GoneLimits { keys: 0, bytes: 0 }, &clock.clock());
        note(&none, &clock, "a", None);
        note(&none, &clock, "", None);
        assert_eq!((keys(&none).len(), none.left_out()), (0, 2));
    }

    #[test]
    fn a_key_is_told_with_its_purge_as_long_as_that_is_remembered() {
        let (clock, ring) = ring(10, 1000);
        ring.note_purge(7, &format!("tag {}", "x".repeat(1000)), Mode::Hard, clock.clock().now());
        note(&ring, &clock, "a", Some(7));
        note(&ring, &clock, "b", Some(8));
        let purge = ring.find("a").and_then(|gone| gone.purge).unwrap();
        assert_eq!((purge.number, purge.mode, purge.what.len()), (7, Mode::Hard, WHAT_BYTES));
        assert_eq!(ring.find("b").map(|gone| gone.purge), Some(None));
        assert_eq!(ring.find("c"), None);
        for number in 8..8 + PURGES as u64 {
            ring.note_purge(number, "everything", Mode::Soft, clock.clock().now());
        }
        assert_eq!(ring.find("a").map(|gone| gone.purge), Some(None));
        assert!(ring.find("b").unwrap().purge.is_some());
    }

    #[test]
    fn a_flood_of_one_second_takes_no_more_than_the_ring_holds_and_the_next_is_seen_again() {
        let (clock, ring) = ring(100, 1 << 20);
        clock.advance(Duration::from_millis(1500));
        (0..1000).for_each(|number| note(&ring, &clock, &format!("{number}"), None));
        assert_eq!((ring.left_out(), keys(&ring).first().unwrap().as_str()), (900, "99"));
        clock.advance(Duration::from_secs(1));
        note(&ring, &clock, "later", None);
        assert_eq!(keys(&ring)[0], "later");
    }

    #[test]
    fn a_flood_of_evictions_makes_no_purge_forgotten() {
        let (clock, ring) = ring(100, 1 << 20);
        ring.note_purge(7, "tag post:1", Mode::Hard, clock.clock().now());
        note(&ring, &clock, "purged", Some(7));
        for second in 0..5 {
            for number in 0..1000 {
                let key = format!("{second} {number}");
                ring.note(&key, RemovalCause::Evicted, clock.clock().now(), || None);
            }
            // Also within the second of the flood.
            note(&ring, &clock, &format!("later {second}"), None);
            clock.advance(Duration::from_secs(1));
        }
        let gone = ring.find("purged").unwrap();
        assert_eq!((gone.cause, gone.purge.unwrap().number), (GoneCause::Purged, 7));
        let newest = ring.newest(2, |_| true);
        assert_eq!((newest[0].key.as_str(), newest[1].cause), ("later 4", GoneCause::Evicted));
        assert_eq!(keys(&ring).len(), 100 + 6);
    }

    #[test]
    fn whoever_finds_it_busy_leaves_its_key_out_and_goes_on() {
        let (clock, ring) = ring(10, 1000);
        let held = ring.purged.keys();
        thread::scope(|threads| _ = threads.spawn(|| note(&ring, &clock, "a", None)).join());
        drop(held);
        assert_eq!((keys(&ring).len(), ring.left_out()), (0, 1));
    }

    #[test]
    fn a_moment_has_one_time_of_day_also_before_the_beginning() {
        let clock = ManualClock::new();
        let times = Times::of(&clock.clock());
        let now = clock.clock().now();
        let minute = Duration::from_secs(60);
        assert_eq!(times.at(now.plus(minute)), times.at(now) + minute);
        assert_eq!(times.at(now.minus(minute)), times.at(now) - minute);
        assert_eq!(times.at(now), times.at(now));
    }
}
