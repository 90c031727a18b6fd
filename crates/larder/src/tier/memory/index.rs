//! Index: which slot holds a hash, found in one cache line.
//!
//! A table of 32-bit cells, probed one after the other from a hash's home on. A table of 2^b cells
//! names its slots in b bits: the top b bits of a hash are its home, and the others lie beside the
//! slot's number, so a cell tells a stranger from the one looked for without a look at the slot. What
//! moves after a removal, or when the table gets another size, asks the slot for its whole hash.

/// No slot: its number would be larger than any that fits.
const EMPTY: u32 = u32::MAX;
const MIN_BITS: u32 = 5;

#[derive(Debug)]
pub(super) struct Index {
    /// None at all before the first entry.
    cells: Box<[u32]>,
    bits: u32,
}

impl Index {
    /// The most bytes it takes for a slot, at three cells in ten: with fewer taken it shrinks.
    pub(super) const BYTES_PER_SLOT: usize = (4 * 10_usize).div_ceil(3);

    pub(super) fn new() -> Self {
        Index { cells: Box::default(), bits: MIN_BITS }
    }

    /// The number of the slot with this hash that `is_it`.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|(_, number)| number)
    }

    /// Enters a slot that is not in it. There must be room: see [`fit`](Index::fit).
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        let mut place = self.home(hash);
        while self.cells[place] != EMPTY {
            place = self.after(place);
        }
        self.cells[place] = hash << self.bits | number;
    }

    /// Takes a slot out, and closes the gap: whoever was pushed on beyond it moves up.
    pub(super) fn remove(&mut self, hash: u32, number: u32, hash_of: impl Fn(u32) -> u32) {
        let mut gap = self.place_of(hash, number);
        let mut place = self.after(gap);
        while self.cells[place] != EMPTY {
            let cell = self.cells[place];
            let home = self.home(hash_of(self.number(cell)));
            // Nobody may stand before his home.
            if self.steps(home, place) >= self.steps(gap, place) {
                self.cells[gap] = cell;
                gap = place;
            }
            place = self.after(place);
        }
        self.cells[gap] = EMPTY;
    }

    /// The slot `from` is now called `to`.
    pub(super) fn renumber(&mut self, hash: u32, from: u32, to: u32) {
        let place = self.place_of(hash, from);
        self.cells[place] = hash << self.bits | to;
    }

    /// Whether the table is too small for `slots` slots, or larger than it should be for them.
    pub(super) fn fits(&self, slots: usize) -> bool {
        let cells = self.cells.len();
        slots * 4 <= cells * 3 && (slots * 10 >= cells * 3 || self.bits == MIN_BITS)
    }

    /// Takes the size that is right for `slots` slots, and enters those there are anew.
    pub(super) fn fit(&mut self, slots: usize, all: impl Iterator<Item = (u32, u32)>) {
        // Five to ten cells in sixteen are taken then: there is room to grow and to shrink.
        let cells = (slots * 8).div_ceil(5).next_power_of_two();
        self.bits = cells.ilog2().max(MIN_BITS);
        assert!(self.bits < u32::BITS, "a shard holds less than a billion entries");
        self.cells = vec![EMPTY; 1 << self.bits].into();
        all.for_each(|(hash, number)| self.insert(hash, number));
    }

    #[inline]
    fn place(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let (wanted, mut place) = (hash << self.bits, self.home(hash));
        // Before the first entry there is no cell.
        let mut cell = *self.cells.get(place)?;
        while cell != EMPTY {
            let number = self.number(cell);
            if (cell ^ wanted) >> self.bits == 0 && is_it(number) {
                return Some((place, number));
            }
            place = self.after(place);
            cell = self.cells[place];
        }
        None
    }

    fn place_of(&self, hash: u32, number: u32) -> usize {
        let found = self.place(hash, |other| other == number);
        found.expect("every taken slot is in the index").0
    }

    fn home(&self, hash: u32) -> usize {
        (hash >> (u32::BITS - self.bits)) as usize
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.cells.len() - 1)
    }

    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }

    fn number(&self, cell: u32) -> u32 {
        cell & ((1 << self.bits) - 1)
    }
}

#[cfg(test)]
impl Index {
    /// All slot numbers in it.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let taken = self.cells.iter().filter(|&&cell| cell != EMPTY);
        taken.map(|&cell| self.number(cell)).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// Few homes, so that runs of cells grow long, meet, and wrap around the end.
        #[test]
        fn it_knows_what_is_in_it_and_nothing_else(
            steps in vec((any::<bool>(), 0..40_u32, 0..4_u32), 1..300),
        ) {
            let mut index = Index::new();
            let mut hashes: Vec<u32> = Vec::new();
            for (is_insert, low, home) in steps {
                let hash = (home << 27).wrapping_sub(2 << 27) + low % 3;
                if is_insert {
                    hashes.push(hash);
                    if !index.fits(hashes.len()) {
                        let others = hashes[..hashes.len() - 1].iter().copied().zip(0..);
                        index.fit(hashes.len(), others);
                    }
                    index.insert(hash, hashes.len() as u32 - 1);
                } else if !hashes.is_empty() {
                    let gone = low as usize % hashes.len();
                    let last = hashes.len() - 1;
                    index.remove(hashes[gone], gone as u32, |number| hashes[number as usize]);
                    let moved = hashes.swap_remove(gone);
                    if gone != last {
                        index.renumber(hashes[gone], last as u32, gone as u32);
                    }
                    prop_assert_eq!(index.find(moved, |number| number == last as u32), None);
                }
                for (number, &hash) in (0..).zip(&hashes) {
                    prop_assert_eq!(index.find(hash, |other| other == number), Some(number));
                }
                prop_assert_eq!(index.find(7, |_| true), None);
                prop_assert_eq!(index.numbers().len(), hashes.len());
            }
        }
    }

    #[test]
    fn whatever_its_size_it_has_room_and_wastes_little() {
        let mut index = Index::new();
        for slots in (1..5000).chain((20..5000).rev()) {
            if !index.fits(slots) {
                index.fit(slots, std::iter::empty());
            }
            assert!(slots * 4 <= index.cells.len() * 3);
            assert!(index.bytes() <= slots * Index::BYTES_PER_SLOT || index.bits == MIN_BITS);
        }
    }
}
