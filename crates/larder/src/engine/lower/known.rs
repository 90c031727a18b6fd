//! Known: what this process has read of the lower tier's log, and what that means for a record.
//!
//! What is not known is purged: a record of another log, one from before purges that were forgotten here, or
//! one whose fence lies beyond what has been read.

use std::collections::HashMap;

use crate::{
    clock::Moment,
    purge::{
        Mode, Scope,
        last::{LastPurges, PurgeState},
    },
    rules::Rule,
    tier::lower::{Folded, FoldedScope, LowerPurge, Position, Tail, bucket},
};

/// Keys whose last purges are remembered, and as many tags.
const MAX_NAMES: usize = 1 << 15;
/// The bytes of those names, and as many again.
const MAX_NAME_BYTES: usize = 8 << 20;
/// Each is looked at for each record.
const MAX_PREFIXES: usize = 256;

#[derive(Default)]
pub(super) struct Known {
    /// How far which log has been read.
    read: Option<Position>,
    /// Purges up to this number may have been forgotten here, or were never seen.
    floor: u64,
    keys: Names,
    tags: Names,
    prefixes: Vec<(String, LastPurges)>,
    everything: LastPurges,
}

/// The last purges of keys, or of tags.
#[derive(Default)]
struct Names {
    by_name: HashMap<String, LastPurges>,
    /// The bytes of these names.
    bytes: usize,
    /// Those whose names are forgotten, by their buckets.
    folded: HashMap<u16, LastPurges>,
}

impl Names {
    fn note(&mut self, name: &str, mode: Mode, number: u64, at: Moment) {
        match self.by_name.get_mut(name) {
            Some(last) => last.purge(mode, number, at),
            None => {
                let mut last = LastPurges::default();
                last.purge(mode, number, at);
                self.by_name.insert(name.to_owned(), last);
                self.bytes += name.len();
            }
        }
        while self.by_name.len() > MAX_NAMES || self.bytes > MAX_NAME_BYTES {
            self.fold_older_half();
        }
    }

    /// What is forgotten must not come back to life, so all of its bucket counts as purged with it.
    fn fold_older_half(&mut self) {
        let mut numbers: Vec<_> = self.by_name.values().map(LastPurges::newest).collect();
        let middle = numbers.len() / 2;
        let (_, &mut median, _) = numbers.select_nth_unstable(middle);
        for (name, last) in self.by_name.extract_if(|_, last| last.newest() <= median) {
            self.bytes -= name.len();
            self.folded.entry(bucket(&name)).or_default().merge(&last);
        }
    }

    fn state(&self, name: &str, fence: u64) -> PurgeState {
        let state = |last: &LastPurges| last.state(fence);
        let of_name = self.by_name.get(name).map_or(PurgeState::Untouched, state);
        if self.folded.is_empty() {
            return of_name;
        }
        of_name.and(self.folded.get(&bucket(name)).map_or(PurgeState::Untouched, state))
    }
}

/// What reading the end of a log has brought.
pub(super) enum Learnt {
    /// Purges that were not known, in their order.
    Purges(Vec<LowerPurge>),
    /// There may have been others: what memory has may be named by them.
    Gap,
    /// It may be an answer from a log that has ended.
    OfThePast,
}

impl Known {
    /// How far the log has been read.
    pub(super) fn read(&self) -> Option<Position> {
        self.read
    }

    /// Reads the end of a log, which was asked for `since` what was known then.
    ///
    /// Who asks when he knows a log, and is told of another, is told of a later one. Who knew another one when
    /// he asked, or none, cannot tell: the answer may have been on its way for long.
    pub(super) fn learn(&mut self, tail: &Tail, since: Option<Position>, now: Moment) -> Learnt {
        let Tail { whole_since, folded, purges, position } = tail;
        let generation = |position: Option<Position>| position.map(|position| position.generation);
        let (read, is_another) = match self.read {
            Some(read) if read.generation == position.generation => (read.number, false),
            Some(read) if Some(read.generation) == generation(since) => {
                *self = Known::default();
                (0, true)
            }
            Some(_) if Rule::EndedLogsAreIgnored.holds() => return Learnt::OfThePast,
            Some(_) => {
                *self = Known::default();
                (0, true)
            }
            None => (0, false),
        };
        let is_gap = is_another && Rule::AnotherLogPurgesMemory.holds()
            || *whole_since > read && Rule::GapPurgesMemory.holds();
        if *whole_since > read {
            self.floor = self.floor.max(*whole_since);
        }
        let (mut news, mut is_gap) = (Vec::new(), is_gap);
        for folded in folded {
            // Nobody has told them one by one.
            is_gap |= folded.newest() > read && Rule::FoldedIsAGap.holds();
            self.note_folded(folded, now);
        }
        for logged in purges.iter().filter(|logged| logged.number > read) {
            self.note(&logged.purge, logged.number, now.minus(logged.age));
            news.push(logged.purge.clone());
        }
        let number = position.number.max(read);
        self.read = Some(Position { generation: position.generation, number });
        if is_gap { Learnt::Gap } else { Learnt::Purges(news) }
    }

