//! Model: a plain map with times, and what each step must come to. Time is in seconds.

use std::collections::HashMap;

use crate::steps::{Choice, Keep, Key, Mode, Put, Windows, name, prefix};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) number: u64,
    pub(crate) heap_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) windows: Windows,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) negative_secs: u64,
    pub(crate) idle_secs: Option<u64>,
}

/// What is stored under a key is good for this now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Fresh {
        left: u64,
    },
    StaleWhileRevalidate {
        stale: u64,
    },
    StaleIfError {
        stale: u64,
    },
    /// Also if it was purged by a tag.
    Expired,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stale_served: u64,
    pub(crate) negative_hits: u64,
    pub(crate) loads: u64,
    pub(crate) fetch_failures: u64,
    pub(crate) refreshes: u64,
    pub(crate) held_back: u64,
    pub(crate) purges: u64,
}

struct Entry {
    value: Value,
    fetched: u64,
    /// When it was last read.
    read: u64,
    windows: Windows,
    tags: u8,
    fence: u64,
}

/// The purges of one tag.
#[derive(Default)]
struct Record {
    hard: u64,
    soft: Vec<(u64, u64)>,
}

impl Record {
    fn purge(&mut self, mode: Mode, number: u64, now: u64) {
        match mode {
            Mode::Hard => self.hard = number,
            Mode::Soft => {
                self.soft.push((number, now));
                // Of more than four, the oldest two count as one that reaches what either did.
                if self.soft.len() > 4 {
                    self.soft[1].1 = self.soft[0].1;
                    self.soft.remove(0);
                }
            }
        }
    }
}

/// A fetch under way.
pub(crate) struct Flight {
    pub(crate) key: Key,
    is_refresh: bool,
    /// Its reader may be given what is stale.
    has_stale: bool,
    fence: u64,
    is_revoked: bool,
    /// A purge of its key has come.
    is_overtaken: bool,
}

/// What becomes of a reader.
pub(crate) enum Asked {
    At(Answer),
    /// Given what there is; the fetch goes on behind.
    Refreshing(Answer, Flight),
    Waiting(Flight),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Hit(Value),
    Stale(Value),
    Fetched(Value),
    Failed,
    Remembered,
}

pub(crate) struct Model {
    settings: Settings,
    now: u64,
    entries: HashMap<Key, Entry>,
    /// Until when an error is remembered.
    errors: HashMap<Key, u64>,
    /// Failed refreshes in a row, until when the next one waits, and the purges before the last began.
    failures: HashMap<Key, (u32, u64, u64)>,
    purges: u64,
    tags: HashMap<u8, Record>,
    everything: Record,
    under_way: Option<Flight>,
    pub(crate) counts: Counts,
}

impl Model {
    pub(crate) fn new(settings: Settings) -> Model {
        Model {
            settings,
            now: 0,
            entries: HashMap::new(),
            errors: HashMap::new(),
            failures: HashMap::new(),
            purges: 0,
            tags: HashMap::new(),
            everything: Record::default(),
            under_way: None,
            counts: Counts::default(),
        }
    }

    pub(crate) fn default_windows(&self) -> Windows {
        self.settings.windows
    }

    pub(crate) fn advance(&mut self, secs: u64) {
        self.now += secs;
    }

    /// What is stored under `key`, and what it is good for.
    pub(crate) fn look(&self, key: Key) -> Option<(Value, State)> {
        let entry = self.entries.get(&key)?;
        if self.settings.idle_secs.is_some_and(|idle| self.now >= entry.read + idle) {
            return Some((entry.value, State::Expired));
        }
        let stale_since = match self.marked(entry.tags, entry.fence) {
            None => return Some((entry.value, State::Expired)),
            Some(marked) => (entry.fetched + entry.windows.ttl).min(marked),
        };
        let state = if self.now < stale_since {
            State::Fresh { left: stale_since.min(entry.fetched + entry.windows.ttl) - self.now }
        } else {
            let stale = self.now - stale_since;
            if stale < entry.windows.revalidate {
                State::StaleWhileRevalidate { stale }
            } else if stale < entry.windows.rescue {
                State::StaleIfError { stale }
            } else {
                State::Expired
            }
        };
        Some((entry.value, state))
    }

    /// Since when something with these tags from before `fence` is stale by a purge; nothing if it is
    /// gone.
    fn marked(&self, tags: u8, fence: u64) -> Option<u64> {
        let named = self.tags.iter().filter(|(tag, _)| tags & (1 << **tag) != 0);
        let mut marked = u64::MAX;
        for record in named.map(|(_, record)| record).chain([&self.everything]) {
            if record.hard > fence {
                return None;
            }
            let first = record.soft.iter().find(|(number, _)| *number > fence);
            marked = marked.min(first.map_or(u64::MAX, |&(_, at)| at));
        }
        Some(marked)
    }

    /// The same for a reader.
    fn read(&mut self, key: Key) -> Option<(Value, State)> {
        let found = self.look(key)?;
        if found.1 != State::Expired
            && let Some(entry) = self.entries.get_mut(&key)
        {
            entry.read = self.now;
        }
        Some(found)
    }

