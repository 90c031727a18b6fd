//! Duplex: a stream of HTTP/2 as bytes both ways.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::notes::Notes;

/// Dropping it before both sides have ended resets the stream.
pub(super) struct Duplex {
    receives: RecvStream,
    sends: SendStream<Bytes>,
    /// Came, and was not read yet.
    came: Bytes,
    has_ended: bool,
    notes: Arc<Notes>,
}

impl Duplex {
    pub(super) fn new(receives: RecvStream, sends: SendStream<Bytes>, notes: Arc<Notes>) -> Duplex {
        Duplex { receives, sends, came: Bytes::new(), has_ended: false, notes }
    }

    /// Tells the reader at once that nothing more comes, and nothing more is wanted.
    pub(super) fn reset(mut self, reason: Reason) {
        self.sends.send_reset(reason);
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.came.is_empty() {
            match ready!(self.receives.poll_data(cx)) {
                Some(Ok(came)) => self.came = came,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let now = self.came.len().min(buffer.remaining());
        buffer.put_slice(&self.came[..now]);
        self.came.advance(now);
        if self.came.is_empty() {
            self.came = Bytes::new();
        }
        self.notes.moved(now);
        // From here on the reader may send as much again.
        let released = self.receives.flow_control().release_capacity(now);
        Poll::Ready(released.map_err(io::Error::other))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sends.reserve_capacity(bytes.len());
        // Of capacity that is there already, `poll_capacity` does not tell.
        let room = match self.sends.capacity() {
            0 => match ready!(self.sends.poll_capacity(cx)) {
                Some(room) => room.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room,
        };
        let now = room.min(bytes.len());
        if now == 0 {
            // Looked at again when there is some.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = Bytes::copy_from_slice(&bytes[..now]);
        self.sends.send_data(piece, false).map_err(io::Error::other)?;
        self.notes.sent(now);
        self.notes.moved(now);
        Poll::Ready(Ok(now))
    }

    /// What is given to h2 goes as soon as the socket takes it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.sends.send_data(Bytes::new(), true).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}
