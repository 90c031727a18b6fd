//! List: all that is stored, looked over for the first entries of an order, and for what a purge would touch.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashSet},
    ops::ControlFlow,
    time::{Instant, SystemTime},
};

use super::{Engine, purge::Named};
use crate::{
    clock::Moment,
    gone::{GoneLimits, GoneRing, Times},
    listing::{Freshness, Heat, Held, HeldState, ListQuery, Listed, Order, Place, Touched},
    purge::{Glob, Scope, judge::Judge, last::PurgeState, tags::TagId},
    tier::memory::{SLOTS_PER_HOLD, Seen, Visitor},
};

/// What a scope names, as it is stored.
pub(crate) enum Selector {
    Keys(HashSet<String>),
    Prefixes(Vec<String>),
    Globs(Vec<Glob>),
    Tags(Vec<TagId>),
    Everything,
}

impl Selector {
    fn selects(&self, key: &str, tags: &[TagId]) -> bool {
        match self {
            Selector::Keys(keys) => keys.contains(key),
            Selector::Prefixes(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
            Selector::Globs(globs) => Named::Globs(globs).names(key),
            Selector::Tags(wanted) => tags.iter().any(|tag| wanted.contains(tag)),
            Selector::Everything => true,
        }
    }
}

/// Until when a value is fresh, given its key and what its entry's own lifetime says.
type FreshUntil<'a, V> = dyn Fn(&str, &V, Moment) -> u64 + 'a;

/// What the rank of an entry depends on beside what every cache knows.
pub(crate) struct Beyond<'a, V> {
    /// Under no lock: whether a key is wanted.
    pub(crate) is_wanted: Option<&'a dyn Fn(&str) -> bool>,
    /// Under no lock: when its freshness ends, where that is not what the entry's own lifetime says.
    /// It is given what the entry's own says.
    pub(crate) fresh_until: Option<&'a FreshUntil<'a, V>>,
}

/// The first entries of an order.
struct First<'a, V> {
    query: &'a ListQuery,
    selectors: &'a [Selector],
    beyond: Beyond<'a, V>,
    times: Times,
    /// What was taken in one hold: keys one after the other, and where each ends.
    keys: String,
    taken: Vec<Taken>,
    values: Vec<V>,
    /// The first so far, the last of them on top.
    kept: BinaryHeap<Place>,
    kept_bytes: usize,
    total: u64,
    bytes: u64,
    after: u64,
}

struct Taken {
    end: usize,
    rank: u64,
    fresh_until: Moment,
    bytes: usize,
}

/// What comes first is less.
fn rank<V>(order: Order, seen: &Seen<'_, V>, times: &Times) -> u64 {
    let entry = seen.entry;
    match order {
        Order::Key => 0,
        Order::Bytes => u64::MAX - seen.bytes as u64,
        Order::Age => times.nanos_at(entry.fetched()),
        Order::Heat => u64::from(u8::MAX - seen.marks),
        Order::Cost => u64::MAX - entry.cost_micros(),
        Order::Expires => times.nanos_at(entry.fresh_until()),
    }
}