    /// Whether a purge of this process that was appended at `position` is now known. It is not where that log
    /// is another than the one that has been read.
    pub(super) fn append(&mut self, purge: &LowerPurge, position: Position, at: Moment) -> bool {
        let is_this = self.read.is_some_and(|read| read.generation == position.generation);
        if is_this {
            self.note(purge, position.number, at);
        }
        is_this
    }

    fn note(&mut self, purge: &LowerPurge, number: u64, at: Moment) {
        let mode = purge.mode;
        for scope in &purge.scopes {
            match scope {
                Scope::Key(key) => self.keys.note(key, mode, number, at),
                Scope::Tag(tag) => self.tags.note(tag, mode, number, at),
                Scope::Prefix(prefix) => {
                    self.note_prefix(prefix, |last| last.purge(mode, number, at));
                }
                Scope::Glob(glob) => {
                    self.note_prefix(glob.prefix(), |last| last.purge(mode, number, at));
                }
                Scope::Everything => self.everything.purge(mode, number, at),
            }
        }
    }

    fn note_folded(&mut self, folded: &Folded, now: Moment) {
        let note = |last: &mut LastPurges| {
            last.purge(Mode::Hard, folded.hard, now);
            for (number, age) in &folded.soft {
                last.purge(Mode::Soft, *number, now.minus(*age));
            }
        };
        match &folded.scope {
            FoldedScope::Keys(bucket) => note(self.keys.folded.entry(*bucket).or_default()),
            FoldedScope::Tags(bucket) => note(self.tags.folded.entry(*bucket).or_default()),
            FoldedScope::Prefix(prefix) => self.note_prefix(prefix, note),
            FoldedScope::Everything => note(&mut self.everything),
        }
    }

    fn note_prefix(&mut self, prefix: &str, note: impl FnOnce(&mut LastPurges)) {
        match self.prefixes.iter_mut().find(|(known, _)| known == prefix) {
            Some((_, last)) => note(last),
            None => {
                let mut last = LastPurges::default();
                note(&mut last);
                self.prefixes.push((prefix.to_owned(), last));
            }
        }
        if self.prefixes.len() > MAX_PREFIXES {
            let oldest = (0..self.prefixes.len()).min_by_key(|&at| self.prefixes[at].1.newest());
            let forgotten = oldest.map(|at| self.prefixes.swap_remove(at).1.newest());
            self.floor = self.floor.max(forgotten.unwrap_or(0));
        }
    }

