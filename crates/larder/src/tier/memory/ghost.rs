//! Ghost: fingerprints of keys that had to go lately, so that one that comes back is known.
//!
//! A fingerprint is the 32 bits of the hash by which the shard finds its entries. They lie in rows
//! of eight, newest first; a new one pushes the oldest out of its row. That keeps about the last
//! `capacity` of them in four bytes each, and a look-up reads one cache line. Two keys may share a
//! fingerprint: the price is one entry in the wrong queue.

const ROW: usize = 8;
/// Marks an empty place. The one hash in four billion that looks like it is never remembered.
const EMPTY: u32 = 0;

#[derive(Debug, Default)]
pub(super) struct Ghost {
    rows: Vec<[u32; ROW]>,
    len: usize,
}

impl Ghost {
    /// How many it remembers now.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `capacity` fingerprints, or lets the surplus go. Cheap unless the size it has
    /// is wrong by more than an eighth; `free` gets the memory that it had then.
    pub(super) fn fit(&mut self, capacity: usize, free: impl FnOnce(Vec<u32>)) {
        let rows = capacity.div_ceil(ROW).max(1);
        if rows.abs_diff(self.rows.len()) * 8 <= self.rows.len() {
            return;
        }
        let old = std::mem::replace(&mut self.rows, vec![[EMPTY; ROW]; rows]);
        self.len = 0;
        for row in &old {
            // Oldest first, so that the newest is in front again.
            for &fingerprint in row.iter().rev().filter(|&&fingerprint| fingerprint != EMPTY) {
                self.push(fingerprint);
            }
        }
        free(old.into_flattened());
    }

    pub(super) fn push(&mut self, fingerprint: u32) {
        let Some(row) = self.row_mut(fingerprint) else { return };
        let is_growing = row[ROW - 1] == EMPTY;
        row.copy_within(..ROW - 1, 1);
        row[0] = fingerprint;
        self.len += usize::from(is_growing);
    }

    /// Whether `fingerprint` is remembered; it is forgotten with that.
    pub(super) fn take(&mut self, fingerprint: u32) -> bool {
        let Some(row) = self.row_mut(fingerprint) else { return false };
        let Some(at) = row.iter().position(|&other| other == fingerprint && other != EMPTY) else {
            return false;
        };
        row.copy_within(at + 1.., at);
        row[ROW - 1] = EMPTY;
        self.len -= 1;
        true
    }

    fn row_mut(&mut self, fingerprint: u32) -> Option<&mut [u32; ROW]> {
        let row = (u64::from(fingerprint) * self.rows.len() as u64) >> 32;
        self.rows.get_mut(row as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(number: u32) -> u32 {
        number.wrapping_mul(0x9E37_79B1) | 1
    }

    #[test]
    fn it_remembers_once() {
        let mut ghost = Ghost::default();
        assert!(!ghost.take(7));
        ghost.fit(100, drop);
        ghost.push(7);
        assert!(ghost.take(7));
        assert!(!ghost.take(7));
    }

    #[test]
    fn it_forgets_the_oldest_first_and_never_grows() {
        let mut ghost = Ghost::default();
        ghost.fit(800, drop);
        for number in 0..10_000 {
            ghost.push(spread(number));
        }
        assert_eq!(ghost.len(), 800);
        let known = |ghost: &mut Ghost, range: std::ops::Range<u32>| {
            range.filter(|&number| ghost.take(spread(number))).count()
        };
        assert_eq!(known(&mut ghost, 0..8_000), 0);
        assert!(known(&mut ghost, 9_600..10_000) > 390);
    }

    #[test]
    fn another_size_keeps_what_is_remembered() {
        let mut ghost = Ghost::default();
        ghost.fit(400, drop);
        for number in 0..200 {
            ghost.push(spread(number));
        }
        ghost.fit(4000, drop);
        assert_eq!(ghost.len(), 200);
        assert!((0..200).all(|number| ghost.take(spread(number))));
        assert_eq!(ghost.len(), 0);
    }
}