impl<V: Clone> Visitor<V> for First<'_, V> {
    fn take(&mut self, seen: Seen<'_, V>) -> usize {
        let tags = seen.entry.tags();
        let cost = 1 + if self.selectors.is_empty() { 0 } else { tags.len() };
        if !self.selectors.iter().all(|selector| selector.selects(seen.key, tags)) {
            return cost;
        }
        let rank = rank(self.query.order, &seen, &self.times);
        let is_certain = self.beyond.is_wanted.is_none() && self.beyond.fresh_until.is_none();
        if is_certain && self.is_too_late(rank, seen.key) {
            self.count(seen.bytes, rank, seen.key);
            return cost;
        }
        self.keys.push_str(seen.key);
        let (end, fresh_until) = (self.keys.len(), seen.entry.fresh_until());
        self.taken.push(Taken { end, rank, fresh_until, bytes: seen.bytes });
        if self.beyond.fresh_until.is_some() {
            self.values.push(seen.entry.value.clone());
        }
        cost
    }

    fn digest(&mut self) -> ControlFlow<()> {
        let (keys, mut taken) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.taken));
        let mut values = std::mem::take(&mut self.values);
        let (mut begin, mut nth) = (0, 0);
        for Taken { end, mut rank, fresh_until: of_entry, bytes } in taken.drain(..) {
            let key = &keys[begin..end];
            (begin, nth) = (end, nth + 1);
            if self.beyond.is_wanted.is_some_and(|is_wanted| !is_wanted(key)) {
                continue;
            }
            if let Some(fresh_until) = self.beyond.fresh_until {
                rank = fresh_until(key, &values[nth - 1], of_entry);
            }
            self.count(bytes, rank, key);
            self.offer(rank, key);
        }
        values.clear();
        // They keep their room, so that little grows under a lock.
        (self.keys, self.taken, self.values) = (keys, taken, values);
        self.keys.clear();
        match self.query.until.is_some_and(|until| Instant::now() >= until) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl<V> First<'_, V> {
    fn count(&mut self, bytes: usize, rank: u64, key: &str) {
        self.total += 1;
        self.bytes += bytes as u64;
        self.after += u64::from(self.is_after(rank, key));
    }

    fn is_after(&self, rank: u64, key: &str) -> bool {
        let Some(after) = &self.query.after else { return true };
        match (rank, key).cmp(&(after.rank, after.key.as_str())) {
            Ordering::Less => false,
            Ordering::Equal => self.query.is_inclusive,
            Ordering::Greater => true,
        }
    }

    /// Whether as many come before it as there is room for.
    fn is_too_late(&self, rank: u64, key: &str) -> bool {
        let is_full =
            self.kept.len() >= self.query.most || self.kept_bytes >= self.query.most_bytes;
        let last = self.kept.peek();
        is_full && last.is_none_or(|last| (rank, key) > (last.rank, last.key.as_str()))
    }

    fn offer(&mut self, rank: u64, key: &str) {
        if !self.is_after(rank, key) || self.is_too_late(rank, key) {
            return;
        }
        self.kept_bytes += key.len();
        self.kept.push(Place { rank, key: key.to_owned() });
        while self.kept.len() > self.query.most
            || (self.kept_bytes > self.query.most_bytes && self.kept.len() > 1)
        {
            let Some(last) = self.kept.pop() else { break };
            self.kept_bytes -= last.key.len();
        }
    }
}

/// What a purge would touch.
struct Touching<'a> {
    selector: &'a Selector,
    judge: Judge<'a>,
    touched: Touched,
}