    /// What the log means for a record of `key` with these tags, whose fetch began at `fence`.
    pub(super) fn state(&self, key: &str, tags: &[String], fence: Position) -> PurgeState {
        let is_known = self
            .read
            .is_some_and(|read| read.generation == fence.generation && fence.number <= read.number);
        let is_of_this_log = is_known || !Rule::OnlyThisLogIsRead.holds();
        let fence = fence.number;
        let is_forgotten = fence < self.floor && Rule::TheFloorIsKept.holds();
        if !is_of_this_log || is_forgotten {
            return PurgeState::Purged;
        }
        let of_tags = tags.iter().map(|tag| self.tags.state(tag, fence));
        let named = self.prefixes.iter().filter(|(prefix, _)| key.starts_with(prefix.as_str()));
        [self.everything.state(fence), self.keys.state(key, fence)]
            .into_iter()
            .chain(of_tags)
            .chain(named.map(|(_, last)| last.state(fence)))
            .fold(PurgeState::Untouched, PurgeState::and)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tier::lower::{Logged, PurgeId};

    const NOW: Moment = Moment::FIRST;

    fn at(number: u64) -> Position {
        Position { generation: 7, number }
    }

    fn purge(number: u64, scopes: Vec<Scope>) -> LowerPurge {
        LowerPurge { id: PurgeId { source: 1, number }, scopes, mode: Mode::Hard }
    }

    fn tail(whole_since: u64, numbers: impl IntoIterator<Item = u64>, position: Position) -> Tail {
        let logged = |number| Logged {
            number,
            purge: purge(number, vec![Scope::Key(format!("key {number}"))]),
            age: Duration::ZERO,
        };
        let purges = numbers.into_iter().map(logged).collect();
        Tail { whole_since, folded: Vec::new(), purges, position }
    }

    fn state(known: &Known, key: &str, fence: u64) -> PurgeState {
        known.state(key, &[], at(fence))
    }

    #[test]
    fn what_is_not_known_is_purged() {
        let mut known = Known::default();
        assert_eq!(state(&known, "key", 0), PurgeState::Purged, "nothing has been read");
        known.learn(&tail(0, 1..=5, at(5)), known.read(), NOW);
        assert_eq!(state(&known, "key", 5), PurgeState::Untouched);
        assert_eq!(state(&known, "key", 6), PurgeState::Purged, "beyond what has been read");
        let elsewhere = Position { generation: 8, number: 5 };
        assert_eq!(known.state("key", &[], elsewhere), PurgeState::Purged, "another log");
        assert_eq!(state(&known, "key 3", 2), PurgeState::Purged);
        assert_eq!(state(&known, "key 3", 3), PurgeState::Untouched);
    }

    #[test]
    fn a_gap_is_noticed_and_what_is_older_counts_as_purged() {
        let mut known = Known::default();
        assert!(
            matches!(known.learn(&tail(0, 1..=5, at(5)), known.read(), NOW), Learnt::Purges(news) if news.len() == 5)
        );
        assert!(matches!(known.learn(&tail(7, 8..=9, at(9)), known.read(), NOW), Learnt::Gap));
        assert_eq!(state(&known, "key", 6), PurgeState::Purged);
        assert_eq!(state(&known, "key", 7), PurgeState::Untouched);
        assert_eq!(state(&known, "key 8", 7), PurgeState::Purged);
    }

    #[test]
    fn answers_out_of_order_bring_nothing_twice_and_take_nothing_back() {
        let mut known = Known::default();
        known.learn(&tail(0, 1..=5, at(5)), known.read(), NOW);
        let Learnt::Purges(late) = known.learn(&tail(0, 1..=3, at(3)), known.read(), NOW) else {
            panic!()
        };
        assert!(late.is_empty());
        assert_eq!(known.read(), Some(at(5)));
        let Learnt::Purges(more) = known.learn(&tail(3, 4..=6, at(6)), known.read(), NOW) else {
            panic!()
        };
        assert_eq!(more.len(), 1);
    }

    #[test]
    fn a_log_that_has_ended_is_never_believed_again() {
        let mut known = Known::default();
        known.learn(&tail(0, 1..=5, at(5)), known.read(), NOW);
        let anew = Position { generation: 8, number: 0 };
        assert!(matches!(known.learn(&tail(0, [], anew), known.read(), NOW), Learnt::Gap));
        for asked_since in [None, Some(at(0)), Some(at(5))] {
            let late = known.learn(&tail(0, 1..=5, at(5)), asked_since, NOW);
            assert!(matches!(late, Learnt::OfThePast), "{asked_since:?}");
        }
        assert_eq!(state(&known, "key", 5), PurgeState::Purged);
        assert_eq!(known.state("key", &[], anew), PurgeState::Untouched);
        assert!(!known.append(&purge(6, vec![Scope::Everything]), at(6), NOW));
    }

    #[test]
    fn the_bounds_hold_and_what_is_forgotten_stays_purged() {
        let mut known = Known::default();
        known.learn(&tail(0, 1..=100_000, at(100_000)), known.read(), NOW);
        assert!(known.keys.by_name.len() <= MAX_NAMES);
        for number in (1..=100_000).step_by(1000) {
            assert_eq!(state(&known, &format!("key {number}"), number - 1), PurgeState::Purged);
        }
        assert_eq!(state(&known, "key", 99_999), PurgeState::Untouched);
        for number in 0..1000 {
            known.note(
                &purge(0, vec![Scope::Prefix(format!("p{number}/"))]),
                100_001 + number,
                NOW,
            );
        }
        assert_eq!(known.prefixes.len(), MAX_PREFIXES);
        assert_eq!(state(&known, "p3/x", 100_000), PurgeState::Purged);
    }

    #[test]
    fn long_names_are_forgotten_sooner_and_stay_purged() {
        let mut known = Known::default();
        known.learn(&tail(0, 1..=1, at(1)), known.read(), NOW);
        let long = |number: u64| format!("{number}{}", "x".repeat(MAX_NAME_BYTES / 10));
        for number in 2..=40 {
            known.note(&purge(number, vec![Scope::Key(long(number))]), number, NOW);
        }
        let held: usize = known.keys.by_name.keys().map(String::len).sum();
        assert!(held <= MAX_NAME_BYTES && held == known.keys.bytes, "{held}");
        known.read = Some(at(40));
        for number in 2..=40 {
            assert_eq!(state(&known, &long(number), number - 1), PurgeState::Purged);
        }
        let longer = "y".repeat(MAX_NAME_BYTES + 1);
        known.note(&purge(41, vec![Scope::Key(longer.clone())]), 41, NOW);
        assert_eq!(known.keys.bytes, 0);
        assert_eq!(state(&known, &longer, 40), PurgeState::Purged);
    }
}
