//! Counted: a body that passes, and whose large pieces count while they are on their way out.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Sleep, sleep};

use super::{
    super::error::BoxError,
    account::{Account, Ahead},
    list::LOOK_EVERY,
    readers::{CutOff, Seat, Source},
};
use crate::sync::has_timers;

/// Connections copy what is smaller, and let go of it.
const COPIED_BYTES: usize = 8 << 10;

/// A body from elsewhere. Its pieces are counted as they are: they are not copied.
pub(super) struct Counted {
    body: UnsyncBoxBody<Bytes, BoxError>,
    account: Arc<Account>,
    ahead: Ahead,
    /// Bytes of it that were given out and are still somewhere.
    out: Arc<AtomicUsize>,
    /// Once there is something of it to be recalled.
    seat: OnceLock<Arc<Seat>>,
    /// Where it waits for others to let go of what they hold.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Counted {
    pub(super) fn new(body: UnsyncBoxBody<Bytes, BoxError>, account: &Arc<Account>) -> Counted {
        let (ahead, out) = (Ahead::new(account), Arc::default());
        let account = Arc::clone(account);
        Counted { body, account, ahead, out, seat: OnceLock::new(), pause: None }
    }

    pub(super) fn inner(&self) -> &UnsyncBoxBody<Bytes, BoxError> {
        &self.body
    }

    pub(super) fn seat(&self) -> &Arc<Seat> {
        let new = || Seat::new(&self.account, Source::Passing(Arc::clone(&self.out)), Weak::new());
        self.seat.get_or_init(new)
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.seat.get().is_some_and(|seat| seat.is_recalled()) {
            return Poll::Ready(Some(Err(Box::new(CutOff))));
        }
        let polled = match self.poll_room(context) {
            Poll::Ready(()) => Pin::new(&mut self.body).poll_frame(context),
            Poll::Pending => Poll::Pending,
        };
        if let (Poll::Pending, Some(seat)) = (&polled, self.seat.get()) {
            seat.waits();
        }
        let frame = ready!(polled);
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let frame = frame.map_data(|piece| self.count(piece));
        Poll::Ready(Some(Ok(frame)))
    }

    /// Where far too much is on its way out already, nothing more is read off the origin for a while.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.account.is_overfull() && has_timers() {
            self.ahead.release_if_overfull();
            self.account.relieve();
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        self.pause = None;
        Poll::Ready(())
    }

    fn count(&mut self, piece: Bytes) -> Bytes {
        if piece.len() <= COPIED_BYTES {
            return piece;
        }
        let (account, out) = (Arc::clone(&self.account), Arc::clone(&self.out));
        self.ahead.came(piece.len());
        account.take(piece.len());
        out.fetch_add(piece.len(), Ordering::Relaxed);
        self.seat().took(piece.len());
        // What this one holds, others may have to go for, or this one later.
        self.account.relieve();
        Bytes::from_owner(Out { piece, account, out })
    }
}

/// A piece on its way out.
struct Out {
    piece: Bytes,
    account: Arc<Account>,
    out: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Out {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.account.give_back(self.piece.len());
        self.out.fetch_sub(self.piece.len(), Ordering::Relaxed);
    }
}
