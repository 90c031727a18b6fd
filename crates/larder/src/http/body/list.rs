//! List: all readers that can be told to go, and how fast each takes what it is given.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

/// How fast a reader is, is told by what it took in so long at least.
const MEASURED: Duration = Duration::from_secs(1);
/// The time between two looks at all readers.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A reader that can be told to go.
pub(super) trait Reader: Send + Sync {
    /// What it was given, or has taken, in bytes.
    fn taken(&self) -> u64;

    /// Whether it has asked for more than there was, since this was asked last.
    fn has_waited(&self) -> bool;

    /// What would be free if it went, as far as it alone holds it.
    fn loose(&self) -> usize;

    /// Tells it to go, and lets go of what it holds. False: it was told already.
    fn recall(&self) -> bool;
}

/// All who have a seat.
#[derive(Default)]
pub(super) struct Readers(Mutex<Seats>);

#[derive(Default)]
struct Seats {
    all: Slab<Listed>,
    looked_at: Option<Instant>,
}

struct Listed {
    seat: Weak<dyn Reader>,
    /// What it had taken then.
    seen: (Instant, u64),
    /// Bytes in a second, in the last stretch of time that was long enough.
    rate: Option<u64>,
}

impl Readers {
    /// Lists a reader, which `new` makes with its number.
    pub(super) fn list<R: Reader + 'static>(&self, new: impl FnOnce(usize) -> Arc<R>) -> Arc<R> {
        let mut seats = self.lock();
        let place = seats.all.vacant_entry();
        let reader = new(place.key());
        let seat: Weak<R> = Arc::downgrade(&reader);
        place.insert(Listed { seat, seen: (Instant::now(), 0), rate: None });
        reader
    }

    /// The reader with this number is gone.
    pub(super) fn strike(&self, number: usize) {
        let listed = self.lock().all.try_remove(number);
        drop(listed);
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whose rate is known, the slowest first. None, if they were looked at just now.
    pub(super) fn slowest(&self, now: Instant) -> Vec<(u64, Arc<dyn Reader>)> {
        let mut seats = self.lock();
        if seats.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return Vec::new();
        }
        seats.looked_at = Some(now);
        let mut known = Vec::new();
        for (_, listed) in &mut seats.all {
            // One that is just being dropped is not there any more.
            let Some(seat) = listed.seat.upgrade() else { continue };
            let (since, before) = listed.seen;
            let taken = seat.taken();
            let passed = now.duration_since(since);
            if seat.has_waited() {
                // It had read all there was: that it got no more says nothing of its pace.
                (listed.seen, listed.rate) = ((now, taken), None);
            } else if passed >= MEASURED {
                let rate = (taken - before) as f64 / passed.as_secs_f64();
                (listed.seen, listed.rate) = ((now, taken), Some(rate as u64));
            }
            known.push((listed.rate, seat));
        }
        drop(seats);
        // Seats are dropped with the lock free: they take themselves off the list.
        let mut known: Vec<_> =
            known.into_iter().filter_map(|(rate, seat)| Some((rate?, seat))).collect();
        known.sort_by_key(|(rate, _)| *rate);
        known
    }
}
