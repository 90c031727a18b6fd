//! Outbox: what waits to be written to the reader, and the one place that writes it.
//!
//! Small things are copied behind each other, so that a head and its body, or the answers to several
//! pipelined requests, leave in one `send`. One large piece of a body may stand between, not copied:
//! then all leaves in one vectored write.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use larder::http::{CutOff, HitResponse, Loan};
use tokio::io::AsyncWrite;

/// Up to here copying is cheaper than one more entry of a vectored write.
pub(crate) const COPIED: usize = 8 << 10;
/// How many bytes may wait here before the connection waits for its reader.
const ROOM: usize = 16 << 10;
/// The most bytes that are written in one turn of the event loop: then other connections have theirs, however
/// much this reader would take.
const TURN: usize = 256 << 10;

/// Bytes on their way out, in this order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    before: BytesMut,
    body: Bytes,
    after: BytesMut,
    /// So much was written since the last look.
    moved: usize,
    /// Something was written that the stream may still hold.
    is_unflushed: bool,
    /// What the piece of a body is part of, where it may be asked back.
    loan: Loan,
}

impl Outbox {
    /// Where the next bytes go.
    pub(crate) fn text(&mut self) -> &mut BytesMut {
        if self.body.is_empty() { &mut self.before } else { &mut self.after }
    }

    /// Adds a piece of a body. Ask [`Outbox::has_room`] before.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() <= COPIED || !self.body.is_empty() {
            self.text().extend_from_slice(&piece);
        } else {
            self.body = piece;
        }
    }

    /// What waits here of a body is lent by its cache, which may ask it back where the reader does not take it.
    pub(crate) fn lent(&mut self, loan: impl FnOnce() -> Loan) {
        if !self.body.is_empty() {
            self.loan = loan();
        }
    }

    /// Whether another piece may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.body.is_empty() && self.before.len() < ROOM
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.body.is_empty() && self.after.is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.body.len() + self.after.len()
    }

    /// How much of what waited here was written since this was asked last.
    pub(crate) fn take_moved(&mut self) -> usize {
        std::mem::take(&mut self.moved)
    }

    /// Gives the memory back while there is nothing to write.
    pub(crate) fn release(&mut self) {
        let holds_memory = self.before.capacity() + self.after.capacity() > 0;
        if holds_memory && self.is_empty() {
            self.before = BytesMut::new();
            self.after = BytesMut::new();
        }
    }

    /// Writes `text` and then the content of `large`, as far as the reader takes it now; the rest waits
    /// here. What goes wrong is found out with the rest.
    pub(crate) fn write<IO: AsyncWrite + Unpin>(
        &mut self,
        text: &[u8],
        large: Option<&HitResponse>,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) {
        let content = large.map_or(&[][..], HitResponse::content);
        // What is beyond a turn waits with the rest.
        let content = &content[..content.len().min(TURN)];
        let mut written = 0;
        while self.is_empty() && written < text.len() + content.len() {
            let io = Pin::new(&mut *io);
            let polled = match text.get(written..).filter(|rest| !rest.is_empty()) {
                Some(rest) if content.is_empty() => io.poll_write(cx, rest),
                Some(rest) => {
                    io.poll_write_vectored(cx, &[IoSlice::new(rest), IoSlice::new(content)])
                }
                None => io.poll_write(cx, &content[written - text.len()..]),
            };
            match polled {
                Poll::Ready(Ok(now @ 1..)) => {
                    written += now;
                    self.is_unflushed = true;
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        if let Some(rest) = text.get(written..) {
            self.text().extend_from_slice(rest);
        }
        if let Some(large) = large {
            let rest = large.content_from(written.saturating_sub(text.len()));
            if !rest.is_empty() {
                self.push(rest);
                self.lent(|| large.loan());
            }
        }
    }

    /// Writes until nothing is left, or a turn is over: then the task is woken for the next.
    pub(crate) fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() && !self.is_unflushed {
            return Poll::Ready(Ok(()));
        }
        let mut room = TURN;
        while !self.is_empty() {
            if room == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = if self.body.is_empty() && self.after.is_empty() {
                let before = &self.before[..self.before.len().min(room)];
                Pin::new(&mut *io).poll_write(cx, before)
            } else {
                let mut left = room;
                let slices = [&self.before[..], &self.body, &self.after].map(|slice| {
                    let slice = &slice[..slice.len().min(left)];
                    left -= slice.len();
                    IoSlice::new(slice)
                });
                // A writer without vectors writes the first entry alone, which must not be empty.
                let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or_default();
                let slices = &slices[first..];
                Pin::new(&mut *io).poll_write_vectored(cx, slices)
            };
            let written = match written {
                Poll::Ready(written) => written?,
                // Not even what is lent is taken.
                Poll::Pending => {
                    ready!(self.loan.poll_recalled(cx));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, CutOff)));
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += written;
            self.is_unflushed = true;
            self.loan.took(written);
            self.advance(written);
            room = room.saturating_sub(written);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        for part in [&mut self.before as &mut dyn Buf, &mut self.body, &mut self.after] {
            let of_this = written.min(part.remaining());
            part.advance(of_this);
            written -= of_this;
        }
        // What comes next goes behind what is left of it.
        if self.before.is_empty() && self.body.is_empty() {
            // An empty rest would keep all of the piece.
            self.body = Bytes::new();
            self.loan = Loan::default();
            std::mem::swap(&mut self.before, &mut self.after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that takes so many bytes at its first write, and nothing more until it is told to.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let now = bytes.len().min(self.room);
            if now == 0 {
                return Poll::Pending;
            }
            self.room -= now;
            self.taken.extend_from_slice(&bytes[..now]);
            Poll::Ready(Ok(now))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.as_mut().poll_write(cx, &all)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_reader_that_takes_all_at_once_lets_others_have_their_turn() {
        struct Woken(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let woken = std::sync::Arc::new(Woken(0.into()));
        let waker = std::task::Waker::from(std::sync::Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        let (mut outbox, mut io) =
            (Outbox::default(), Narrow { room: usize::MAX, taken: Vec::new() });
        let large = Bytes::from(vec![b'x'; 10 << 20]);
        outbox.text().extend_from_slice(b"head ");
        outbox.push(large.clone());
        outbox.text().extend_from_slice(b" tail");
        let mut turns = 1;
        while outbox.poll_flush(&mut io, cx).is_pending() {
            assert!(io.taken.len() <= turns * TURN, "{} in turn {turns}", io.taken.len());
            assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), turns);
            assert_eq!(outbox.take_moved(), TURN);
            turns += 1;
        }
        assert_eq!(turns, (10 << 20) / TURN + 1);
        assert!(io.taken == [b"head ", &large[..], b" tail"].concat());
    }

    #[test]
    fn wherever_a_write_ends_what_comes_next_goes_behind_the_rest() {
        let large = Bytes::from(vec![b'x'; COPIED + 1]);
        let said = [b"head ", &large[..], b" tail", b" more ", &large[..], b" end"].concat();
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        for room in 0..=COPIED + 20 {
            let (mut outbox, mut io) = (Outbox::default(), Narrow { room, taken: Vec::new() });
            outbox.text().extend_from_slice(b"head ");
            outbox.push(large.clone());
            outbox.text().extend_from_slice(b" tail");
            let _first = outbox.poll_flush(&mut io, cx);
            outbox.text().extend_from_slice(b" more ");
            outbox.push(large.clone());
            outbox.text().extend_from_slice(b" end");
            io.room = usize::MAX;
            assert!(outbox.poll_flush(&mut io, cx).is_ready());
            assert!(io.taken == said, "after {room} bytes");
        }
    }
}
