//! Stored: a body that is here as a whole, in pieces.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

/// A stored body lies in pieces of this size at most.
const PIECE_BYTES: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// A body that is here as a whole. Clones share its bytes.
#[derive(Clone, Debug)]
pub(crate) struct StoredBody(Pieces);

/// Nearly every body is short, and then there is no list.
#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Several(Arc<[Bytes]>),
}

impl Default for StoredBody {
    fn default() -> Self {
        StoredBody(Pieces::One(Bytes::new()))
    }
}

impl StoredBody {
    pub(crate) fn len(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.len() as u64).sum()
    }

    pub(super) fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Several(pieces) => pieces,
        }
    }

    /// All of it, in order.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        self.pieces().to_vec()
    }

    /// All of it, where it lies in one piece.
    pub(crate) fn piece(&self) -> Option<&Bytes> {
        match &self.0 {
            Pieces::One(piece) => Some(piece),
            Pieces::Several(_) => None,
        }
    }

    /// What it owns on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let list = match &self.0 {
            Pieces::One(_) => 0,
            Pieces::Several(pieces) => size_of_val(&**pieces) + 2 * size_of::<usize>(),
        };
        self.pieces().iter().map(Bytes::len).sum::<usize>() + list
    }

    /// Its bytes in allocations of their own: what arrives are slices of buffers that may be much
    /// larger.
    pub(super) fn of(chunks: VecDeque<Bytes>, len: u64) -> StoredBody {
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        let mut pieces = Vec::with_capacity(left.div_ceil(PIECE_BYTES));
        let mut piece = BytesMut::with_capacity(left.min(PIECE_BYTES));
        for mut chunk in chunks {
            while !chunk.is_empty() {
                let room = PIECE_BYTES - piece.len();
                let part = chunk.split_to(chunk.len().min(room));
                piece.extend_from_slice(&part);
                left = left.saturating_sub(part.len());
                if piece.len() == PIECE_BYTES {
                    pieces.push(piece.freeze());
                    piece = BytesMut::with_capacity(left.min(PIECE_BYTES));
                }
            }
        }
        if !piece.is_empty() {
            pieces.push(piece.freeze());
        }
        StoredBody(match <[Bytes; 1]>::try_from(pieces) {
            Ok([only]) => Pieces::One(only),
            Err(pieces) if pieces.is_empty() => Pieces::One(Bytes::new()),
            Err(pieces) => Pieces::Several(pieces.into()),
        })
    }
}

impl StoredBody {
    pub(crate) fn of_slices(slices: Vec<Bytes>) -> StoredBody {
        let len = slices.iter().map(|slice| slice.len() as u64).sum();
        StoredBody::of(slices.into(), len)
    }
}

impl StoredBody {
    /// What is left to read of `span`.
    pub(super) fn read(self, span: Span) -> Unread {
        let left = self.len().saturating_sub(span.start);
        let left = span.len.map_or(left, |len| len.min(left));
        // Every piece but the last is full.
        let piece = usize::try_from(span.start / PIECE_BYTES as u64).unwrap_or(usize::MAX);
        let skip = (span.start % PIECE_BYTES as u64) as usize;
        Unread { body: self, piece, skip, left }
    }

    /// The bytes of `span`, in order, shared with it.
    pub(crate) fn slices(&self, span: Span) -> Vec<Bytes> {
        self.clone().read(span).collect()
    }
}

/// What a reader of a stored body has not had yet: slices of its pieces, in order.
pub(super) struct Unread {
    body: StoredBody,
    piece: usize,
    skip: usize,
    left: u64,
}

impl Unread {
    /// How many bytes that is.
    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Iterator for Unread {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let whole = self.body.pieces().get(self.piece)?;
        let end = usize::try_from(self.left)
            .map_or(whole.len(), |left| whole.len().min(self.skip + left));
        let slice = whole.slice(self.skip..end);
        self.piece += 1;
        self.skip = 0;
        self.left -= slice.len() as u64;
        Some(slice)
    }
}

impl From<Bytes> for StoredBody {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        StoredBody::of(VecDeque::from([bytes]), len)
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

    fn bytes(range: std::ops::Range<usize>) -> Bytes {
        range.map(|place| (place % 251) as u8).collect()
    }

    #[test]
    fn a_body_that_is_here_owns_no_more_than_its_bytes() {
        let buffer = Bytes::from(vec![7; 1 << 20]);
        let stored = StoredBody::of(VecDeque::from([buffer.slice(..10), buffer.slice(20..25)]), 15);
        assert_eq!(stored.pieces().len(), 1);
        assert_eq!(stored.heap_bytes(), 15);
        // Were it a slice of the buffer, the buffer could not be taken back.
        assert!(buffer.try_into_mut().is_ok());
    }

    proptest! {
        #[test]
        fn a_stored_body_gives_every_span_as_it_came(
            cuts in prop::collection::vec(0..3 * PIECE_BYTES, 0..6),
            start in 0..3 * PIECE_BYTES as u64,
            len in prop::option::of(0..3 * PIECE_BYTES as u64),
        ) {
            let whole = bytes(0..5 * PIECE_BYTES / 2);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let chunks: VecDeque<_> =
                cuts.windows(2).map(|pair| whole.slice(pair[0]..pair[1])).collect();
            let stored = StoredBody::of(chunks, whole.len() as u64);
            let span = Span { start, len };
            let from = (start as usize).min(whole.len());
            let to = len.map_or(whole.len(), |len| whole.len().min(from + len as usize));
            let got = stored.slices(span).concat();
            prop_assert!(got == whole[from..to], "{} bytes instead of {}", got.len(), to - from);
            let hint = Some(stored.read(span).len());
            prop_assert_eq!(hint, Some((to - from) as u64));
        }
    }
}
