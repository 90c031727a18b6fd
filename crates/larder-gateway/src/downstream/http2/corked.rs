//! Corked: a stream whose small writes are gathered and leave together.
//!
//! h2 flushes after every frame of data, so each answer would be a system call and a packet of its own,
//! however many there are to one turn. Here a flush by h2 does nothing: the task that polls its connection has
//! [`Corked::poll_release`] write what was gathered, once a turn. What comes in is inspected on its way.
//!
//! Its end h2 does not hear of once [`Corked::keep_end`] was asked for: h2 would drop all streams, and a reader
//! that has closed its side may still wait for its answers.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::inspect::{Fault, Inspector};

/// Larger writes are not gathered: copying them would cost more than the system call.
const SMALL: usize = 4 << 10;
/// The most bytes that are gathered into one write.
const GATHERED_BYTES: usize = 32 << 10;

/// Clones are the same stream: h2 has one of them, and the task that polls h2 another.
#[derive(Debug)]
pub(super) struct Corked<IO>(Arc<Mutex<Cork<IO>>>);

#[derive(Debug)]
struct Cork<IO> {
    io: IO,
    /// Comes before what `io` brings.
    read: Bytes,
    /// No memory is held while nothing is gathered.
    gathered: BytesMut,
    inspector: Inspector,
    /// From then on nothing is read.
    fault: Option<Fault>,
    keeps_end: bool,
    /// The reader sends no more, which h2 was not told.
    has_closed: bool,
    /// The reader does not take what was to be written last.
    is_blocked: bool,
    /// So much it has taken since.
    drained: usize,
    /// So much of an unfinished header block has come since that was asked last.
    head_bytes: usize,
}

impl<IO> Clone for Corked<IO> {
    fn clone(&self) -> Self {
        Corked(Arc::clone(&self.0))
    }
}

impl<IO> Corked<IO> {
    /// `read` is what was read off `io` already.
    pub(super) fn new(read: Bytes, io: IO, inspector: Inspector) -> Self {
        let gathered = BytesMut::new();
        Corked(Arc::new(Mutex::new(Cork {
            io,
            read,
            gathered,
            inspector,
            fault: None,
            keeps_end: false,
            has_closed: false,
            is_blocked: false,
            drained: 0,
            head_bytes: 0,
        })))
    }

    /// From now on an orderly end of what comes in is kept from h2.
    pub(super) fn keep_end(&self) {
        self.lock().keeps_end = true;
    }

    /// Whether the reader has closed its side, in order.
    pub(super) fn has_closed(&self) -> bool {
        self.lock().has_closed
    }

    /// Whether the reader does not take what is to be written.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock().is_blocked
    }

    /// How much a reader that did not take what was to be written has taken since this was asked last.
    pub(super) fn take_drained(&self) -> usize {
        std::mem::take(&mut self.lock().drained)
    }

    /// How much of an unfinished header block has come since this was asked last; `None`, where there is none.
    pub(super) fn take_head_bytes(&self) -> Option<usize> {
        let mut cork = self.lock();
        let head_bytes = std::mem::take(&mut cork.head_bytes);
        cork.inspector.is_in_block().then_some(head_bytes)
    }

    /// Ends the connection for what was found elsewhere.
    pub(super) fn give_up(&self, fault: Fault) {
        self.lock().fault.get_or_insert(fault);
    }

    /// What the inspector has found, if that ends the connection.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    fn lock(&self) -> MutexGuard<'_, Cork<IO>> {
        // What panics under it is the stream, which is not gone on with then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<IO: AsyncWrite + Unpin> Corked<IO> {
    /// Writes what was gathered. Only the caller hears of an error: to h2, all was written.
    pub(super) fn poll_release(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = self.lock();
        ready!(cork.poll_write_gathered(cx))?;
        Pin::new(&mut cork.io).poll_flush(cx)
    }
}

impl<IO: AsyncWrite + Unpin> Corked<IO> {
    /// Whether the connection was reset, as far as that is heard of by writing: after the end of what comes
    /// in, reading tells of no error.
    pub(super) fn is_reset(&self, cx: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.lock().io).poll_write(cx, &[]), Poll::Ready(Err(_)))
    }
}