    /// What is fresh.
    pub(crate) fn fresh(&self, key: Key) -> Option<Value> {
        let is_fresh = |found: &(Value, State)| matches!(found.1, State::Fresh { .. });
        self.look(key).filter(is_fresh).map(|(value, _)| value)
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<Value> {
        match self.read(key) {
            Some((value, State::Fresh { .. })) => {
                self.counts.hits += 1;
                Some(value)
            }
            _ => {
                self.counts.misses += 1;
                None
            }
        }
    }

    pub(crate) fn insert(&mut self, key: Key, value: Value, put: &Put) {
        self.forget(|other| other == key);
        if !self.store(key, value, put, self.purges) {
            self.entries.remove(&key);
        }
    }

    fn store(&mut self, key: Key, value: Value, put: &Put, fence: u64) -> bool {
        let windows = match put.keep {
            Keep::AsTheCacheSays => self.settings.windows,
            Keep::For(windows) => windows,
            Keep::Not => return false,
        };
        let is_kept = windows.ttl + windows.revalidate.max(windows.rescue) > 0
            && self.marked(put.tags, fence).is_some();
        if is_kept {
            let (tags, fetched) = (put.tags, self.now);
            let read = self.now;
            self.entries.insert(key, Entry { value, fetched, read, windows, tags, fence });
        }
        is_kept
    }

    /// Flights, errors and failed refreshes of the keys so named no longer count.
    fn forget(&mut self, is_named: impl Fn(Key) -> bool) {
        if let Some(flight) = &mut self.under_way {
            flight.is_revoked |= is_named(flight.key);
        }
        self.errors.retain(|&key, _| !is_named(key));
        self.failures.retain(|&key, _| !is_named(key));
    }

    /// What a refresh brings that began before a purge does not count, nor that it brings nothing.
    fn overtake(&mut self, is_named: impl Fn(Key) -> bool) {
        if let Some(flight) = &mut self.under_way {
            flight.is_overtaken |= is_named(flight.key);
        }
    }

    /// True if something was there that could still be served.
    pub(crate) fn remove(&mut self, key: Key, mode: Mode) -> bool {
        self.counts.purges += 1;
        self.forget(|other| other == key);
        self.overtake(|other| other == key);
        self.purge_where(|other| other == key, mode) > 0
    }

    pub(crate) fn take(&mut self, key: Key) -> Option<Value> {
        let value = self.fresh(key);
        self.remove(key, Mode::Hard);
        value
    }

    pub(crate) fn touch(&mut self, key: Key, secs: u64) -> bool {
        let is_fresh = self.fresh(key).is_some();
        if let Some(entry) = self.entries.get_mut(&key).filter(|_| is_fresh) {
            entry.windows.ttl = self.now - entry.fetched + secs;
            entry.read = self.now;
        }
        is_fresh
    }

    pub(crate) fn compute(&mut self, key: Key, value: Value, choice: &Choice) {
        match choice {
            Choice::Keep => {}
            Choice::Store(put) => self.insert(key, value, put),
            Choice::Remove => _ = self.remove(key, Mode::Hard),
        }
    }

    /// How many went.
    pub(crate) fn retain_local(&mut self, bits: u8) -> usize {
        let gone: Vec<Key> = self.entries.keys().copied().collect();
        let gone: Vec<Key> =
            gone.into_iter().filter(|&key| bits & (1 << key) != 0 && !self.is_over(key)).collect();
        self.entries.retain(|key, _| !gone.contains(key));
        gone.len()
    }

    pub(crate) fn purge_prefix(&mut self, number: u8, mode: Mode) -> usize {
        self.counts.purges += 1;
        let is_named = |key: Key| name(key).starts_with(prefix(number));
        self.forget(is_named);
        // Which keys are named is not looked for.
        self.failures.clear();
        self.overtake(|_| true);
        self.purge_where(is_named, mode)
    }

    /// Counts those that could still be served.
    fn purge_where(&mut self, is_named: impl Fn(Key) -> bool, mode: Mode) -> usize {
        let named: Vec<Key> = self.entries.keys().copied().filter(|&key| is_named(key)).collect();
        let of_use = named.iter().filter(|&&key| !self.is_over(key)).count();
        match mode {
            Mode::Hard => self.entries.retain(|&key, _| !is_named(key)),
            Mode::Soft => {
                for entry in self.entries.iter_mut().filter(|(key, _)| named.contains(key)) {
                    let (_, entry) = entry;
                    entry.windows.ttl = entry.windows.ttl.min(self.now - entry.fetched);
                }
            }
        }
        of_use
    }

    /// Whether what is under `key`, if anything is, can no longer be served.
    pub(crate) fn is_over(&self, key: Key) -> bool {
        self.look(key).is_none_or(|(_, state)| state == State::Expired)
    }

    pub(crate) fn clear(&mut self, mode: Mode) -> usize {
        self.counts.purges += 1;
        self.forget(|_| true);
        self.overtake(|_| true);
        match mode {
            Mode::Hard => self.purge_where(|_| true, mode),
            Mode::Soft => {
                self.purges += 1;
                self.everything.purge(mode, self.purges, self.now);
                0
            }
        }
    }

    pub(crate) fn purge_tag(&mut self, tag: u8, mode: Mode) {
        self.counts.purges += 1;
        self.purges += 1;
        self.tags.entry(tag).or_default().purge(mode, self.purges, self.now);
        self.errors.clear();
    }

    /// How many entries and errors go.
    pub(crate) fn sweep(&mut self) -> usize {
        let (now, before) = (self.now, self.held());
        let over: Vec<Key> =
            self.entries.keys().copied().filter(|&key| self.is_over(key)).collect();
        self.entries.retain(|key, _| !over.contains(key));
        self.errors.retain(|_, until| *until > now);
        before - self.held()
    }

    pub(crate) fn held(&self) -> usize {
        self.entries.len() + self.errors.len()
    }

    /// The cache had no room for what is under `key`.
    pub(crate) fn evict(&mut self, key: Key) {
        self.entries.remove(&key);
    }

    pub(crate) fn ask(&mut self, key: Key) -> Asked {
        match self.read(key) {
            Some((value, State::Fresh { .. })) => {
                self.counts.hits += 1;
                let entry = &self.entries[&key];
                let age = (self.now - entry.fetched) as f64;
                let is_aging = self
                    .settings
                    .refresh_ahead
                    .is_some_and(|fraction| age >= entry.windows.ttl as f64 * fraction);
                if is_aging {
                    self.refresh(key, Answer::Hit(value))
                } else {
                    Asked::At(Answer::Hit(value))
                }
            }
            Some((value, State::StaleWhileRevalidate { .. })) => {
                self.counts.stale_served += 1;
                self.refresh(key, Answer::Stale(value))
            }
            Some((value, State::StaleIfError { .. })) if self.remembers_error(key) => {
                self.counts.stale_served += 1;
                Asked::At(Answer::Stale(value))
            }
            _ if self.remembers_error(key) => {
                self.counts.negative_hits += 1;
                Asked::At(Answer::Remembered)
            }
            found => {
                self.counts.misses += 1;
                let has_stale = matches!(found, Some((_, State::StaleIfError { .. })));
                Asked::Waiting(self.fly(key, false, has_stale))
            }
        }
    }

    fn refresh(&mut self, key: Key, answer: Answer) -> Asked {
        if self.remembers_error(key) {
            return Asked::At(answer);
        }
        if let Some(&(_, until, fence)) = self.failures.get(&key) {
            let tags = self.entries[&key].tags;
            if self.marked(tags, fence) != Some(u64::MAX) {
                self.failures.remove(&key);
            } else if self.now < until {
                self.counts.held_back += 1;
                return Asked::At(answer);
            }
        }
        self.counts.refreshes += 1;
        Asked::Refreshing(answer, self.fly(key, true, true))
    }

    fn fly(&mut self, key: Key, is_refresh: bool, has_stale: bool) -> Flight {
        self.counts.loads += 1;
        Flight {
            key,
            is_refresh,
            has_stale,
            fence: self.purges,
            is_revoked: false,
            is_overtaken: false,
        }
    }

    fn remembers_error(&self, key: Key) -> bool {
        self.errors.get(&key).is_some_and(|until| self.now < *until)
    }

    /// From here until it lands, purges and inserts may revoke it.
    pub(crate) fn begin(&mut self, flight: Flight) {
        self.under_way = Some(flight);
    }

    /// The fetch under way ends; what its reader, if it waits, is given.
    pub(crate) fn land(&mut self, value: Value, reply: Option<&Put>) -> Answer {
        let flight = self.under_way.take().expect("a flight is under way");
        let key = flight.key;
        if let Some(put) = reply {
            if !flight.is_revoked {
                self.store(key, value, put, flight.fence);
            }
            self.failures.remove(&key);
            self.errors.remove(&key);
            return Answer::Fetched(value);
        }
        self.counts.fetch_failures += 1;
        if self.settings.negative_secs > 0 && !flight.is_revoked && flight.fence == self.purges {
            self.errors.insert(key, self.now + self.settings.negative_secs);
        }
        if flight.is_refresh && flight.is_overtaken {
            return Answer::Failed;
        }
        if flight.is_refresh {
            let in_a_row = self.failures.get(&key).map_or(0, |(failures, ..)| *failures) + 1;
            let delay = (1_u64 << (in_a_row - 1).min(10)).min(30);
            self.failures.insert(key, (in_a_row, self.now + delay, flight.fence));
            return Answer::Failed;
        }
        let found = if flight.has_stale { self.read(key) } else { None };
        match found {
            Some((value, State::Fresh { .. })) => Answer::Hit(value),
            Some((value, State::StaleWhileRevalidate { .. } | State::StaleIfError { .. })) => {
                self.counts.stale_served += 1;
                Answer::Stale(value)
            }
            Some((_, State::Expired)) | None => Answer::Failed,
        }
    }
}