impl<V> Visitor<V> for Touching<'_> {
    fn take(&mut self, seen: Seen<'_, V>) -> usize {
        let is_named = self.selector.selects(seen.key, seen.entry.tags());
        if is_named && !self.judge.is_over(seen.entry) {
            self.touched.entries += 1;
            self.touched.bytes += seen.bytes as u64;
        }
        self.judge.effort(seen.entry) + seen.entry.tags().len()
    }

    fn digest(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<V> Engine<V> {
    /// Shows all that is stored to `visitor`.
    pub(crate) fn survey(&self, visitor: &mut impl Visitor<V>) -> ControlFlow<()> {
        self.memory.survey(visitor)
    }

    /// What a scope names that is stored under these names.
    pub(crate) fn selector(&self, scope: &Scope, names: Vec<String>, globs: Vec<Glob>) -> Selector {
        match scope {
            Scope::Key(_) => Selector::Keys(names.into_iter().collect()),
            Scope::Prefix(_) => Selector::Prefixes(names),
            Scope::Glob(_) => Selector::Globs(globs),
            Scope::Tag(tag) => Selector::Tags(self.tag_ids([tag.as_str()]).into()),
            Scope::Everything => Selector::Everything,
        }
    }

    /// What any of these name that is stored under these names.
    pub(crate) fn any_of(&self, selectors: Vec<Selector>) -> Selector {
        let mut all = Selector::Keys(HashSet::new());
        for selector in selectors {
            match (&mut all, selector) {
                (Selector::Keys(keys), Selector::Keys(others)) => keys.extend(others),
                (Selector::Tags(tags), Selector::Tags(others)) => tags.extend(others),
                (all, other) => *all = other,
            }
        }
        all
    }

    /// The first entries of an order that are selected by each of `selectors`.
    pub(crate) fn list(
        &self,
        query: &ListQuery,
        selectors: &[Selector],
        beyond: Beyond<'_, V>,
    ) -> Listed
    where
        V: Clone,
    {
        let began = SystemTime::now();
        let mut first = First {
            query,
            selectors,
            beyond,
            times: self.times,
            keys: String::with_capacity(4 << 10),
            taken: Vec::with_capacity(SLOTS_PER_HOLD),
            values: Vec::new(),
            kept: BinaryHeap::new(),
            kept_bytes: 0,
            total: 0,
            bytes: 0,
            after: 0,
        };
        let is_complete = self.survey(&mut first).is_continue();
        let First { kept, total, bytes, after, .. } = first;
        let rows = kept.into_sorted_vec();
        let beyond = after.saturating_sub(rows.len() as u64);
        Listed { rows, total, bytes, beyond, is_complete, began }
    }

    /// How many entries that can still be served a purge of these would touch.
    pub(crate) fn would_touch(&self, selector: &Selector) -> Touched {
        let judge = self.judge_now();
        let mut touching = Touching { selector, judge, touched: Touched::default() };
        if let Selector::Keys(keys) = selector {
            for key in keys {
                self.memory.see(key, |seen| touching.take(seen));
            }
            return touching.touched;
        }
        // It goes to the end: nothing breaks it off.
        _ = self.survey(&mut touching);
        touching.touched
    }

    /// What is stored under `key`, and what `of_value` makes of its value, which is the cache's own code.
    pub(crate) fn held<R>(&self, key: &str, of_value: impl FnOnce(&V) -> R) -> Option<(Held, R)> {
        let now = self.clock.now();
        let (mut held, tags, of_value) = self.memory.see(key, |seen| {
            let held = self.held_of(&seen, now);
            (held, Box::<[TagId]>::from(seen.entry.tags()), of_value(&seen.entry.value))
        })?;
        let known = self.tag_names.get();
        let name = |tag: &TagId| {
            known.and_then(|names| names.find(*tag)).unwrap_or_else(|| tag.to_string())
        };
        held.tags = tags.iter().map(name).collect();
        held.tags.sort_unstable();
        Some((held, of_value))
    }

    fn held_of(&self, seen: &Seen<'_, V>, now: Moment) -> Held {
        let entry = seen.entry;
        let (age, lifetime) = (entry.age(now), entry.lifetime());
        let freshness = Freshness::of(lifetime.ttl(), age);
        let purged = self.purges.state(entry.tags(), entry.fence());
        let (state, freshness) = match purged {
            PurgeState::Untouched => (state_of(entry.freshness(now)), freshness),
            PurgeState::MarkedStale(at) => (
                state_of(entry.freshness_marked_stale(now, at)),
                freshness.marked_stale(now.since(at)),
            ),
            PurgeState::Purged => (HeldState::Purged, freshness),
        };
        Held {
            key: seen.key.to_owned(),
            bytes: seen.bytes as u64,
            age,
            state,
            freshness,
            stale_while_revalidate: lifetime.revalidate_window(),
            stale_if_error: lifetime.rescue_window(),
            tags: Vec::new(),
            cost: entry.cost(),
            heat: Heat::of(seen.marks),
            variants: 1,
        }
    }

    /// From now on it is written down which keys go.
    pub(crate) fn remember_gone(&self, limits: GoneLimits) {
        self.memory.remember_gone(|| GoneRing::new(limits, &self.clock));
    }

    /// Where that is written down, if it is.
    pub(crate) fn gone(&self) -> Option<&GoneRing> {
        self.memory.gone().map(AsRef::as_ref)
    }
}

pub(crate) fn state_of(freshness: crate::Freshness) -> HeldState {
    match freshness {
        crate::Freshness::Fresh { .. } => HeldState::Fresh,
        crate::Freshness::StaleWhileRevalidate { .. } => HeldState::StaleUsable,
        crate::Freshness::StaleIfError { .. } => HeldState::Rescue,
        crate::Freshness::Expired => HeldState::Over,
    }
}