impl<IO: AsyncRead + Unpin> Corked<IO> {
    /// Reads on, and throws it away, up to `left` bytes; what is more stays with its sender, who makes no work
    /// by it. Ready at the end.
    pub(super) fn poll_discard(&self, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        let mut cork = self.lock();
        let mut room = [0; 4 << 10];
        while *left > 0 {
            let mut buffer = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut cork.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    *left = left.saturating_sub(buffer.filled().len());
                }
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl<IO: AsyncWrite + Unpin> Cork<IO> {
    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.gathered);
            let written = ready!(self.note(written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        self.gathered = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let was_blocked = std::mem::replace(&mut self.is_blocked, written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written
            && (was_blocked || self.drained > 0)
        {
            self.drained += bytes;
        }
        written
    }

    fn gather(&mut self, slices: &[io::IoSlice<'_>]) -> usize {
        for slice in slices {
            self.gathered.extend_from_slice(slice);
        }
        slices.iter().map(|slice| slice.len()).sum()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Corked<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cork = &mut *self.lock();
        if cork.fault.is_some() || cork.has_closed {
            // The task that polls h2 asks for these then, and does not wait for more.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if cork.read.is_empty() {
            let has_room = buffer.remaining() > 0;
            ready!(Pin::new(&mut cork.io).poll_read(cx, buffer))?;
            if cork.keeps_end && has_room && buffer.filled().len() == before {
                cork.has_closed = true;
                return Poll::Pending;
            }
        } else {
            let length = cork.read.len().min(buffer.remaining());
            buffer.put_slice(&cork.read.split_to(length));
        }
        if let Err(fault) = cork.inspector.inspect(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            cork.fault = Some(fault);
            return Poll::Pending;
        }
        cork.head_bytes += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Corked<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut cork = self.lock();
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        if bytes <= SMALL && cork.gathered.len() + bytes <= GATHERED_BYTES {
            return Poll::Ready(Ok(cork.gather(slices)));
        }
        ready!(cork.poll_write_gathered(cx))?;
        if bytes <= SMALL {
            return Poll::Ready(Ok(cork.gather(slices)));
        }
        let written = Pin::new(&mut cork.io).poll_write_vectored(cx, slices);
        cork.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: see [`Corked::poll_release`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.lock().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Takes so many bytes at a time, and notes each write.
    struct Socket {
        takes: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.takes);
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn corked(takes: usize) -> Corked<Socket> {
        let inspector = Inspector::new(Arc::default(), 1 << 16);
        Corked::new(Bytes::new(), Socket { takes, writes: Vec::new() }, inspector)
    }

    async fn release(corked: &Corked<Socket>) -> Vec<Vec<u8>> {
        poll_fn(|cx| corked.poll_release(cx)).await.unwrap();
        std::mem::take(&mut corked.lock().io.writes)
    }

    #[tokio::test]
    async fn what_is_small_leaves_together_and_when_it_is_told_to() {
        let mut stream = corked(usize::MAX);
        for piece in ["a", "bc", "d"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(stream.lock().io.writes.is_empty());
        assert_eq!(release(&stream).await, [b"abcd"]);
        assert_eq!(stream.lock().gathered.capacity(), 0, "nothing is held while it waits");
        assert!(release(&stream).await.is_empty());
    }

    #[tokio::test]
    async fn whatever_the_sizes_and_however_little_is_taken_the_order_stays() {
        for takes in [1, 1000, usize::MAX] {
            let mut stream = corked(takes);
            let mut expected = Vec::new();
            for (number, length) in
                [3, SMALL, SMALL + 1, 7, 3 * SMALL, 0, 1].into_iter().enumerate()
            {
                let piece = vec![b'a' + u8::try_from(number).unwrap(); length];
                stream.write_all(&piece).await.unwrap();
                expected.extend(piece);
            }
            stream.shutdown().await.unwrap();
            let written = std::mem::take(&mut stream.lock().io.writes).concat();
            assert!(written == expected, "{takes} B at a time");
        }
    }

    #[tokio::test]
    async fn no_more_is_gathered_than_may_be() {
        let mut stream = corked(usize::MAX);
        for _ in 0..100 {
            stream.write_all(&[0; SMALL]).await.unwrap();
            assert!(stream.lock().gathered.len() <= GATHERED_BYTES);
        }
        let writes = release(&stream).await;
        assert_eq!(writes.concat().len(), 100 * SMALL);
        assert_eq!(writes.len(), (100 * SMALL).div_ceil(GATHERED_BYTES));
    }

    #[tokio::test]
    async fn a_socket_that_takes_nothing_more_is_an_error() {
        let mut stream = corked(0);
        stream.write_all(b"a").await.unwrap();
        let released = poll_fn(|cx| stream.poll_release(cx)).await;
        assert_eq!(released.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
