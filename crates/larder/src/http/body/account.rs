//! Account: what bodies hold outside the store, counted for as long as it lives, whoever holds it.
//!
//! The bytes of a body lie in [`Piece`]s. A piece knows whether an entry of the store holds it: then the store
//! counts it. If none does, it is *loose*: it arrives, or it was evicted and somebody still reads it, or it is on
//! its way out. Nothing is passed around for that: a piece counts itself until its last holder lets go of it.
//!
//! What is loose takes room from the store ([`Bound`]), which keeps at least half of it. What arrives is kept in a
//! quarter of it at most. What streams through, and what was evicted and is still read, has half as much again; the rest
//! is for what can no longer be helped, and for what no piece counts.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::list::Readers;
use crate::{stats::Counter, tier::memory::Bound};

/// Readers share so many bytes at least, however small the store is.
const LEAST_ROOM: usize = 1 << 20;

/// What all bodies of a cache hold outside its store.
pub(crate) struct Account {
    bound: Arc<Bound>,
    max: usize,
    /// Room for what was announced and has not come yet.
    reserved: AtomicUsize,
    /// Those who can be told to go.
    pub(super) readers: Readers,
    /// How many were.
    pub(super) cut: Arc<Counter>,
    /// Somebody looks after them already.
    pub(super) is_watched: AtomicBool,
}

impl Account {
    /// `max`: what may be loose, in bytes, where a quarter of the store's bound is not less.
    pub(crate) fn new(bound: Arc<Bound>, max: usize, cut: Arc<Counter>) -> Arc<Account> {
        let (reserved, readers) = (AtomicUsize::new(0), Readers::default());
        let is_watched = AtomicBool::new(false);
        Arc::new(Account { bound, max, reserved, readers, cut, is_watched })
    }

    /// What is loose now, in bytes.
    pub(crate) fn loose(&self) -> usize {
        self.bound.outside()
    }

    /// What may be kept of what arrives.
    fn limit(&self) -> usize {
        self.max.min(self.bound.max_bytes() / 4)
    }

    /// What is on its way has some room beside that, however little may be kept.
    fn room(&self) -> usize {
        let limit = self.limit();
        limit.saturating_add(limit / 2).max(LEAST_ROOM)
    }

    /// What is loose, or will be, beyond the room for it.
    pub(super) fn excess(&self) -> usize {
        self.taken().saturating_sub(self.room())
    }

    fn taken(&self) -> usize {
        self.loose().saturating_add(self.reserved.load(Ordering::Relaxed))
    }

    /// Whether so many bytes more have room beside what there is. One body alone, which holds `own` already,
    /// may have more: it is about to be stored, and has room there then.
    pub(crate) fn fits(&self, own: usize, more: u64) -> bool {
        let Ok(more) = usize::try_from(more) else { return false };
        let taken = self.taken();
        let is_alone = taken <= own;
        let limit = if is_alone { self.max } else { self.limit() };
        taken.saturating_add(more) <= limit
    }

    /// What is loose, or will be, beyond half the room for it.
    pub(super) fn beyond_half(&self) -> usize {
        self.taken().saturating_sub(self.room() / 2)
    }

    /// Whether more is loose than may be.
    pub(crate) fn is_full(&self) -> bool {
        self.excess() > 0
    }

    /// Whether it is an eighth as much again, so that new ones have to wait, and who goes on may be cut off.
    pub(super) fn is_overfull(&self) -> bool {
        self.excess() > self.room() / 8
    }

    /// Room for a body that is announced, if there is any.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        // Others may reserve meanwhile: that may be once too much, and is seen as soon as bytes come.
        let left = usize::try_from(bytes).ok().filter(|_| self.fits(0, bytes))?;
        self.reserved.fetch_add(left, Ordering::Relaxed);
        Some(Reserved { account: Arc::clone(self), left })
    }

    pub(super) fn take(&self, bytes: usize) {
        self.bound.grow_outside(bytes);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.bound.shrink_outside(bytes);
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("loose", &self.loose()).finish_non_exhaustive()
    }
}

/// Room for what has not come yet. Dropping it gives back what is left of it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Reserved {
    account: Arc<Account>,
    left: usize,
}

impl Reserved {
    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// So many bytes of it have come, and count for themselves.
    pub(super) fn came(&mut self, bytes: usize) {
        let came = bytes.min(self.left);
        self.left -= came;
        self.account.reserved.fetch_sub(came, Ordering::Relaxed);
    }

