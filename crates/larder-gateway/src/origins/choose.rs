//! Choose: which address is asked next. Pure: what is known of the addresses and the time are arguments.
//!
//! 1. Those that nothing speaks against; backups only where that leaves none.
//! 2. Of these, those that have a connection to spare, unless none has.
//! 3. Of these, by [`Balance`]. Turns are smooth: with weights 3 and 1 the order is a a b a, not a a a b.
//!
//! Where nothing is left in step 1 for a request that was nowhere yet, all addresses are tried as though nothing spoke
//! against them: a request that may be answered is better than one that certainly is not. Only addresses from which
//! nothing came at all are spared the crowd ([`MAX_TRIES`]), which would wait there in vain.

use std::{cmp::Ordering, time::Duration};

use tokio::time::Instant;

use super::{
    breaker::{Admits, Breaker, BreakerState},
    config::Balance,
};

/// So many requests at a time try an address that was silent, while there is no other.
pub(super) const MAX_TRIES: usize = 10;

/// A whole weight of 1, in the numbers that are compared.
const WHOLE: u64 = 1000;
/// An address that has just come back begins with a tenth of its weight.
const LEAST_PART: u64 = WHOLE / 10;

/// What is known of one address.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) weight: u32,
    pub(super) is_backup: bool,
    pub(super) breaker: Breaker,
    /// What the checks of its health say; true without any.
    pub(super) is_well: bool,
    /// Requests that are there now, up to the end of their answers.
    pub(super) outstanding: usize,
    /// Those of them to which no answer has begun.
    pub(super) unanswered: usize,
    /// When it came back.
    pub(super) back_since: Option<Instant>,
    /// How many turns it is behind others, in weights.
    credit: i64,
}

/// Addresses that a request was sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tried(u64);

/// A request that looks for an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeker {
    pub(super) tried: Tried,
    /// Whether it can be sent elsewhere should it fail.
    pub(super) can_repeat: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) index: usize,
    /// It is to find out whether the address answers again.
    pub(super) is_probe: bool,
}

impl Standing {
    pub(super) fn new(weight: u32, is_backup: bool, now: Instant) -> Standing {
        let breaker = Breaker::new(now);
        Standing {
            weight,
            is_backup,
            breaker,
            is_well: true,
            outstanding: 0,
            unanswered: 0,
            back_since: None,
            credit: 0,
        }
    }

    /// Its weight now: less while it comes back.
    fn share(&self, slow_start: Duration, now: Instant) -> u64 {
        let part = match self.back_since {
            Some(since) if now.duration_since(since) < slow_start => {
                let part = now.duration_since(since).as_secs_f64() / slow_start.as_secs_f64();
                ((part * WHOLE as f64) as u64).max(LEAST_PART)
            }
            _ => WHOLE,
        };
        u64::from(self.weight) * part
    }

    /// Whether a request may go there that was nowhere yet.
    fn admits(&self, can_repeat: bool, now: Instant) -> Admits {
        if self.is_well { self.breaker.admits(can_repeat, now) } else { Admits::No }
    }

    /// Whether nothing is known that keeps requests away.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.is_well && self.breaker.state(now) == BreakerState::Closed
    }
}

