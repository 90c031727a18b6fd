//! Write: a record's way down, behind the readers' backs: its pieces first, its head last.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{Lower, read::OwnLease};
use crate::{
    clock::Moment,
    codec::CodecError,
    freshness::Lifetime,
    purge::last::PurgeState,
    rules::Rule,
    sync::{self, atomic::Ordering},
    tier::lower::{Body, BodyId, Commit, Head, LowerError, Piece, Position, Record},
};

/// What is no longer lies in the head: one read brings all.
const MAX_WHOLE: usize = 16 << 10;
/// So much of a longer one lies in the head, so that its readers have that while the first piece is on its way. Little:
/// it is unpacked and summed before the first byte goes out.
const BEGIN: usize = 4 << 10;
/// So much do the beginnings of a key's records share, about: one read brings all of them.
const ALL_BEGIN: usize = 64 << 10;
/// One piece holds up others on its connection for about a tenth of a millisecond.
const PIECE: usize = 128 << 10;

/// A record to be written, without its content.
pub(crate) struct NewRecord {
    pub(crate) key: Arc<str>,
    pub(crate) variant: String,
    /// So many records of the key may stay, this one included.
    pub(crate) most: usize,
    pub(crate) fence: Position,
    pub(crate) lifetime: Lifetime,
    pub(crate) fetched: Moment,
    pub(crate) cost: Duration,
    pub(crate) tags: Vec<String>,
    pub(crate) format: String,
    /// So many records the key had when its fetch began.
    pub(crate) beside: usize,
}

/// What is in a record.
pub(crate) struct Content {
    /// What is in its head.
    pub(crate) extra: Bytes,
    pub(crate) body: NewBody,
}

/// The body of a record that is written.
pub(crate) enum NewBody {
    /// These bytes, in this order.
    Bytes(Vec<Bytes>),
    /// One that lies below already.
    #[cfg(feature = "http")]
    There(Body),
}

impl Content {
    fn held_bytes(&self) -> usize {
        let body: usize = match &self.body {
            NewBody::Bytes(chunks) => chunks.iter().map(Bytes::len).sum(),
            #[cfg(feature = "http")]
            NewBody::There(_) => 0,
        };
        self.extra.len() + body
    }
}

/// One of those that are on their way down, with the bytes that it holds.
struct Place {
    lower: Arc<Lower>,
    bytes: usize,
}

impl Place {
    fn take(lower: &Arc<Lower>) -> Option<Self> {
        let max = lower.settings.max_writes;
        let place = Place { lower: Arc::clone(lower), bytes: 0 };
        let others = lower.writing.fetch_add(1, Ordering::AcqRel);
        (others < max).then_some(place)
    }

