//! Last purges: what is remembered of the purges of one tag, key or prefix, or of everything.

use super::{Fence, Mode};
use crate::clock::Moment;

/// What the purges so far mean for one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PurgeState {
    Untouched,
    /// Marked stale at this moment.
    MarkedStale(Moment),
    Purged,
}

impl PurgeState {
    /// What both mean for one entry.
    pub(crate) fn and(self, other: PurgeState) -> PurgeState {
        match (self, other) {
            (PurgeState::Purged, _) | (_, PurgeState::Purged) => PurgeState::Purged,
            (PurgeState::MarkedStale(at), PurgeState::MarkedStale(earlier)) => {
                PurgeState::MarkedStale(at.min(earlier))
            }
            (PurgeState::Untouched, marked) | (marked, PurgeState::Untouched) => marked,
        }
    }
}

/// The last purges that named one thing, hard and soft.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastPurges {
    hard: Fence,
    /// The last soft purges, in the order of their numbers. An entry is stale since the *first* that came
    /// after its fetch; knowing only the last would open its windows anew each time.
    soft: [Option<(Fence, Moment)>; SOFT_PURGES],
}

/// Of more soft purges than this, the oldest two count as one: with the later number, so that it
/// reaches whatever either reached, and the earlier moment, so that no window is opened anew.
const SOFT_PURGES: usize = 4;

impl LastPurges {
    /// Purges may be told in any order, and more than once.
    pub(crate) fn purge(&mut self, mode: Mode, number: Fence, at: Moment) {
        match mode {
            Mode::Hard => self.hard = self.hard.max(number),
            Mode::Soft => self.purge_softly(number, at),
        }
    }

    fn purge_softly(&mut self, number: Fence, at: Moment) {
        if self.soft.iter().flatten().any(|(known, _)| *known == number) {
            return;
        }
        let mut all = [Some((number, at)); SOFT_PURGES + 1];
        all[1..].copy_from_slice(&self.soft);
        all.sort_by_key(|place| place.map_or(Fence::MAX, |(number, _)| number));
        match all {
            [Some((_, oldest)), Some((next, since)), .., Some(_)] => {
                all[1] = Some((next, oldest.min(since)));
                self.soft.copy_from_slice(&all[1..]);
            }
            _ => self.soft.copy_from_slice(&all[..SOFT_PURGES]),
        }
    }

    /// From now on these are those of both.
    pub(crate) fn merge(&mut self, other: &LastPurges) {
        self.hard = self.hard.max(other.hard);
        for (number, at) in other.soft.iter().flatten() {
            self.purge_softly(*number, *at);
        }
    }

    /// What they mean for an entry with this fence.
    pub(crate) fn state(&self, fence: Fence) -> PurgeState {
        if self.hard > fence {
            return PurgeState::Purged;
        }
        let first = self.soft.iter().flatten().find(|(number, _)| *number > fence);
        first.map_or(PurgeState::Untouched, |&(_, at)| PurgeState::MarkedStale(at))
    }

    /// The number of the last hard one; zero where there was none.
    pub(crate) fn hard(&self) -> Fence {
        self.hard
    }

    /// The number of the last of them.
    pub(crate) fn newest(&self) -> Fence {
        let soft = self.soft.iter().flatten().map(|(number, _)| *number).max();
        self.hard.max(soft.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Moment {
        Moment::FIRST.plus(Duration::from_secs(second))
    }

    proptest! {
        #[test]
        fn in_whatever_order_purges_are_told_none_is_lost_and_no_window_opens_anew(
            mut told in proptest::collection::vec((1..12_u64, any::<bool>()), 0..12),
            order in any::<u64>(),
        ) {
            told.sort_by_key(|(number, _)| number.wrapping_mul(order | 1));
            let mut last = LastPurges::default();
            let mode = |is_hard| if is_hard { Mode::Hard } else { Mode::Soft };
            told.iter().for_each(|&(number, is_hard)| last.purge(mode(is_hard), number, at(number)));
            for fence in 0..13 {
                let since = told.iter().filter(|(number, _)| *number > fence);
                let first = since.clone().map(|(number, _)| at(*number)).min();
                match last.state(fence) {
                    PurgeState::Purged => prop_assert!(since.clone().any(|(_, is_hard)| *is_hard)),
                    PurgeState::MarkedStale(marked) => prop_assert!(Some(marked) <= first),
                    PurgeState::Untouched => prop_assert_eq!(first, None),
                }
            }
        }
    }
}
