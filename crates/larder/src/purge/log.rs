//! Log: the one numbered sequence of purges, and the position in it at which a fetch began.
//!
//! Every purge gets the next number, whatever it names. A fetch remembers the position of the log at
//! which it began (its *fence*): what it brings is older than every purge with a later number.
//!
//! ```text
//! number   1         2           3         4
//! purge    key a     tag posts   key b     everything (soft)
//! written            ──── in the table ────┘
//!                                ▲ a fetch that begins here has fence 3: older than 4, and no older
//! ```
//!
//! What a purge by key or prefix names is looked for in memory and taken out, so nothing of it is
//! written down. A purge by tag, and one that marks everything, are not looked for: the table
//! ([`tags`](super::tags)) has them, and entries meet them when they are looked at. The log therefore tells two
//! numbers: its position, and the last purge that the table has. Only the second makes a hit look closer.

use std::sync::PoisonError;

use super::{
    Fence, Mode,
    last::PurgeState,
    tags::{TagHasher, TagId, TagKey, TagTable},
};
use crate::{
    clock::{AtomicMoment, Moment},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) struct PurgeLog {
    /// How many purges have a number.
    position: AtomicU64,
    /// The last number that the table has. Advanced after the purge is written there, so whoever reads it
    /// finds every purge up to it.
    last_in_table: AtomicU64,
    /// Until then other processes have purged nothing of what is here, as far as anybody has to know: see
    /// `engine/lower/follow.rs`. It lies beside what hits compare anyway.
    trusted_until: AtomicMoment,
    table: TagTable,
    /// Held by whoever writes down a purge, one at a time, so that numbers in the table only grow.
    writing: Mutex<()>,
    hasher: TagHasher,
    tag_key: TagKey,
}

impl PurgeLog {
    /// Remembers the purges of at most `max_tags` tags, whose numbers come from `key`.
    pub(crate) fn new(max_tags: usize, key: TagKey) -> Self {
        PurgeLog {
            position: AtomicU64::new(0),
            last_in_table: AtomicU64::new(0),
            trusted_until: AtomicMoment::new(Moment::MAX),
            table: TagTable::new(max_tags),
            writing: Mutex::new(()),
            hasher: TagHasher::new(key),
            tag_key: key,
        }
    }

    /// The key by which tags become numbers here.
    pub(crate) fn tag_key(&self) -> TagKey {
        self.tag_key
    }

    pub(crate) fn tag(&self, tag: &str) -> TagId {
        self.hasher.id(tag)
    }

    /// How many purges there were so far: what a fetch that begins now knows of.
    #[inline]
    pub(crate) fn position(&self) -> Fence {
        self.position.load(Ordering::Acquire)
    }

    /// The last purge that entries are to be looked up for. Those with this fence, or a later one, are
    /// named by none.
    #[inline]
    pub(crate) fn last_in_table(&self) -> Fence {
        self.last_in_table.load(Ordering::Acquire)
    }

    /// Until then every hit is served without a question about other processes.
    #[inline]
    pub(crate) fn trusted_until(&self) -> Moment {
        self.trusted_until.get()
    }

    pub(crate) fn trust_until(&self, moment: Moment) {
        self.trusted_until.set(moment);
    }

