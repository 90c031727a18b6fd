//! Seat: which of some counters is this thread's own to write.
//!
//! Counters that all threads write cost a hit more than all the rest of its counting: their cache line goes from
//! processor to processor. So each thread has a seat while it lives, and counters a cell for each seat. What is beside a
//! cache, and counts as often, may sit here as well.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// The seats that have one thread each; all other threads share one more.
const OWN_SEATS: usize = 64;
/// Not a seat: the place of those who have none.
const STANDING: usize = OWN_SEATS;
/// Not a place: the thread has not asked for a seat yet.
const UNASKED: usize = usize::MAX;

/// How many places there are, that of the threads without a seat among them.
pub const SEATS: usize = OWN_SEATS + 1;

thread_local! {
    static SEAT: Cell<usize> = const { Cell::new(UNASKED) };
    static TICKET: Ticket = Ticket::take();
}

/// Where this thread counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat(usize);

impl Seat {
    /// That of this thread.
    #[inline]
    pub fn of_thread() -> Seat {
        let mut seat = SEAT.get();
        if seat == UNASKED {
            seat = sit_down();
        }
        Seat(seat)
    }

    /// Its place, below [`SEATS`].
    #[inline]
    pub fn place(self) -> usize {
        self.0
    }

    /// Adds to a counter of this place, which no thread at another place writes.
    ///
    /// Where no other thread writes, adding needs no locked instruction, which costs more than all the rest of the
    /// counting.
    #[inline]
    pub fn add(self, counter: &AtomicU64, count: u64) {
        if self.0 == STANDING {
            counter.fetch_add(count, Ordering::Relaxed);
        } else {
            let sum = counter.load(Ordering::Relaxed).wrapping_add(count);
            counter.store(sum, Ordering::Relaxed);
        }
    }
}

/// The right of one thread to be the only one at its place. Whoever has it next sees all that was written before.
struct Ticket(usize);

static TAKEN_SEATS: AtomicU64 = AtomicU64::new(0);

impl Ticket {
    fn take() -> Ticket {
        let first_free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        let taken = TAKEN_SEATS.fetch_update(Ordering::Acquire, Ordering::Relaxed, first_free);
        Ticket(taken.map_or(STANDING, |taken| taken.trailing_ones() as usize))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What this thread still counts while it ends, it counts among the others.
        SEAT.set(STANDING);
        if self.0 != STANDING {
            TAKEN_SEATS.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cold]
fn sit_down() -> usize {
    // A thread that is ending gets no seat any more: nobody would give it back.
    let seat = TICKET.try_with(|ticket| ticket.0).unwrap_or(STANDING);
    SEAT.set(seat);
    seat
}

/// One test at a time takes the seats there are.
#[cfg(test)]
pub(crate) static SEATED: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_has_one_thread_at_a_time_and_is_given_back() {
        let _seated = SEATED.lock();
        let tickets: Vec<_> = (0..2 * OWN_SEATS).map(|_| Ticket::take()).collect();
        let seats = tickets.iter().map(|ticket| ticket.0).filter(|&seat| seat != STANDING);
        let mut seats: Vec<_> = seats.collect();
        let all = seats.len();
        assert!((1..=OWN_SEATS).contains(&all));
        seats.sort_unstable();
        seats.dedup();
        assert_eq!(seats.len(), all);
        drop(tickets);
        for _ in 0..10 * OWN_SEATS {
            assert_ne!(Ticket::take().0, STANDING);
        }
    }
}
