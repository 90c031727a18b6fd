//! Stored: a body that is here as a whole, in pieces.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::account::{Account, Piece};

/// What arrives in small parts is joined to pieces of this size at most.
pub(super) const PIECE_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };
/// Parts that are so large stay as they are.
pub(super) const LARGE_BYTES: usize = PIECE_BYTES / 16;
/// What a reader is given at once: a connection writes no more in one turn.
const FRAME_BYTES: usize = PIECE_BYTES / 4;

/// A body that is here as a whole. Clones share its bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredBody(Pieces);

/// Nearly every body is short, and then there is no list.
#[derive(Clone, Debug, Default)]
enum Pieces {
    #[default]
    None,
    One(Arc<Piece>),
    /// Each with the place where it ends.
    Several(Arc<[(u64, Arc<Piece>)]>),
}

impl StoredBody {
    pub(crate) fn len(&self) -> u64 {
        match &self.0 {
            Pieces::None => 0,
            Pieces::One(piece) => piece.len() as u64,
            Pieces::Several(pieces) => pieces.last().map_or(0, |(end, _)| *end),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Arc<Piece>> {
        let (one, several) = match &self.0 {
            Pieces::None => (None, None),
            Pieces::One(piece) => (Some(piece), None),
            Pieces::Several(pieces) => (None, Some(pieces.iter().map(|(_, piece)| piece))),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// All of it, in order, shared with it.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        self.slices(Span::WHOLE)
    }

    /// All of it, where it lies in one piece.
    #[inline]
    pub(crate) fn piece(&self) -> Option<&Arc<Piece>> {
        match &self.0 {
            Pieces::One(piece) => Some(piece),
            Pieces::None | Pieces::Several(_) => None,
        }
    }

    /// Whether the other is the same, in the same place: a body without bytes is none that can be told from others.
    pub(crate) fn is(&self, other: &StoredBody) -> bool {
        match (&self.0, &other.0) {
            (Pieces::One(one), Pieces::One(other)) => Arc::ptr_eq(one, other),
            (Pieces::Several(one), Pieces::Several(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Where it lies, which tells it from all others for as long as it is there.
    pub(crate) fn place(&self) -> Option<usize> {
        self.pieces().next().map(|piece| Arc::as_ptr(piece).addr())
    }

    /// What it owns on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        let list = match &self.0 {
            Pieces::None | Pieces::One(_) => 0,
            Pieces::Several(pieces) => size_of_val(&**pieces) + counts,
        };
        let piece = |piece: &Arc<Piece>| size_of::<Piece>() + counts + piece.capacity();
        list + self.pieces().map(piece).sum::<usize>()
    }

    /// Where its bytes are counted; `None`: it has none.
    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.pieces().next().map(|piece| piece.account())
    }

    /// An entry of the store holds it from now on.
    pub(crate) fn enter_store(&self) {
        self.pieces().for_each(|piece| piece.enter_store());
    }

    /// One does so no longer.
    pub(crate) fn leave_store(&self) {
        self.pieces().for_each(|piece| piece.leave_store());
    }

    /// Made of parts that own no more than their bytes.
    pub(super) fn of(parts: Vec<Arc<Piece>>) -> StoredBody {
        let mut end = 0;
        let placed = |piece: Arc<Piece>| {
            end += piece.len() as u64;
            (end, piece)
        };
        StoredBody(match <[Arc<Piece>; 1]>::try_from(parts) {
            Ok([only]) => Pieces::One(only),
            Err(parts) if parts.is_empty() => Pieces::None,
            Err(parts) => Pieces::Several(parts.into_iter().map(placed).collect()),
        })
    }

    /// A copy of these bytes.
    pub(crate) fn copied(slices: &[Bytes], account: &Arc<Account>) -> StoredBody {
        let mut left: usize = slices.iter().map(Bytes::len).sum();
        let mut parts = Vec::with_capacity(left.div_ceil(PIECE_BYTES));
        let mut copy = Vec::with_capacity(left.min(PIECE_BYTES));
        for mut slice in slices.iter().map(|slice| &slice[..]) {
            while !slice.is_empty() {
                let (now, later) = slice.split_at(slice.len().min(PIECE_BYTES - copy.len()));
                copy.extend_from_slice(now);
                (slice, left) = (later, left - now.len());
                if copy.len() == PIECE_BYTES || left == 0 {
                    let next = Vec::with_capacity(left.min(PIECE_BYTES));
                    parts.push(Arc::new(Piece::new(std::mem::replace(&mut copy, next), account)));
                }
            }
        }
        StoredBody::of(parts)
    }
}

/// How many of these parts, which are next to each other, are to be one, if the first is to be joined to any: it is
/// small, and so is the next; or it owns more than its bytes, which then is one.
pub(super) fn to_join<'a>(parts: impl Iterator<Item = &'a Arc<Piece>>) -> usize {
    let (mut count, mut bytes, mut smallest) = (0, 0, usize::MAX);
    let mut owns_more = false;
    for part in parts {
        let sum = bytes + part.len();
        let is_small = part.len().min(smallest) < LARGE_BYTES;
        if count > 0 && (sum > PIECE_BYTES || !is_small) {
            break;
        }
        (count, bytes, smallest) = (count + 1, sum, smallest.min(part.len()));
        owns_more |= part.capacity() > part.len();
    }
    if count > 1 || owns_more { count } else { 0 }
}

impl StoredBody {
    /// What is left to read of `span`.
    pub(super) fn read(&self, span: Span) -> Unread {
        let left = self.len().saturating_sub(span.start);
        let left = span.len.map_or(left, |len| len.min(left));
        let mut unread = Unread { pieces: Left::One(None), skip: 0, left, last: Weak::new() };
        if left == 0 {
            return unread;
        }
        match &self.0 {
            Pieces::None => {}
            Pieces::One(piece) => {
                unread.pieces = Left::One(Some(Arc::clone(piece)));
                unread.skip = usize::try_from(span.start).unwrap_or(usize::MAX);
            }
            Pieces::Several(pieces) => {
                let first = pieces.partition_point(|(end, _)| *end <= span.start);
                let behind = pieces.partition_point(|(end, _)| *end < span.start + left);
                let begins = first.checked_sub(1).map_or(0, |before| pieces[before].0);
                unread.skip = usize::try_from(span.start - begins).unwrap_or(usize::MAX);
                let pieces = pieces[first..=behind].iter().map(|(_, piece)| Arc::clone(piece));
                unread.pieces = Left::Several(pieces.collect());
            }
        }
        unread
    }

    /// The bytes of `span`, in order, shared with it.
    pub(crate) fn slices(&self, span: Span) -> Vec<Bytes> {
        let mut unread = self.read(span);
        let mut slices = Vec::new();
        while let Some((piece, range)) = unread.next_up_to(usize::MAX) {
            slices.push(piece.slice(range));
        }
        slices
    }
}

/// What a reader of a stored body has not had yet: of each piece it lets go once it has had it.
pub(super) struct Unread {
    pieces: Left,
    skip: usize,
    left: u64,
    /// The piece that it was given last.
    last: Weak<Piece>,
}

enum Left {
    One(Option<Arc<Piece>>),
    Several(VecDeque<Arc<Piece>>),
}

impl Unread {
    /// How many bytes that is.
    pub(super) fn len(&self) -> u64 {
        self.left
    }

    /// Whether it is given at once.
    pub(super) fn is_one_frame(&self) -> bool {
        matches!(self.pieces, Left::One(_)) && self.left <= FRAME_BYTES as u64
    }

    /// The piece that it was given last, if anybody has it still.
    pub(super) fn last(&self) -> Option<Arc<Piece>> {
        self.last.upgrade()
    }

    pub(super) fn account(&self) -> Option<&Arc<Account>> {
        self.next_piece().map(|piece| piece.account())
    }

    fn next_piece(&self) -> Option<&Arc<Piece>> {
        match &self.pieces {
            Left::One(piece) => piece.as_ref(),
            Left::Several(pieces) => pieces.front(),
        }
    }

    /// What of it is nowhere in the store.
    pub(super) fn loose(&self) -> usize {
        match &self.pieces {
            Left::One(piece) => piece.as_ref().map_or(0, |piece| piece.loose()),
            Left::Several(pieces) => pieces.iter().map(|piece| piece.loose()).sum(),
        }
    }

    /// What it is given next: some of a piece.
    pub(super) fn next_frame(&mut self) -> Option<(Arc<Piece>, Range<usize>)> {
        self.next_up_to(FRAME_BYTES)
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let (piece, range) = self.next_frame()?;
        let frame = piece.slice(range);
        self.last = Arc::downgrade(&piece);
        Some(frame)
    }

    fn next_up_to(&mut self, most: usize) -> Option<(Arc<Piece>, Range<usize>)> {
        if self.left == 0 {
            return None;
        }
        let piece = Arc::clone(self.next_piece()?);
        let left = usize::try_from(self.left).unwrap_or(usize::MAX).min(most);
        let range = self.skip..piece.len().min(self.skip.saturating_add(left));
        self.left -= range.len() as u64;
        self.skip = range.end;
        if range.end == piece.len() || self.left == 0 {
            self.skip = 0;
            match &mut self.pieces {
                Left::One(piece) => *piece = None,
                Left::Several(pieces) => _ = pieces.pop_front(),
            }
        }
        Some((piece, range))
    }
}

/// The part of a body that a reader is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: u64,
    /// How many; `None`: to the end.
    pub(crate) len: Option<u64>,
}

impl Span {
    pub(crate) const WHOLE: Span = Span { start: 0, len: None };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(range: Range<usize>) -> Bytes {
        range.map(|place| (place % 251) as u8).collect()
    }

    #[test]
    fn a_copied_body_owns_no_more_than_its_bytes() {
        let buffer = Bytes::from(vec![7; 1 << 20]);
        let slices = [buffer.slice(..10), buffer.slice(20..25)];
        let stored = StoredBody::copied(&slices, &Account::of(1000));
        assert_eq!(stored.piece().unwrap().capacity(), 15);
        // Were it a slice of the buffer, the buffer could not be taken back.
        drop(slices);
        assert!(buffer.try_into_mut().is_ok());
    }

    #[test]
    fn small_parts_are_joined_and_large_ones_stay() {
        let account = Account::of(usize::MAX);
        let parts = |sizes: &[usize]| -> Vec<_> {
            sizes.iter().map(|size| Arc::new(Piece::copied(&vec![7; *size], &account))).collect()
        };
        for (sizes, joined) in [
            (&[10][..], 0),
            (&[10, 20, 30], 3),
            (&[LARGE_BYTES, LARGE_BYTES], 0),
            (&[LARGE_BYTES, 1, LARGE_BYTES], 3),
            (&[PIECE_BYTES, 1], 0),
            (&[1, PIECE_BYTES - 1, 1], 2),
        ] {
            assert_eq!(to_join(parts(sizes).iter()), joined, "{sizes:?}");
        }
        let mut wide = Vec::with_capacity(100);
        wide.push(7);
        assert_eq!(to_join([Arc::new(Piece::new(wide, &account))].iter()), 1);
    }

    proptest! {
        #[test]
        fn a_stored_body_gives_every_span_as_it_came(
            cuts in prop::collection::vec(0..3 * PIECE_BYTES, 0..6),
            start in 0..3 * PIECE_BYTES as u64,
            len in prop::option::of(0..3 * PIECE_BYTES as u64),
            is_copied in any::<bool>(),
        ) {
            let account = Account::of(usize::MAX);
            let whole = bytes(0..5 * PIECE_BYTES / 2);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let chunks: Vec<_> =
                cuts.windows(2).map(|pair| whole.slice(pair[0]..pair[1])).collect();
            let part = |chunk: &Bytes| Arc::new(Piece::copied(chunk, &account));
            let stored = match is_copied {
                true => StoredBody::copied(&chunks, &account),
                false => StoredBody::of(chunks.iter().map(part).collect()),
            };
            prop_assert_eq!(stored.len(), whole.len() as u64);
            let span = Span { start, len };
            let from = (start as usize).min(whole.len());
            let to = len.map_or(whole.len(), |len| whole.len().min(from + len as usize));
            let got = stored.slices(span).concat();
            prop_assert!(got == whole[from..to], "{} bytes instead of {}", got.len(), to - from);
            let mut unread = stored.read(span);
            prop_assert_eq!(unread.len(), (to - from) as u64);
            let mut framed = Vec::new();
            while let Some(frame) = unread.next() {
                prop_assert!((1..=FRAME_BYTES).contains(&frame.len()));
                framed.extend_from_slice(&frame);
                prop_assert_eq!(unread.len(), (to - from - framed.len()) as u64);
            }
            prop_assert!(framed == whole[from..to]);
        }
    }
}
