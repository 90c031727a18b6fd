//! Write: a value's way down, behind the readers' backs: its pieces first, its head last.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{Lower, read::OwnLease};
use crate::{
    clock::Moment,
    codec::CodecError,
    freshness::Lifetime,
    purge::last::PurgeState,
    sync::{self, atomic::Ordering},
    tier::lower::{Body, BodyId, Commit, Head, LowerError, Piece, Position, Record},
};

/// What is no longer lies in the head: one read brings all.
const MAX_WHOLE: usize = 16 << 10;
/// One piece holds up others on its connection for about a tenth of a millisecond.
const PIECE: usize = 128 << 10;

/// A value to be written.
pub(crate) struct NewRecord {
    pub(crate) key: Arc<str>,
    pub(crate) fence: Position,
    pub(crate) lifetime: Lifetime,
    pub(crate) fetched: Moment,
    pub(crate) cost: Duration,
    pub(crate) tags: Vec<String>,
    pub(crate) format: String,
}

/// One of those that are on their way down.
struct Place(Arc<Lower>);

impl Place {
    fn take(lower: &Arc<Lower>) -> Option<Self> {
        let max = lower.settings.max_writes;
        let place = Place(Arc::clone(lower));
        let others = lower.writing.fetch_add(1, Ordering::AcqRel);
        (others < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.writing.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lower {
    /// Writes `record` with the value that `encode` makes, in a task of the cache. `lease` ends with that, so
    /// that whoever waits for it finds what was written. Where too many are being written, or the cache is
    /// being shut down, it is not.
    pub(crate) fn write_behind(
        self: &Arc<Self>,
        record: NewRecord,
        encode: impl FnOnce() -> Result<Bytes, CodecError> + Send + 'static,
        lease: Option<OwnLease>,
    ) {
        let may_begin = sync::is_in_runtime() && !self.tasks.is_closed();
        let Some(place) = may_begin.then(|| Place::take(self)).flatten() else {
            self.counters.writes_dropped.increment();
            return;
        };
        self.tasks.spawn(async move {
            let Place(lower) = &place;
            // The user's code may panic: then it is not written.
            match catch_unwind(AssertUnwindSafe(encode)) {
                Ok(Ok(bytes)) => lower.write(record, bytes).await,
                Ok(Err(_)) | Err(_) => lower.count_unreadable(),
            }
            drop(lease);
        });
    }

    async fn write(&self, record: NewRecord, bytes: Bytes) {
        let written = match bytes.len() <= MAX_WHOLE {
            true => Ok(Body::Whole(bytes)),
            false => self.write_pieces(&record, bytes).await,
        };
        let committed = match written {
            Ok(body) => self.commit(record, body).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(Commit::Stored) => self.counters.writes.increment(),
            Ok(Commit::Refused) => self.counters.writes_refused.increment(),
            // The failure is counted where the tier was asked.
            Err(_) => self.counters.writes_dropped.increment(),
        }
    }

    async fn write_pieces(&self, record: &NewRecord, bytes: Bytes) -> Result<Body, LowerError> {
        let (id, length) = (BodyId::random(), bytes.len());
        let pieces = u32::try_from(length.div_ceil(PIECE)).unwrap_or(u32::MAX);
        for index in 0..pieces {
            let begin = index as usize * PIECE;
            let bytes = bytes.slice(begin..(begin + PIECE).min(length));
            let piece = Piece { body: id, index, bytes, keep: record.lifetime.end() };
            let written = self.call(|tier| tier.write(piece)).await;
            if let Err(error) = written {
                self.discard(&Body::Pieces { id, pieces, bytes: length as u64 }).await;
                return Err(error);
            }
        }
        Ok(Body::Pieces { id, pieces, bytes: length as u64 })
    }

    async fn commit(&self, record: NewRecord, body: Body) -> Result<Commit, LowerError> {
        let NewRecord { key, fence, lifetime, fetched, cost, tags, format } = record;
        let (variant, extra) = (String::new(), Bytes::new());
        let head = Head { variant, fence, lifetime, cost, tags, format, extra, body };
        let left_over = head.body.clone();
        let committed = match self.state(&key, &head) {
            PurgeState::Untouched => {
                let age = self.clock.now().since(fetched);
                let record = Record { head, age };
                self.call(|tier| tier.commit(&key, record)).await
            }
            PurgeState::MarkedStale(_) | PurgeState::Purged => Ok(Commit::Refused),
        };
        // After an error nobody knows whether its head is there.
        if let Ok(Commit::Refused) = committed {
            self.discard(&left_over).await;
        }
        committed
    }

    async fn discard(&self, body: &Body) {
        if let Body::Pieces { id, pieces, .. } = *body {
            // If it fails they stay until the tier lets them go: nothing names them.
            self.call(|tier| tier.discard(id, pieces)).await.ok();
        }
    }
}
