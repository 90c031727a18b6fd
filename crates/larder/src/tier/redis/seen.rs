//! Seen: what this process has seen of the log, so that it notices a server that has lost some, and can tell it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    purge::Doubt,
    rules::Rule,
    tier::lower::{Position, PurgeId, TierFigures},
};

/// So many purges are kept, of so many bytes together.
const MAX_ENTRIES: usize = 4096;
const MAX_BYTES: usize = 8 << 20;
/// So many generations that have ended are known.
const MAX_PAST: usize = 64;
/// Replicas that are gone may be back within this time, and one of them in the place of the server.
const REPLICAS_MISSED: Duration = Duration::from_secs(3600);
/// For so long a server that takes no writes without replicas goes on without them, where it does not say for how long: what
/// it does unless it is told otherwise.
const USUAL_LAG: Duration = Duration::from_secs(10);

/// What a control script answers first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_open: bool,
    pub(super) generation: u128,
    /// The last number that was given.
    pub(super) number: u64,
    /// Purges up to here may be forgotten.
    pub(super) floor: u64,
    /// The last number that the server knew at the last fork.
    pub(super) restored: u64,
    /// How many of those the generation has survived.
    pub(super) forks: u64,
    /// When the server last was another one, by its clock, and how long ago that is.
    pub(super) changed_ms: u64,
    pub(super) changed_ago: Duration,
    /// The server's time.
    pub(super) now_us: u64,
    /// How many replicas it has.
    pub(super) replicas: u64,
    /// When it was last found out that it may have lost something, by its clock.
    pub(super) closing_ms: u64,
    /// How many readers it knows.
    pub(super) readers: u64,
    /// How many there were before it lost some, if not all have come back.
    pub(super) expected: u64,
    /// How many of those that it knows have said something lately.
    pub(super) alive: u64,
    /// It takes no writes without some of its replicas.
    pub(super) is_guarded: bool,
}

impl Header {
    fn had_readers(&self) -> u64 {
        self.readers.max(self.expected)
    }
}

/// A purge of the log as this process can append it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: PurgeId,
    pub(super) bytes: Vec<u8>,
    /// When it was appended, by the server's clock.
    pub(super) at_ms: u64,
}

/// By this a call knows which log was the present one when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// What an answer says of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that was not expected.
    AsBefore,
    /// The server has been another one, and what this process has seen after this number may be lost there.
    Forked { after: u64 },
    /// A log that has ended is there again.
    CameBack,
}

/// What this process tells a server that asks what it has lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Testimony {
    /// With the numbers that they had.
    pub(super) entries: Vec<(u64, Entry)>,
    /// Nothing else was known here that came later than what the server still has.
    pub(super) is_whole: bool,
    /// For these readers it speaks.
    pub(super) readers: Vec<u64>,
}

#[derive(Default)]
pub(super) struct Seen {
    generation: Option<u128>,
    /// Generations that have ended.
    past: VecDeque<u128>,
    /// Changed with the generation.
    epoch: u64,
    /// The highest number that was ever told of.
    highest: u64,
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
    /// Purges up to here were known that are not in `entries`.
    forgotten: u64,
    forks: u64,
    /// So many readers the server had last, those included that it has lost and that have not come back: it may lose them
    /// once more.
    had_readers: u64,
    /// For which log, and from when on, the readers here have signed last.
    signed: Option<(u128, u64)>,
    /// When the server changed last by its clock, and when that was seen here, if it was.
    changed: Option<(u64, Option<Instant>)>,
    /// All that have been renewed here and have not left.
    readers: BTreeSet<u64>,
    /// Forks of this log that were heard of.
    heard_forks: u64,
    /// The most replicas that the server had of late, and when it last had as many.
    had_replicas: Option<(u64, Instant)>,
    /// For how long it goes on without them, as it says.
    max_lag: Option<Duration>,
    figures: TierFigures,
}

