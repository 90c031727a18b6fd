//! Index: which slot holds a hash, found in one cache line.
//!
//! A table of 32-bit cells, probed one after the other from a hash's home on. A table of 2^b cells
//! names its slots in b bits: the lower b bits of a hash are its home, and the others lie above the
//! slot's number, so a cell tells a stranger from the one looked for without a look at the slot. What
//! moves after a removal, or when the table gets another size, asks the slot for its whole hash.

/// No slot: its number would be larger than any that fits.
const EMPTY: u32 = u32::MAX;
const MIN_CELLS: usize = 32;

#[derive(Debug)]
pub(super) struct Index {
    /// None at all before the first entry; then a power of two.
    cells: Box<[u32]>,
}

impl Index {
    /// The most bytes it takes for a slot, at three cells in ten: with fewer taken it shrinks.
    pub(super) const BYTES_PER_SLOT: usize = (4 * 10_usize).div_ceil(3);

    pub(super) fn new() -> Self {
        Index { cells: Box::default() }
    }

    /// The numbers of the slots that have this hash, as far as their cells tell; most often one or
    /// none.
    #[inline]
    pub(super) fn candidates(&self, hash: u32) -> Candidates<'_> {
        Candidates { index: self, hash, place: self.home(hash) }
    }

    /// Enters a slot that is not in it. There must be room: see [`fit`](Index::fit).
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        let mut place = self.home(hash);
        while self.cells[place] != EMPTY {
            place = self.after(place);
        }
        self.cells[place] = self.cell(hash, number);
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
        self.cells[place] = self.cell(hash, to);
    }

    /// Whether the table is too small for `slots` slots, or larger than it should be for them.
    pub(super) fn fits(&self, slots: usize) -> bool {
        let cells = self.cells.len();
        slots * 4 <= cells * 3 && (slots * 10 >= cells * 3 || cells == MIN_CELLS)
    }

    /// Takes the size that is right for `slots` slots, and enters those there are anew. Returns the cells it
    /// had.
    pub(super) fn fit(
        &mut self,
        slots: usize,
        all: impl Iterator<Item = (u32, u32)>,
    ) -> Box<[u32]> {
        // Five to ten cells in sixteen are taken then: there is room to grow and to shrink.
        let cells = (slots * 8).div_ceil(5).next_power_of_two().max(MIN_CELLS);
        assert!(cells < 1 << 31, "a shard holds less than a billion entries");
        let before = std::mem::replace(&mut self.cells, vec![EMPTY; cells].into());
        all.for_each(|(hash, number)| self.insert(hash, number));
        before
    }

    fn place_of(&self, hash: u32, number: u32) -> usize {
        let (mut place, wanted) = (self.home(hash), self.cell(hash, number));
        while self.cells[place] != wanted {
            assert_ne!(self.cells[place], EMPTY, "every taken slot is in the index");
            place = self.after(place);
        }
        place
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        (hash & self.mask()) as usize
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.cells.len() - 1)
    }

    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.cells.len() - 1)
    }

    fn cell(&self, hash: u32, number: u32) -> u32 {
        hash & !self.mask() | number
    }

    #[inline]
    fn number(&self, cell: u32) -> u32 {
        cell & self.mask()
    }

    /// Without cells, any: there is nothing to find at any place.
    #[inline]
    fn mask(&self) -> u32 {
        (self.cells.len() as u32).wrapping_sub(1)
    }
}

pub(super) struct Candidates<'a> {
    index: &'a Index,
    hash: u32,
    place: usize,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            let cell = *self.index.cells.get(self.place)?;
            if cell == EMPTY {
                return None;
            }
            self.place = self.index.after(self.place);
            if (cell ^ self.hash) & !self.index.mask() == 0 {
                return Some(self.index.number(cell));
            }
        }
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
            let found = |index: &Index, hash, number| {
                index.candidates(hash).any(|other| other == number)
            };
            let mut hashes: Vec<u32> = Vec::new();
            for (is_insert, low, home) in steps {
                let hash = home.wrapping_sub(2) & 31 | (low % 3) << 29;
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
                    prop_assert!(!found(&index, moved, last as u32));
                }
                for (number, &hash) in (0..).zip(&hashes) {
                    prop_assert!(found(&index, hash, number));
                }
                prop_assert_eq!(index.candidates(7 << 29).next(), None);
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
            assert!(
                index.bytes() <= slots * Index::BYTES_PER_SLOT || index.cells.len() == MIN_CELLS
            );
        }
    }
}