    /// Whether there is room for so many bytes.
    fn holds(&mut self, bytes: usize) -> bool {
        let max = self.lower.settings.max_write_bytes;
        self.bytes = bytes;
        let others = self.lower.writing_bytes.fetch_add(bytes, Ordering::AcqRel);
        others.saturating_add(bytes) <= max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lower.writing.fetch_sub(1, Ordering::AcqRel);
        self.lower.writing_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Lower {
    /// Writes `record` with what `encode` makes, in a task of the cache. `lease` ends with that, so that whoever
    /// waits for it finds what was written. Where too much is being written, or the cache is being shut down, it
    /// is not.
    pub(crate) fn write_behind(
        self: &Arc<Self>,
        record: NewRecord,
        encode: impl FnOnce() -> Result<Content, CodecError> + Send + 'static,
        lease: Option<OwnLease>,
    ) {
        let may_begin = sync::is_in_runtime() && !self.tasks.is_closed();
        let Some(mut place) = may_begin.then(|| Place::take(self)).flatten() else {
            self.counters.writes_dropped.increment();
            return;
        };
        self.tasks.spawn(async move {
            // The user's code may panic: then it is not written.
            match catch_unwind(AssertUnwindSafe(encode)) {
                Ok(Ok(content)) if place.holds(content.held_bytes()) => {
                    place.lower.write(record, content).await;
                }
                Ok(Ok(_)) => place.lower.counters.writes_dropped.increment(),
                Ok(Err(_)) | Err(_) => place.lower.count_unreadable(),
            }
            drop(lease);
        });
    }

    async fn write(&self, record: NewRecord, content: Content) {
        let Content { extra, body } = content;
        let (written, is_new) = match body {
            #[cfg(feature = "http")]
            NewBody::There(body) => (Ok(body), false),
            NewBody::Bytes(chunks) => (self.write_body(&record, chunks).await, true),
        };
        let committed = match written {
            Ok(body) => {
                let apart = match body {
                    Body::Pieces { id, pieces, .. } => Some((id, pieces)),
                    Body::Whole(_) => None,
                };
                let committed = self.commit(record, extra, body).await;
                // After an error nobody knows whether its head is there.
                if let (Ok(Commit::Refused), Some((id, pieces))) = (&committed, apart) {
                    match is_new {
                        true => self.discard(id, pieces).await,
                        // Some of it may be gone: it is written anew next time.
                        false => self.note_lost(id),
                    }
                }
                committed
            }
            Err(error) => Err(error),
        };
        match committed {
            Ok(Commit::Stored) => self.counters.writes.increment(),
            Ok(Commit::Refused) => self.counters.writes_refused.increment(),
            // The failure is counted where the tier was asked.
            Err(_) => self.counters.writes_dropped.increment(),
        }
    }

    async fn write_body(
        &self,
        record: &NewRecord,
        mut chunks: Vec<Bytes>,
    ) -> Result<Body, LowerError> {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        if length <= MAX_WHOLE {
            let only = if chunks.len() == 1 { chunks.pop() } else { None };
            return Ok(Body::Whole(only.unwrap_or_else(|| chunks.concat().into())));
        }
        // What comes in one piece is there as a whole or not at all: nobody is to have half of it if that is lost.
        let begin = match length <= PIECE {
            true => Bytes::new(),
            false => take_front(&mut chunks, BEGIN.min(ALL_BEGIN / record.beside.max(1))),
        };
        let (id, bytes, mut pieces) = (BodyId::random(), length as u64, 0);
        for bytes in chunks.iter().flat_map(in_pieces) {
            let piece = Piece { body: id, index: pieces, bytes, keep: record.lifetime.end() };
            pieces += 1;
            if let Err(error) = self.call_behind(|tier| tier.write(piece)).await {
                self.discard(id, pieces).await;
                return Err(error);
            }
        }
        Ok(Body::Pieces { id, begin, pieces, bytes })
    }

    async fn commit(
        &self,
        record: NewRecord,
        extra: Bytes,
        body: Body,
    ) -> Result<Commit, LowerError> {
        let NewRecord { key, variant, most, fence, lifetime, fetched, cost, tags, format, .. } =
            record;
        let fence = match Rule::WrittenWithTheFenceOfItsFetch.holds() {
            true => fence,
            false => self.position().unwrap_or(fence),
        };
        let head = Head { variant, fence, lifetime, cost, tags, format, extra, body };
        match self.state(&key, &head) {
            PurgeState::Untouched => {
                let age = self.clock.now().since(fetched);
                let record = Record { head, age };
                self.call_behind(|tier| tier.commit(&key, record, most)).await
            }
            PurgeState::MarkedStale(_) | PurgeState::Purged => Ok(Commit::Refused),
        }
    }

    async fn discard(&self, id: BodyId, pieces: u32) {
        // If it fails they stay until the tier lets them go: nothing names them.
        self.call_behind(|tier| tier.discard(id, pieces)).await.ok();
    }
}

/// Takes so many bytes off the front of chunks that have more.
fn take_front(chunks: &mut [Bytes], length: usize) -> Bytes {
    let mut front = BytesMut::with_capacity(length);
    for chunk in chunks {
        let taken = chunk.split_to(chunk.len().min(length - front.len()));
        front.extend_from_slice(&taken);
    }
    front.freeze()
}

/// A chunk as it is written, shared with it.
fn in_pieces(chunk: &Bytes) -> impl Iterator<Item = Bytes> {
    let begins = (0..chunk.len()).step_by(PIECE);
    begins.map(|begin| chunk.slice(begin..(begin + PIECE).min(chunk.len())))
}
