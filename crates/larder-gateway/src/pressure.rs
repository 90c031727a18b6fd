//! Pressure: how near the process is to the memory that it may take, and what gives way for that.
//!
//! Whoever measures tells it ([`Pressure::measured`]); all others ask. It has three levels, and from one down to the
//! next there is a gap, so that what has just given way is not taken again at once.
//!
//! | of the bound | level | what gives way |
//! | --- | --- | --- |
//! | from 14/20 on, until it is below 13/20 | tight | the store ([`Room`]), the oldest connections, new ones come in slowly |
//! | from 16/20 on, until it is below 15/20 | full | also requests that have to be fetched: 503 |
//!
//! What is stored is answered on each level: that takes next to no memory, and it is why the gateway is there. The nearer
//! the next level, the sooner it is looked again ([`look_again`]). The last fifth is for what comes between two looks all the
//! same, which may be late where all processors are busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use crate::seldom::Seldom;

/// How long a line is not logged again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// How long each new connection waits: so many come in a second and no more, and what waits in front (the backlog) waits for
/// some seconds at most.
const TIGHT_WAIT: Duration = Duration::from_millis(2);
const FULL_WAIT: Duration = Duration::from_millis(10);
/// So many bytes come in a second at most: a network of 10 Gbit/s.
const FASTEST: u64 = 1_250_000_000;
/// However far or near the next level is, it is looked no sooner and no later again, the latter while all is calm and while
/// something gives way. A look takes some ten microseconds.
const SOONEST: Duration = Duration::from_millis(2);
const LATEST: Duration = Duration::from_millis(50);
const LATEST_IN_NEED: Duration = Duration::from_millis(10);
/// The store keeps this part of the room that it is to have at best.
const LEAST_ROOM: usize = 16;

/// How much gives way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Calm,
    /// What can be had again, and who has been here for long.
    Tight,
    /// Also requests that would take more.
    Full,
}

impl Level {
    /// The level that follows where so many bytes of so many are taken.
    fn next(self, taken: u64, bound: u64) -> Level {
        let from = |twentieths: u64| taken >= bound / 20 * twentieths;
        match self {
            _ if from(16) => Level::Full,
            Level::Full if from(15) => Level::Full,
            _ if from(14) => Level::Tight,
            Level::Full | Level::Tight if from(13) => Level::Tight,
            _ => Level::Calm,
        }
    }
}

/// How near the process is to its bound. Nobody has told it of any: calm for good. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    level: watch::Sender<Level>,
    taken: AtomicU64,
    bound: AtomicU64,
    tight: AtomicU64,
    full: AtomicU64,
    refused: AtomicU64,
    refusals: Seldom,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            level: watch::Sender::default(),
            taken: AtomicU64::new(0),
            bound: AtomicU64::new(0),
            tight: AtomicU64::new(0),
            full: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refusals: Seldom::every(TELL_AGAIN),
        }
    }
}

/// What was measured, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureStats {
    /// What the process takes, in bytes.
    pub taken: u64,
    /// What it may take, in bytes.
    pub bound: u64,
    /// What gives way now.
    pub level: Level,
    /// How often it became tight.
    pub tight: u64,
    /// How often it became full.
    pub full: u64,
    /// Requests that were not sent to their service for it.
    pub refused: u64,
}

impl Pressure {
    /// The process takes so many bytes of so many that it may. Returns what gives way from now on.
    pub fn measured(&self, taken: u64, bound: u64) -> Level {
        let Shared { level, tight, full, .. } = &*self.0;
        self.0.taken.store(taken, Relaxed);
        self.0.bound.store(bound, Relaxed);
        let before = *level.borrow();
        let now = before.next(taken, bound);
        if now != before {
            level.send_replace(now);
        }
        if now > before {
            let count = if now == Level::Full { full } else { tight };
            count.fetch_add(1, Relaxed);
        }
        now
    }

    /// Whether requests that have to be fetched are refused.
    pub(crate) fn is_full(&self) -> bool {
        *self.0.level.borrow() == Level::Full
    }

    /// For each connection that comes: how many are to leave, of so few that it makes no difference to many, and how long
    /// it waits. None: it need not.
    pub(crate) fn making_room(&self, few: usize) -> Option<(usize, Duration)> {
        match *self.0.level.borrow() {
            Level::Calm => None,
            Level::Tight => Some((few, TIGHT_WAIT)),
            Level::Full => Some((few * 8, FULL_WAIT)),
        }
    }

    /// Once it has been more than calm for so long. Safe to drop and to begin anew.
    pub(crate) async fn more_than_calm_for(&self, time: Duration) {
        let mut level = self.0.level.subscribe();
        // The sender lives as long as this.
        level.wait_for(|level| *level > Level::Calm).await.ok();
        sleep(time).await;
    }

    /// A request was not sent to its service for it. Now and then that is to be told: how many there were.
    pub(crate) fn refuse(&self) -> Option<u64> {
        self.0.refused.fetch_add(1, Relaxed);
        self.0.refusals.one_more()
    }

    /// What was measured, and what came of it.
    pub fn stats(&self) -> PressureStats {
        let Shared { level, taken, bound, tight, full, refused, .. } = &*self.0;
        let read = |count: &AtomicU64| count.load(Relaxed);
        PressureStats {
            taken: read(taken),
            bound: read(bound),
            level: *level.borrow(),
            tight: read(tight),
            full: read(full),
            refused: read(refused),
        }
    }
}

/// What the store may hold at each level: as much as it is to have at best, and less while the process is not calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    at_best: usize,
    now: usize,
}

