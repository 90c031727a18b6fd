//! Passed: single requests as they are answered, for whoever watches.
//!
//! What was no plain hit is remembered anyway. Of plain hits, which leave no trace, a few are chosen while somebody watches:
//! until then [`Onlookers::wants_hit`] reads a number that nobody writes.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::PastRequest;

/// How often whoever watches is told.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// So many plain hits are chosen in that time, however many watch.
const HITS: u32 = 3;

/// Watches single requests until it is dropped.
pub trait Watch: Send {
    /// Those that were answered since it was asked last.
    fn passed(&mut self) -> Passed;
}

/// Requests that were answered.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Passed {
    /// The oldest first, at most [`MOST`](Passed::MOST).
    pub requests: Vec<PastRequest>,
    /// How many more there were, of those that are remembered.
    pub left_out: u64,
}

impl Passed {
    /// More at once nobody follows.
    pub const MOST: usize = 8;

    /// Of these at most [`MOST`](Passed::MOST). `more`: how many there were beside.
    pub fn of(mut requests: Vec<PastRequest>, more: u64) -> Passed {
        requests.sort_by(|one, other| one.at.cmp(&other.at));
        let count = requests.len();
        let mut chosen = Passed::choose(requests.iter().map(|request| request.verdict));
        chosen.reverse();
        let mut place = 0..;
        requests.retain(|_| {
            let is_next = chosen.last().copied() == place.next();
            if is_next {
                chosen.pop();
            }
            is_next
        });
        let left_out = more + (count - requests.len()) as u64;
        Passed { requests, left_out }
    }

    /// The places, in order, of those to be told of requests with these verdicts: the first of each verdict, since what is
    /// rare is not to be missed, and others from beginning to end.
    pub fn choose(verdicts: impl Iterator<Item = &'static str>) -> Vec<usize> {
        let mut seen = Vec::new();
        let (mut chosen, mut others) = (Vec::new(), Vec::new());
        for (place, verdict) in verdicts.enumerate() {
            if chosen.len() < Passed::MOST && !seen.contains(&verdict) {
                seen.push(verdict);
                chosen.push(place);
            } else {
                others.push(place);
            }
        }
        let room = (Passed::MOST - chosen.len()).min(others.len());
        chosen.extend((0..room).map(|turn| others[turn * others.len() / room]));
        chosen.sort_unstable();
        chosen
    }
}

/// Who watches, and how many plain hits they are still to be shown.
#[derive(Default)]
pub struct Onlookers {
    wanted: Wanted,
    /// Held to come, to go, and to ask for more.
    watching: Mutex<Watching>,
}

/// On a line of its own: each hit reads it, and what is written beside would take it from them.
#[derive(Default)]
#[repr(align(128))]
struct Wanted(AtomicU32);

#[derive(Default)]
struct Watching {
    count: usize,
    asked: Option<Instant>,
}

impl Onlookers {
    /// Whether somebody wants to see a plain hit.
    #[inline]
    pub fn wants_hit(&self) -> bool {
        self.wanted.0.load(Relaxed) != 0
    }

    /// Shows a plain hit to them, if they want one.
    pub fn take_hit(&self) -> bool {
        let one_less = |wanted: u32| wanted.checked_sub(1);
        self.wants_hit() && self.wanted.0.fetch_update(Relaxed, Relaxed, one_less).is_ok()
    }

    /// Another one watches, until it [goes](Onlookers::go).
    pub fn come(&self) {
        self.watching().count += 1;
    }

    /// One watches no more. After the last, no hit is wanted.
    pub fn go(&self) {
        let mut watching = self.watching();
        watching.count = watching.count.saturating_sub(1);
        if watching.count == 0 {
            self.wanted.0.store(0, Relaxed);
        }
    }

    /// One that watches wants to see the next few plain hits. What several want at once is the same few.
    pub fn want_hits(&self, now: Instant) {
        let mut watching = self.watching();
        let since = |asked: Instant| now.saturating_duration_since(asked);
        let is_time = watching.asked.is_none_or(|asked| since(asked) >= EVERY / 2);
        if watching.count > 0 && is_time {
            watching.asked = Some(now);
            self.wanted.0.store(HITS, Relaxed);
        }
    }

    /// It is whole after each step.
    fn watching(&self) -> MutexGuard<'_, Watching> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Onlookers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Onlookers").field("wanted", &self.wanted.0).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rare_is_told_and_of_the_rest_some_from_beginning_to_end() {
        let crowd = |at: usize| if at == 400 { "miss" } else { "collapsed" };
        let chosen = Passed::choose((0..500).map(crowd));
        assert_eq!(chosen.len(), Passed::MOST);
        assert!(chosen.contains(&0) && chosen.contains(&400), "{chosen:?}");
        assert!(chosen.is_sorted() && chosen.iter().any(|&at| at > 410), "{chosen:?}");
        for count in 0..=Passed::MOST {
            assert_eq!(Passed::choose((0..count).map(|_| "hit")), Vec::from_iter(0..count));
        }
        let each_other = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        assert_eq!(Passed::choose(each_other.into_iter()), Vec::from_iter(0..Passed::MOST));
    }

    #[test]
    fn no_hit_is_wanted_before_somebody_watches_nor_after_the_last_has_gone() {
        let (onlookers, now) = (Onlookers::default(), Instant::now());
        onlookers.want_hits(now);
        assert!(!onlookers.wants_hit() && !onlookers.take_hit());
        onlookers.come();
        onlookers.come();
        onlookers.want_hits(now);
        // Both want the same.
        onlookers.want_hits(now);
        assert_eq!((0..100).filter(|_| onlookers.take_hit()).count(), HITS as usize);
        onlookers.want_hits(now + EVERY / 2);
        onlookers.go();
        assert!(onlookers.wants_hit());
        onlookers.go();
        assert!(!onlookers.wants_hit());
    }
}