impl Seen {
    /// All that are renewed here.
    pub(super) fn own_readers(&self) -> Vec<u64> {
        self.readers.iter().copied().collect()
    }

    /// What there is to say of the server.
    pub(super) fn figures(&self) -> TierFigures {
        self.figures
    }

    /// Whether a server with so many replicas is alone, and did not just lose sight of those that it had.
    pub(super) fn is_single(&self, replicas: u64, now: Instant) -> bool {
        self.most_replicas(replicas, now) == 0
    }

    /// How many replicas a server has that says it has so many now: those that it has lost sight of may follow another.
    pub(super) fn most_replicas(&self, replicas: u64, now: Instant) -> u64 {
        let is_missed =
            |(_, had): &(u64, Instant)| now.saturating_duration_since(*had) < REPLICAS_MISSED;
        replicas.max(self.had_replicas.filter(is_missed).map_or(0, |(most, _)| most))
    }

    /// Why it may lose what it acknowledges, if it may.
    pub(super) fn doubts(&mut self, doubt: Option<Doubt>) {
        self.figures.doubt = doubt;
    }

    /// For how long a server says that it goes on taking writes once it has no replicas that answer.
    pub(super) fn goes_on_for(&mut self, max_lag: Option<Duration>) {
        self.max_lag = max_lag;
    }

    fn note_figures(&mut self, header: &Header) {
        let figures = &mut self.figures;
        figures.forks += header.forks.saturating_sub(self.heard_forks);
        self.heard_forks = self.heard_forks.max(header.forks);
        figures.is_reconciling = !header.is_open;
        figures.readers = header.readers;
        figures.readers_alive = header.alive.min(header.readers);
        figures.replicas = header.replicas;
        figures.replication_lag = match header.is_guarded {
            true => self.max_lag.unwrap_or(USUAL_LAG),
            false => Duration::ZERO,
        };
    }

    /// What a call says is known, if anything is.
    pub(super) fn known(&self) -> (Option<u128>, u64, u64, Epoch) {
        (self.generation, self.highest, self.had_readers, Epoch(self.epoch))
    }

    /// Whether the log that was heard of last ends there, as far as was heard.
    pub(super) fn ends_at(&self, position: Position) -> bool {
        self.generation == Some(position.generation) && self.highest == position.number
    }

    pub(super) fn reads(&mut self, reader: u64) {
        self.readers.insert(reader);
    }

    pub(super) fn leaves(&mut self, reader: u64, header: &Header) {
        self.readers.remove(&reader);
        if header.is_open && self.generation == Some(header.generation) {
            self.had_readers = header.had_readers();
        }
    }

    /// Hears what an open log says in answer to a call that was made in this epoch.
    pub(super) fn hear(&mut self, header: &Header, asked: Epoch, now: Instant) -> Heard {
        match self.generation {
            Some(known) if known == header.generation => {}
            // It was under way while the log ended.
            Some(_) if asked != Epoch(self.epoch) => return Heard::AsBefore,
            _ if self.past.contains(&header.generation) && Rule::EndedLogsDoNotComeBack.holds() => {
                return Heard::CameBack;
            }
            known => {
                self.past.extend(known);
                if self.past.len() > MAX_PAST {
                    self.past.pop_front();
                }
                self.generation = Some(header.generation);
                self.epoch += 1;
                self.entries.clear();
                self.bytes = 0;
                (self.highest, self.forgotten, self.forks) = (0, 0, header.forks);
                self.heard_forks = header.forks;
            }
        }
        self.highest = self.highest.max(header.number);
        self.had_readers = header.had_readers();
        let most = self.most_replicas(header.replicas, now);
        if header.replicas == most {
            self.had_replicas = (most > 0).then_some((most, now));
        }
        self.note_figures(header);
        match self.changed {
            Some((changed, _)) if changed == header.changed_ms => {}
            // Whoever has just come has not seen it happen.
            None => self.changed = Some((header.changed_ms, None)),
            Some(_) => self.changed = Some((header.changed_ms, Some(now))),
        }
        if header.forks <= self.forks || !Rule::ForksAreToldOfAgain.holds() {
            return Heard::AsBefore;
        }
        let after = if header.forks == self.forks + 1 { header.restored } else { 0 };
        Heard::Forked { after }
    }