impl Room {
    /// As much as it is to have at best.
    pub fn new(at_best: usize) -> Room {
        Room { at_best, now: at_best }
    }

    /// What it may hold from now on, if that is another bound than before, where the process takes so many bytes of so
    /// many. `held`: what it holds, with what bodies hold outside it.
    ///
    /// Where it is tight it gives back what is beyond the calm, and a sixteenth at least: not all that it gives back is the system's
    /// again. Below, it gets a part of what is free, also while others still give way: what the allocator keeps of what
    /// was given back would be of no use to anybody else.
    pub fn next(&mut self, held: usize, taken: u64, bound: u64) -> Option<usize> {
        let (calm, tight) = (bound / 20 * 13, bound / 20 * 14);
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let before = self.now;
        self.now = if taken < tight {
            self.now.saturating_add(bytes((tight - taken) / 16)).min(self.at_best)
        } else {
            let (held, over) = (held.min(self.now), bytes(taken.saturating_sub(calm)));
            held.saturating_sub(over.max(held / 16)).max(self.at_best / LEAST_ROOM)
        };
        (self.now != before).then_some(self.now)
    }
}

/// How long after so many bytes of so many were measured it is to be measured again: before the next level is reached, or in
/// the midst of what gives way.
pub fn look_again(taken: u64, bound: u64) -> Duration {
    let levels = [14, 16, 20].map(|twentieths| bound / 20 * twentieths);
    let next = levels.into_iter().find(|level| *level > taken).unwrap_or(taken);
    let micros = (next - taken).saturating_mul(1_000_000 / 4) / (FASTEST / 4);
    let latest = if taken < levels[0] { LATEST } else { LATEST_IN_NEED };
    Duration::from_micros(micros).clamp(SOONEST, latest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_level_ends_further_down_than_it_begins() {
        for (before, taken, after) in [
            (Level::Calm, 0, Level::Calm),
            (Level::Calm, 69, Level::Calm),
            (Level::Calm, 70, Level::Tight),
            (Level::Calm, 80, Level::Full),
            (Level::Calm, 1000, Level::Full),
            (Level::Tight, 65, Level::Tight),
            (Level::Tight, 64, Level::Calm),
            (Level::Tight, 79, Level::Tight),
            (Level::Full, 75, Level::Full),
            (Level::Full, 74, Level::Tight),
            (Level::Full, 66, Level::Tight),
            (Level::Full, 10, Level::Calm),
        ] {
            assert_eq!(before.next(taken, 100), after, "{before:?} {taken}");
        }
        assert_eq!(Level::Calm.next(u64::MAX, u64::MAX), Level::Full);
        assert_eq!(Level::Calm.next(0, u64::MAX), Level::Calm);
    }

    #[test]
    fn nothing_comes_past_a_level_between_two_looks() {
        const MB: u64 = 1_000_000;
        let milliseconds = Duration::from_millis;
        for (taken, after) in [
            (0, LATEST),
            (1000 * MB, LATEST),
            (1350 * MB, milliseconds(40)),
            (1399 * MB, SOONEST),
            (1400 * MB, LATEST_IN_NEED),
            (1590 * MB, milliseconds(8)),
            (1600 * MB, LATEST_IN_NEED),
            (1990 * MB, milliseconds(8)),
            (2000 * MB, SOONEST),
            (u64::MAX, SOONEST),
        ] {
            assert_eq!(look_again(taken, 2000 * MB), after, "{taken}");
        }
        assert_eq!(look_again(0, u64::MAX), LATEST);
        assert_eq!(look_again(5, 0), SOONEST);
    }

    #[test]
    fn the_store_gives_back_what_is_too_much_and_gets_it_again() {
        let mut room = Room::new(640);
        assert_eq!(room.next(100, 100, 1000), None, "it has all");
        assert_eq!(room.next(500, 750, 1000), Some(400), "what is beyond the calm");
        assert_eq!(room.next(400, 750, 1000), Some(300));
        assert_eq!(room.next(160, 700, 1000), Some(110));
        assert_eq!(room.next(1600, 700, 1000), Some(60), "what it may not hold, it does not");
        for _ in 0..100 {
            room.next(150, 2000, 1000);
        }
        assert_eq!(room.now, 40, "some is always left");
        assert_eq!(room.next(40, 699, 1000), None, "nothing is free");
        assert_eq!(room.next(40, 380, 1000), Some(60));
        for _ in 0..100 {
            room.next(60, 380, 1000);
        }
        assert_eq!(room.now, 640);
        assert_eq!(Room::new(0).next(0, 1, 0), None);
        let mut large = Room::new(16_000);
        assert_eq!(large.next(16_000, 140, 200), Some(15_000), "a sixteenth at least");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_it_is_told_and_each_time_is_counted() {
        let pressure = Pressure::default();
        let second = Duration::from_secs(1);
        assert!(timeout(second, pressure.more_than_calm_for(second / 2)).await.is_err());
        assert_eq!((pressure.making_room(16), pressure.is_full()), (None, false));
        pressure.measured(70, 100);
        pressure.more_than_calm_for(second).await;
        assert_eq!((pressure.making_room(16), pressure.is_full()), (Some((16, TIGHT_WAIT)), false));
        pressure.measured(95, 100);
        assert_eq!((pressure.making_room(16), pressure.is_full()), (Some((128, FULL_WAIT)), true));
        pressure.measured(70, 100);
        pressure.measured(10, 100);
        pressure.measured(70, 100);
        let PressureStats { taken, bound, level, tight, full, .. } = pressure.stats();
        assert_eq!((taken, bound, level, tight, full), (70, 100, Level::Tight, 2, 1));
    }
}
