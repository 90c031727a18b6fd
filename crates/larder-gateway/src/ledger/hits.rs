//! Hits: how many each route had, counted by each thread for itself.
//!
//! A plain hit may cost next to nothing, so its thread writes a cell that no other thread writes ([`Seat`]). A route has one
//! of 16 bytes for each event loop, in groups of 64 routes that are made when one of them has its first hit there.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use larder::seat::{SEATS, Seat};

/// Routes in a group.
const GROUP: usize = 64;
const GROUPS: usize = (1 << 16) / GROUP;
/// One hit in so many of a route on a loop is timed.
const SAMPLE: u64 = 64;

/// The cells of all routes, by their numbers.
pub(super) struct HitCells {
    seats: [OnceLock<Box<OfSeat>>; SEATS],
}

type OfSeat = [OnceLock<Box<[Cell; GROUP]>>; GROUPS];

#[derive(Default)]
struct Cell {
    hits: AtomicU64,
    saved_micros: AtomicU64,
}

/// This thread's cell of one route.
#[derive(Clone, Copy)]
pub(super) struct HitCell<'a> {
    cell: &'a Cell,
    seat: Seat,
}

impl HitCell<'_> {
    /// Whether the next hit is one of those to be timed.
    #[inline]
    pub(super) fn is_sample(self) -> bool {
        self.cell.hits.load(Relaxed).is_multiple_of(SAMPLE)
    }

    /// So many hits, which have saved so much.
    #[inline]
    pub(super) fn add(self, hits: u64, saved_micros: u64) {
        self.seat.add(&self.cell.hits, hits);
        self.seat.add(&self.cell.saved_micros, saved_micros);
    }
}

impl HitCells {
    pub(super) fn new() -> HitCells {
        HitCells { seats: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// This thread's cell of the route of this number.
    #[inline]
    pub(super) fn of(&self, number: u16) -> HitCell<'_> {
        let (seat, number) = (Seat::of_thread(), usize::from(number));
        let groups = self.seats[seat.place()].get_or_init(new_seat);
        let group = groups[number / GROUP].get_or_init(new_group);
        HitCell { cell: &group[number % GROUP], seat }
    }

    /// How many hits the route of this number had, and what they have saved in microseconds.
    pub(super) fn sum(&self, number: u16) -> (u64, u64) {
        let cells = self.cells(number);
        cells.fold((0, 0), |(hits, saved), cell| {
            let (more, saved_more) = (cell.hits.load(Relaxed), cell.saved_micros.load(Relaxed));
            (hits.wrapping_add(more), saved.wrapping_add(saved_more))
        })
    }

    /// The number is free for another route. Nobody counts hits of the one before any more.
    pub(super) fn reset(&self, number: u16) {
        for cell in self.cells(number) {
            cell.hits.store(0, Relaxed);
            cell.saved_micros.store(0, Relaxed);
        }
    }

    fn cells(&self, number: u16) -> impl Iterator<Item = &Cell> {
        let number = usize::from(number);
        let groups = self.seats.iter().filter_map(OnceLock::get);
        let groups = groups.filter_map(move |groups| groups[number / GROUP].get());
        groups.map(move |group| &group[number % GROUP])
    }
}

#[cold]
fn new_seat() -> Box<OfSeat> {
    Box::new(std::array::from_fn(|_| OnceLock::new()))
}

#[cold]
fn new_group() -> Box<[Cell; GROUP]> {
    Box::new(std::array::from_fn(|_| Cell::default()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn no_hit_is_lost_and_each_is_its_route_s() {
        let cells = HitCells::new();
        let numbers = [0, 1, 63, 64, u16::MAX];
        // More threads than there are seats, and they come and go.
        for _ in 0..2 {
            thread::scope(|scope| {
                for _ in 0..2 * SEATS {
                    scope.spawn(|| {
                        for number in numbers {
                            (0..100).for_each(|_| cells.of(number).add(1, u64::from(number)));
                        }
                    });
                }
            });
        }
        let hits = 2 * 2 * SEATS as u64 * 100;
        for number in numbers {
            assert_eq!(cells.sum(number), (hits, hits * u64::from(number)));
        }
        cells.reset(64);
        assert_eq!((cells.sum(64), cells.sum(63).0), ((0, 0), hits));
        assert_eq!(cells.sum(2), (0, 0));
    }

    #[test]
    fn one_hit_in_sixty_four_is_timed_the_first_among_them() {
        let cells = HitCells::new();
        let timed = (0..640).filter(|_| {
            let cell = cells.of(7);
            let is_sample = cell.is_sample();
            cell.add(1, 0);
            is_sample
        });
        assert_eq!(timed.count(), 10);
        assert!(cells.of(7).is_sample());
    }
}
