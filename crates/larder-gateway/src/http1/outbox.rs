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
use larder::http::Served;
use tokio::io::AsyncWrite;

/// Up to here copying is cheaper than one more entry of a vectored write.
pub(crate) const COPIED: usize = 8 << 10;
/// So much may wait before the connection waits itself.
const ROOM: usize = 64 << 10;

/// Bytes on their way out, in this order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    before: BytesMut,
    body: Bytes,
    after: BytesMut,
    /// Something was written since the last look.
    has_moved: bool,
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

    /// Whether another piece may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.body.is_empty() && self.before.len() < ROOM
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.body.is_empty() && self.after.is_empty()
    }

    /// Whether anything was written since this was asked last.
    pub(crate) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
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
        large: Option<&Served>,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) {
        let content = large.map_or(&[][..], Served::content);
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
                Poll::Ready(Ok(now @ 1..)) => written += now,
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
            }
        }
    }

    /// Writes until nothing is left.
    pub(crate) fn poll_flush<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.is_empty() {
            let written = if self.body.is_empty() && self.after.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.before))?
            } else {
                let slices = [&self.before[..], &self.body, &self.after].map(IoSlice::new);
                // A writer without vectors writes the first entry alone, which must not be empty.
                let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or_default();
                let slices = &slices[first..];
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_moved = true;
            self.advance(written);
        }
        Pin::new(io).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        for part in [&mut self.before as &mut dyn Buf, &mut self.body, &mut self.after] {
            let of_this = written.min(part.remaining());
            part.advance(of_this);
            written -= of_this;
        }
    }
}