    /// A server that is finding out what it has lost has given numbers up to here away. Whether it has been told
    /// what is known here.
    pub(super) fn hear_closing(&mut self, header: &Header) -> bool {
        self.figures.is_reconciling = true;
        if self.generation == Some(header.generation) {
            self.highest = self.highest.max(header.number);
        }
        self.signed == Some((header.generation, header.closing_ms))
    }

    /// It has.
    pub(super) fn signs(&mut self, header: &Header) {
        self.signed = Some((header.generation, header.closing_ms));
    }

    /// So long ago the server changed, as far as both clocks can tell.
    pub(super) fn changed_ago(&self, header: &Header, now: Instant) -> Duration {
        let seen = self.changed.and_then(|(_, seen)| seen);
        seen.map_or(header.changed_ago, |seen| header.changed_ago.min(now.duration_since(seen)))
    }

    /// All that was lost has been told.
    pub(super) fn told(&mut self, generation: u128, forks: u64) {
        if self.generation == Some(generation) {
            self.forks = self.forks.max(forks);
        }
    }

    pub(super) fn note(&mut self, generation: u128, number: u64, entry: Entry) {
        if self.generation != Some(generation) {
            return;
        }
        self.bytes += entry.bytes.len();
        let replaced = self.entries.insert(number, entry);
        self.bytes -= replaced.map_or(0, |entry| entry.bytes.len());
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((number, entry)) = self.entries.pop_first() else { return };
            self.bytes -= entry.bytes.len();
            self.forgotten = self.forgotten.max(number);
        }
    }

    /// What was appended with the number `had` has this one now.
    pub(super) fn renumber(&mut self, generation: u128, had: u64, number: u64) {
        if self.generation == Some(generation)
            && had != number
            && let Some(entry) = self.entries.remove(&had)
        {
            let replaced = self.entries.insert(number, entry);
            self.bytes -= replaced.map_or(0, |entry| entry.bytes.len());
        }
    }

    /// Purges up to here are known, but not one by one.
    pub(super) fn note_folded(&mut self, generation: u128, number: u64) {
        if self.generation == Some(generation) {
            self.forgotten = self.forgotten.max(number);
        }
    }

    pub(super) fn testimony(&self, generation: u128, after: u64) -> Testimony {
        let is_this = self.generation == Some(generation);
        let is_told = is_this && Rule::LostIsToldAgain.holds();
        let entries = self.entries.range(after.saturating_add(1)..).filter(|_| is_told);
        let is_whole = self.generation.is_none() || is_this && self.forgotten <= after;
        Testimony {
            entries: entries.map(|(number, entry)| (*number, entry.clone())).collect(),
            is_whole: is_whole || !Rule::WhoForgotDoesNotSign.holds(),
            readers: self.readers.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(generation: u128, number: u64) -> Header {
        Header {
            is_open: true,
            generation,
            number,
            floor: 0,
            restored: 0,
            forks: 0,
            changed_ms: 1,
            changed_ago: Duration::from_secs(60),
            now_us: 0,
            replicas: 0,
            closing_ms: 0,
            readers: 0,
            expected: 0,
            alive: 0,
            is_guarded: false,
        }
    }

    fn entry(bytes: usize) -> Entry {
        Entry { id: PurgeId { source: 1, number: 1 }, bytes: vec![0; bytes], at_ms: 0 }
    }

    fn hear(seen: &mut Seen, header: &Header) -> Heard {
        let (.., asked) = seen.known();
        seen.hear(header, asked, Instant::now())
    }

    #[test]
    fn a_log_that_has_ended_is_known_again_and_a_late_answer_of_it_says_nothing() {
        let mut seen = Seen::default();
        assert_eq!(hear(&mut seen, &header(1, 5)), Heard::AsBefore);
        let (.., before) = seen.known();
        assert_eq!(hear(&mut seen, &header(2, 1)), Heard::AsBefore);
        assert_eq!(seen.hear(&header(1, 9), before, Instant::now()), Heard::AsBefore);
        assert_eq!(seen.known().0, Some(2), "that was under way");
        assert_eq!(seen.known().1, 1);
        assert_eq!(hear(&mut seen, &header(1, 9)), Heard::CameBack);
        assert_eq!(seen.known().0, Some(2));
    }

    #[test]
    fn what_was_forgotten_is_not_signed_for() {
        for (bytes, count) in [(1, MAX_ENTRIES as u64), (MAX_BYTES / 8, 8)] {
            let mut seen = Seen::default();
            hear(&mut seen, &header(1, 0));
            for number in 1..=count {
                seen.note(1, number, entry(bytes));
            }
            assert!(seen.testimony(1, 0).is_whole);
            // The same again takes no room.
            seen.note(1, count, entry(bytes));
            assert_eq!(seen.testimony(1, 0).entries.len() as u64, count);
            seen.note(1, count + 1, entry(bytes));
            assert!(!seen.testimony(1, 0).is_whole);
            let after = seen.testimony(1, 1);
            assert!(after.is_whole && after.entries[0].0 == 2);
            seen.renumber(1, 2, count + 9);
            assert_eq!(
                seen.testimony(1, 1).entries.last().map(|(number, _)| *number),
                Some(count + 9)
            );
        }
        let mut seen = Seen::default();
        hear(&mut seen, &header(1, 0));
        seen.note_folded(1, 7);
        assert!(!seen.testimony(1, 6).is_whole && seen.testimony(1, 7).is_whole);
        assert!(!seen.testimony(2, 7).is_whole, "of another log it knows nothing");
    }

    #[test]
    fn who_has_missed_more_than_one_fork_tells_all_it_knows() {
        let mut seen = Seen::default();
        hear(&mut seen, &header(1, 5));
        let later = |forks| Header { forks, restored: 4, ..header(1, 9) };
        assert_eq!(hear(&mut seen, &later(1)), Heard::Forked { after: 4 });
        seen.told(1, 1);
        assert_eq!(hear(&mut seen, &later(1)), Heard::AsBefore);
        assert_eq!(hear(&mut seen, &later(3)), Heard::Forked { after: 0 });
    }

    #[test]
    fn who_has_not_come_back_yet_is_told_of_after_another_loss_too() {
        let mut seen = Seen::default();
        hear(&mut seen, &Header { readers: 2, ..header(1, 5) });
        assert_eq!(seen.known().2, 2);
        hear(&mut seen, &Header { readers: 1, expected: 2, ..header(2, 1) });
        assert_eq!(seen.known().2, 2);
        seen.leaves(7, &Header { readers: 0, expected: 1, ..header(2, 1) });
        assert_eq!(seen.known().2, 1);
    }

    #[test]
    fn a_change_that_was_seen_is_as_long_ago_as_the_nearer_of_both_clocks_says() {
        let mut seen = Seen::default();
        let now = Instant::now();
        seen.hear(&header(1, 5), Epoch(0), now);
        let minute = Duration::from_secs(60);
        assert_eq!(seen.changed_ago(&header(1, 5), now), minute, "it was before this began");
        let changed = Header { changed_ms: 2, ..header(1, 5) };
        seen.hear(&changed, Epoch(1), now);
        let second = Duration::from_secs(1);
        assert_eq!(seen.changed_ago(&changed, now + second), second);
        assert_eq!(seen.changed_ago(&changed, now + 2 * minute), minute);
    }
}