impl Tried {
    pub(super) fn add(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    pub(super) fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// `has_room` says whether an address has a connection to spare. `None`: there is no address to send it to.
pub(super) fn choose(
    standings: &mut [Standing],
    seeker: Seeker,
    balance: Balance,
    slow_start: Duration,
    has_room: impl Fn(usize) -> bool,
    now: Instant,
) -> Option<Choice> {
    let usable = |is_backup: bool| -> Vec<Choice> {
        let all = standings.iter().enumerate();
        let in_question =
            all.filter(|(index, of)| of.is_backup == is_backup && !seeker.tried.has(*index));
        let choices =
            in_question.filter_map(|(index, of)| match of.admits(seeker.can_repeat, now) {
                Admits::No => None,
                admits => Some(Choice { index, is_probe: admits == Admits::AsProbe }),
            });
        choices.collect()
    };
    let mut candidates = usable(false);
    if candidates.is_empty() {
        candidates = usable(true);
    }
    if candidates.is_empty() {
        return last_resort(standings, seeker);
    }
    if candidates.iter().any(|choice| has_room(choice.index)) {
        candidates.retain(|choice| has_room(choice.index));
    }
    if balance == Balance::LeastOutstanding {
        let load = |choice: &Choice| Load::of(&standings[choice.index], slow_start, now);
        let least = candidates.iter().map(load).min_by(Load::cmp)?;
        candidates.retain(|choice| load(choice).cmp(&least).is_eq());
    }
    Some(next_in_turn(standings, &candidates, slow_start, now))
}

/// Requests under way for each part of a weight.
struct Load {
    outstanding: u128,
    share: u128,
}

impl Load {
    fn of(standing: &Standing, slow_start: Duration, now: Instant) -> Load {
        let outstanding = standing.outstanding as u128;
        Load { outstanding, share: u128::from(standing.share(slow_start, now)) }
    }

    /// Without dividing.
    fn cmp(&self, other: &Load) -> Ordering {
        (self.outstanding * other.share).cmp(&(other.outstanding * self.share))
    }
}

/// Smooth weighted turns: each is given its weight, and whoever has most goes, and gives back the weight of all.
fn next_in_turn(
    standings: &mut [Standing],
    candidates: &[Choice],
    slow_start: Duration,
    now: Instant,
) -> Choice {
    let mut total = 0;
    let mut best = candidates[0];
    let mut most = i64::MIN;
    for &choice in candidates {
        let standing = &mut standings[choice.index];
        let share = i64::try_from(standing.share(slow_start, now)).unwrap_or(i64::MAX);
        standing.credit = standing.credit.saturating_add(share);
        total += share;
        if standing.credit > most {
            (best, most) = (choice, standing.credit);
        }
    }
    standings[best.index].credit -= total;
    best
}

/// Whatever speaks against it, where the request was nowhere yet.
fn last_resort(standings: &[Standing], seeker: Seeker) -> Option<Choice> {
    if !seeker.tried.is_none() {
        return None;
    }
    let is_spared = |of: &Standing| of.breaker.is_silent() && of.unanswered >= MAX_TRIES;
    let all = standings.iter().enumerate().filter(|(_, of)| !is_spared(of));
    let (index, _) = all.min_by_key(|(_, of)| of.unanswered)?;
    Some(Choice { index, is_probe: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::origins::{config::BreakerConfig, failure::Failure};

    const NO_START: Duration = Duration::ZERO;
    const FIRST: Seeker = Seeker { tried: Tried(0), can_repeat: true };
    const ONE_FAILURE: BreakerConfig = BreakerConfig {
        failures: 1,
        back_off: Duration::from_secs(1),
        max_back_off: Duration::from_secs(8),
    };

    fn with_weights(weights: &[u32], now: Instant) -> Vec<Standing> {
        weights.iter().map(|weight| Standing::new(*weight, false, now)).collect()
    }

    fn open(standing: &mut Standing, failure: Failure, now: Instant) {
        standing.breaker.failed(failure, false, now, 1.0, &ONE_FAILURE);
    }

    fn index(standings: &mut [Standing], seeker: Seeker, now: Instant) -> Option<usize> {
        let balance = Balance::LeastOutstanding;
        let choice = choose(standings, seeker, balance, NO_START, |_| true, now)?;
        Some(choice.index)
    }

    fn turns(
        standings: &mut [Standing],
        count: usize,
        slow_start: Duration,
        now: Instant,
    ) -> Vec<usize> {
        let mut next = || choose(standings, FIRST, Balance::RoundRobin, slow_start, |_| true, now);
        (0..count).map(|_| next().unwrap().index).collect()
    }

    #[test]
    fn turns_are_smooth() {
        let now = Instant::now();
        assert_eq!(turns(&mut with_weights(&[1, 1, 1], now), 6, NO_START, now), [0, 1, 2, 0, 1, 2]);
        let order = turns(&mut with_weights(&[5, 1, 1], now), 7, NO_START, now);
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_one_with_the_fewest_requests_for_its_weight_is_next_and_ties_take_turns() {
        let now = Instant::now();
        let mut standings = with_weights(&[1, 2, 1], now);
        for (outstanding, expected) in [
            ([1, 0, 0], 1),
            ([1, 1, 0], 2),
            ([1, 1, 1], 1),
            ([1, 2, 0], 2),
            ([3, 5, 3], 1),
            ([2, 6, 3], 0),
        ] {
            for (standing, outstanding) in standings.iter_mut().zip(outstanding) {
                (standing.outstanding, standing.credit) = (outstanding, 0);
            }
            assert_eq!(index(&mut standings, FIRST, now), Some(expected), "{outstanding:?}");
        }
        let mut idle = with_weights(&[1, 1, 1], now);
        let order = [(); 4].map(|()| index(&mut idle, FIRST, now).unwrap());
        assert_eq!(order, [0, 1, 2, 0]);
    }

    #[test]
    fn backups_are_asked_only_while_no_other_can_be() {
        let now = Instant::now();
        let mut standings = with_weights(&[1, 1, 1], now);
        standings[2].is_backup = true;
        standings[0].outstanding = 1000;
        open(&mut standings[1], Failure::Reset, now);
        assert_eq!(index(&mut standings, FIRST, now), Some(0));
        standings[0].is_well = false;
        assert_eq!(index(&mut standings, FIRST, now), Some(2));
        let later = now + Duration::from_secs(1);
        assert_eq!(index(&mut standings, FIRST, later), Some(1), "it is tried again");
    }

    #[test]
    fn one_without_a_connection_to_spare_is_asked_only_where_all_are_so() {
        let now = Instant::now();
        let mut standings = with_weights(&[1, 1], now);
        for (room, expected) in [([true, true], 0), ([false, true], 1), ([false, false], 0)] {
            (standings[0].credit, standings[1].credit) = (1, 0);
            let balance = Balance::RoundRobin;
            let choice =
                choose(&mut standings, FIRST, balance, NO_START, |index| room[index], now).unwrap();
            assert_eq!(choice.index, expected, "{room:?}");
        }
    }

    #[test]
    fn where_all_are_down_all_are_tried_and_the_silent_ones_by_a_few_at_a_time() {
        let now = Instant::now();
        let mut standings = with_weights(&[1, 1, 1], now);
        open(&mut standings[0], Failure::Connect, now);
        open(&mut standings[1], Failure::Timeout, now);
        standings[2].is_well = false;
        for (unanswered, expected) in [
            ([0, 1, 1], Some(0)),
            ([9, 10, 11], Some(0)),
            ([10, 10, 11], Some(2)),
            ([10, 10, 1000], Some(2)),
        ] {
            for (standing, unanswered) in standings.iter_mut().zip(unanswered) {
                standing.unanswered = unanswered;
            }
            assert_eq!(index(&mut standings, FIRST, now), expected, "{unanswered:?}");
        }
        open(&mut standings[2], Failure::Connect, now);
        assert_eq!(index(&mut standings, FIRST, now), None, "each has its few");
        for standing in &mut standings {
            standing.unanswered = 0;
        }
        let elsewhere = Seeker { tried: Tried(1), ..FIRST };
        assert_eq!(index(&mut standings, elsewhere, now), None, "nothing is sent there twice");
    }

    #[test]
    fn one_that_comes_back_gets_its_share_little_by_little() {
        let now = Instant::now();
        let slow_start = Duration::from_secs(10);
        let mut standings = with_weights(&[1, 1], now);
        standings[1].back_since = Some(now);
        for (secs, expected) in [(0, 10), (5, 37), (10, 55)] {
            standings[0].credit = 0;
            standings[1].credit = 0;
            let now = now + Duration::from_secs(secs);
            let order = turns(&mut standings, 110, slow_start, now);
            let given = order.iter().filter(|index| **index == 1).count();
            assert_eq!(given, expected, "after {secs} s");
        }
    }

    proptest! {
        /// Over each round of as many turns as weights there are, each gets exactly its weight; and at no moment is
        /// any a whole turn before or behind its part.
        #[test]
        fn each_gets_its_weight_and_never_far_from_its_turn(
            weights in proptest::collection::vec(1_u32..=20, 1..8),
        ) {
            let now = Instant::now();
            let total: u32 = weights.iter().sum();
            let mut standings = with_weights(&weights, now);
            let order = turns(&mut standings, 2 * total as usize, NO_START, now);
            let mut given = vec![0_u32; weights.len()];
            for (turn, index) in order.iter().enumerate() {
                given[*index] += 1;
                for (given, weight) in given.iter().zip(&weights) {
                    let due = (turn + 1) as f64 * f64::from(*weight) / f64::from(total);
                    let most = (weights.len() as f64).max(2.0) - 1.0;
                    prop_assert!((f64::from(*given) - due).abs() <= most, "{order:?} of {weights:?}");
                }
                if (turn + 1) % total as usize == 0 {
                    let rounds = (turn + 1) / total as usize;
                    let whole: Vec<_> = weights.iter().map(|weight| weight * rounds as u32).collect();
                    prop_assert_eq!(&given, &whole);
                }
            }
        }

        /// Whatever is known of the addresses: a request that was nowhere yet finds one unless all were silent and
        /// have their few; none is asked twice; and none that nothing speaks against is passed over for another.
        #[test]
        fn a_request_is_sent_where_nothing_speaks_against_it(
            rows in proptest::collection::vec((1_u32..5, any::<bool>(), any::<bool>(), 0_usize..15, 0_usize..4), 1..8),
            tried in any::<u64>(),
            can_repeat: bool,
            in_turn: bool,
            room in any::<u64>(),
        ) {
            let now = Instant::now();
            let mut standings: Vec<_> = rows.iter().map(|(weight, is_backup, is_well, outstanding, state)| {
                let mut standing = Standing::new(*weight, *is_backup, now);
                (standing.is_well, standing.outstanding) = (*is_well, *outstanding);
                standing.unanswered = *outstanding;
                match state {
                    0 => open(&mut standing, Failure::Status, now),
                    1 => open(&mut standing, Failure::Connect, now),
                    _ => {}
                }
                standing
            }).collect();
            let tried = Tried(tried & ((1 << rows.len()) - 1));
            let before = standings.clone();
            let seeker = Seeker { tried, can_repeat };
            let balance = if in_turn { Balance::RoundRobin } else { Balance::LeastOutstanding };
            let has_room = |index: usize| room & (1 << index) != 0;
            let choice = choose(&mut standings, seeker, balance, NO_START, has_room, now);
            let up = |index: &usize| before[*index].is_up(now) && !tried.has(*index);
            let any_up = (0..before.len()).any(|index| up(&index));
            match choice {
                Some(Choice { index, is_probe }) => {
                    prop_assert!(!tried.has(index));
                    prop_assert!(!is_probe, "no back-off is over");
                    prop_assert!(!any_up || up(&index));
                    let others = (0..before.len()).filter(up).any(|other| !before[other].is_backup);
                    prop_assert!(!any_up || !others || !before[index].is_backup);
                    prop_assert!(any_up || tried.is_none());
                }
                None => {
                    prop_assert!(!any_up);
                    let spared = before.iter().all(|of| of.breaker.is_silent() && of.outstanding >= MAX_TRIES);
                    prop_assert!(!tried.is_none() || spared);
                }
            }
        }
    }
}