    /// The number of a purge that is not for the table.
    pub(crate) fn next(&self) -> u64 {
        self.position.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Once this returns, no entry that carries `tag` and began before is served as fresh (soft), or
    /// at all (hard).
    pub(crate) fn purge_tag(&self, tag: &str, mode: Mode, now: Moment) -> u64 {
        let id = self.tag(tag);
        self.write_down(|number| self.table.purge(id, mode, number, now))
    }

    /// The soft purge of everything.
    pub(crate) fn mark_everything_stale(&self, now: Moment) -> u64 {
        self.write_down(|number| self.table.mark_everything_stale(number, now))
    }

    /// How many tags have a record.
    pub(crate) fn tags(&self) -> usize {
        self.table.len()
    }

    /// What happened since `fence` to an entry with these tags.
    pub(crate) fn state(&self, tags: &[TagId], fence: Fence) -> PurgeState {
        if fence >= self.last_in_table() {
            return PurgeState::Untouched;
        }
        self.table.state(tags, fence)
    }

    /// The number of a hard purge since `fence` that has ended an entry with these tags, where one has and is remembered.
    pub(crate) fn hard_purge(&self, tags: &[TagId], fence: Fence) -> Option<u64> {
        if fence >= self.last_in_table() {
            return None;
        }
        let purges = tags.iter().filter_map(|&tag| self.table.last(tag));
        purges.map(|last| last.hard()).find(|&number| number > fence)
    }

    /// The last purge of this tag that is remembered: its number, and what it left.
    pub(crate) fn last_purge(&self, tag: TagId) -> Option<(u64, Mode)> {
        let last = self.table.last(tag)?;
        let mode = if last.newest() == last.hard() { Mode::Hard } else { Mode::Soft };
        Some((last.newest(), mode))
    }

    /// A fetch that begins between the two steps has a fence that is not below this purge, and may serve: nobody
    /// has been told yet that it is done.
    fn write_down(&self, write: impl FnOnce(u64)) -> u64 {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.next();
        write(number);
        self.last_in_table.store(number, Ordering::Release);
        number
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn moment(secs: u64) -> Moment {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(secs));
        clock.clock().now()
    }

    fn log() -> PurgeLog {
        PurgeLog::new(100, TagKey::random())
    }

    #[test]
    fn a_purge_reaches_what_began_before_it_and_nothing_later() {
        let log = log();
        let (posts, users) = (log.tag("posts"), log.tag("users"));
        let before = log.position();
        log.purge_tag("posts", Mode::Hard, moment(0));
        assert_eq!(log.state(&[users, posts], before), PurgeState::Purged);
        assert_eq!(log.state(&[users], before), PurgeState::Untouched);
        assert_eq!(log.state(&[], before), PurgeState::Untouched);
        assert_eq!(log.state(&[posts], log.position()), PurgeState::Untouched);
    }

    #[test]
    fn all_purges_have_one_sequence_and_those_of_keys_make_nobody_look() {
        let log = log();
        let tag = log.tag("a");
        let mut fences = vec![log.position()];
        for number in 1..=60 {
            let in_table = log.last_in_table();
            let got = match number % 3 {
                0 => log.purge_tag("a", Mode::Hard, moment(0)),
                1 => log.next(),
                _ => log.mark_everything_stale(moment(1)),
            };
            assert_eq!((got, log.position()), (number, number));
            assert_eq!(log.last_in_table(), if number % 3 == 1 { in_table } else { number });
            fences.push(log.position());
        }
        for fence in fences {
            let expected = match fence {
                60 => PurgeState::Untouched,
                _ => PurgeState::Purged,
            };
            assert_eq!(log.state(&[tag], fence), expected, "{fence}");
        }
    }

    #[test]
    fn a_soft_purge_marks_and_a_hard_one_beside_it_wins() {
        let log = log();
        let (a, b) = (log.tag("a"), log.tag("b"));
        let before = log.position();
        log.purge_tag("a", Mode::Soft, moment(5));
        log.purge_tag("b", Mode::Soft, moment(9));
        assert_eq!(log.state(&[b, a], before), PurgeState::MarkedStale(moment(5)));
        log.purge_tag("b", Mode::Hard, moment(10));
        assert_eq!(log.state(&[a, b], before), PurgeState::Purged);
        assert_eq!(log.state(&[a], before), PurgeState::MarkedStale(moment(5)));
    }

    #[test]
    fn soft_purges_one_after_the_other_open_no_window_anew() {
        let log = log();
        let tag = log.tag("a");
        let fences: Vec<_> = (0..20)
            .map(|second| {
                let before = log.position();
                log.purge_tag("a", Mode::Soft, moment(second));
                before
            })
            .collect();
        for (second, fence) in (0..).zip(fences) {
            let PurgeState::MarkedStale(at) = log.state(&[tag], fence) else {
                panic!("the purge in second {second} is forgotten")
            };
            // Never later than the purge that came first for it.
            assert!(at <= moment(second));
        }
        assert_eq!(log.state(&[tag], 0), PurgeState::MarkedStale(moment(0)));
        assert_eq!(log.state(&[tag], 19), PurgeState::MarkedStale(moment(19)));
    }

    #[test]
    fn marking_everything_stale_reaches_entries_without_tags() {
        let log = log();
        let before = log.position();
        log.mark_everything_stale(moment(3));
        assert_eq!(log.state(&[], before), PurgeState::MarkedStale(moment(3)));
        assert_eq!(log.state(&[], log.position()), PurgeState::Untouched);
    }

    #[test]
    fn the_table_is_bounded_and_what_it_forgets_stays_purged() {
        let log = log();
        let before = log.position();
        for number in 0..10_000 {
            log.purge_tag(&format!("tag {number}"), Mode::Hard, moment(0));
            assert!(log.tags() <= 100);
        }
        for number in 0..10_000 {
            let tag = log.tag(&format!("tag {number}"));
            assert_eq!(log.state(&[tag], before), PurgeState::Purged);
        }
        let recent = log.position();
        log.purge_tag("other", Mode::Hard, moment(0));
        assert_eq!(log.state(&[log.tag("tag 1")], recent), PurgeState::Untouched);
    }

    #[test]
    fn a_large_table_lies_in_small_parts_and_is_bounded_as_a_whole() {
        let log = PurgeLog::new(1 << 16, TagKey::random());
        let before = log.position();
        for number in 0..100_000 {
            log.purge_tag(&format!("tag {number}"), Mode::Hard, moment(0));
        }
        assert!(log.tags() <= 1 << 16 && log.tags() >= 1 << 14);
        assert!(log.table.is_in_small_parts());
        for number in 0..100_000 {
            let tag = log.tag(&format!("tag {number}"));
            assert_eq!(log.state(&[tag], before), PurgeState::Purged);
        }
        // Most of what was purged last is still known for what it is.
        let recent = log.position() - 10_000;
        let untouched = (0..1000).filter(|number| {
            let tag = log.tag(&format!("never purged {number}"));
            log.state(&[tag], recent) == PurgeState::Untouched
        });
        assert_eq!(untouched.count(), 1000);
    }

    #[test]
    fn purges_by_key_do_not_fill_the_table() {
        let log = log();
        let tag = log.tag("a");
        let before = log.position();
        log.purge_tag("b", Mode::Hard, moment(0));
        for _ in 0..10_000 {
            log.next();
        }
        assert_eq!(log.tags(), 1);
        assert_eq!(log.state(&[tag], before), PurgeState::Untouched);
    }
}