    /// The rest is not kept.
    pub(super) fn release(&mut self) {
        self.came(self.left);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the origin's side of a body may have read ahead: about as much as it has given at once. Nobody else counts
/// that.
#[derive(Debug)]
pub(crate) struct Ahead {
    account: Arc<Account>,
    bytes: usize,
}

impl Ahead {
    pub(crate) fn new(account: &Arc<Account>) -> Ahead {
        Ahead { account: Arc::clone(account), bytes: 0 }
    }

    /// So many bytes have come at once.
    pub(crate) fn came(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.account.take(bytes - self.bytes);
            self.bytes = bytes;
        }
    }

    /// Whoever waits for room does not wait for its own.
    pub(crate) fn release_if_overfull(&mut self) {
        if self.account.is_overfull() {
            self.account.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

/// Bytes of a body in an allocation of their own.
pub(crate) struct Piece {
    bytes: Vec<u8>,
    /// How many entries of the store hold it.
    homes: AtomicUsize,
    /// Where it is counted while none does.
    account: Arc<Account>,
}

impl Piece {
    /// It is loose.
    pub(super) fn new(bytes: Vec<u8>, account: &Arc<Account>) -> Piece {
        account.take(bytes.capacity());
        Piece { bytes, homes: AtomicUsize::new(0), account: Arc::clone(account) }
    }

    /// A copy in an allocation of just that size.
    pub(super) fn copied(bytes: &[u8], account: &Arc<Account>) -> Piece {
        let mut copy = Vec::with_capacity(bytes.len());
        copy.extend_from_slice(bytes);
        Piece::new(copy, account)
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What it takes on the heap.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// More bytes, where nobody else has it yet.
    pub(super) fn append(&mut self, more: &[u8]) {
        let before = self.bytes.capacity();
        self.bytes.extend_from_slice(more);
        self.account.take(self.bytes.capacity() - before);
    }

    /// An entry of the store holds it from now on, and the store counts it.
    pub(super) fn enter_store(&self) {
        if self.homes.fetch_add(1, Ordering::AcqRel) == 0 {
            self.account.give_back(self.capacity());
        }
    }

    /// One does so no longer.
    pub(super) fn leave_store(&self) {
        if self.homes.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.account.take(self.capacity());
        }
    }

    /// What it takes outside the store.
    pub(super) fn loose(&self) -> usize {
        if self.homes.load(Ordering::Relaxed) == 0 { self.capacity() } else { 0 }
    }

    /// Some of its bytes, as a value that keeps all of it.
    pub(crate) fn slice(self: &Arc<Self>, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Slice { piece: Arc::clone(self), range })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.account.give_back(self.loose());
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece").field("len", &self.len()).finish_non_exhaustive()
    }
}

struct Slice {
    piece: Arc<Piece>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.piece.bytes[self.range.clone()]
    }
}

#[cfg(test)]
impl Account {
    /// Of a store with this bound.
    pub(crate) fn of(store_bytes: usize) -> Arc<Account> {
        Account::new(Arc::new(Bound::new(store_bytes)), usize::MAX, Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_counts_itself_while_it_is_loose_and_somebody_has_it() {
        let account = Account::of(1000);
        let piece = Arc::new(Piece::copied(&[7; 100], &account));
        assert_eq!(account.loose(), 100);
        piece.enter_store();
        piece.enter_store();
        assert_eq!(account.loose(), 0, "the store counts it");
        let lent = piece.slice(10..20);
        piece.leave_store();
        assert_eq!(account.loose(), 0, "another entry has it still");
        piece.leave_store();
        drop(piece);
        assert_eq!(account.loose(), 100, "it was evicted, and is read");
        drop(lent);
        assert_eq!(account.loose(), 0);
    }

    #[test]
    fn what_was_announced_has_room_until_it_comes() {
        let account = Account::of(800);
        let mut reserved = account.reserve(60).unwrap();
        assert!(account.reserve(141).is_none());
        let piece = Piece::copied(&[7; 50], &account);
        reserved.came(50);
        assert!(account.fits(0, 140) && !account.fits(0, 141));
        drop(reserved);
        assert!(account.fits(0, 150) && !account.fits(0, 151));
        drop(piece);
        assert!(account.fits(0, 800), "one alone may be as large as the store");
    }
}
