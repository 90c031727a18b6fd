//! Socket: a stream that hyper reads and writes while we can still look at it.

use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::outgoing::Progress;

/// hyper makes its buffers as large as what comes at once, and keeps them while a reader does not read.
const READ_AT_ONCE: usize = 32 << 10;

/// The most memory that is kept with a connection for the requests that it sends.
const MAX_KEPT: usize = 4 << 10;

/// Clones are the same socket. One of them reads and writes.
#[derive(Clone)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// Something has come.
    has_heard: Arc<AtomicBool>,
    sent: Arc<Mutex<SentBytes>>,
}

/// What was given to the socket first. It may not all have left.
#[derive(Default)]
struct SentBytes {
    is_wanted: bool,
    bytes: Vec<u8>,
    /// Of the request with content that is being sent.
    progress: Option<Arc<Progress>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Self {
        Socket { stream: Arc::new(stream), has_heard: Arc::default(), sent: Arc::default() }
    }

    /// Whether anything has come since [`listen`](Socket::listen).
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.load(Ordering::Relaxed)
    }

    /// What has come and was sent until now is forgotten. What is sent first from now on is kept if it
    /// `is_wanted`. What becomes of a request's content is told to its `progress`.
    pub(super) fn listen(&self, is_wanted: bool, progress: Option<Arc<Progress>>) {
        self.has_heard.store(false, Ordering::Relaxed);
        let mut sent = self.sent();
        sent.is_wanted = is_wanted;
        sent.progress = progress;
        sent.bytes.clear();
        sent.bytes.shrink_to(MAX_KEPT);
    }

    /// What was sent first, if that was wanted.
    pub(super) fn take_sent(&self) -> Vec<u8> {
        mem::take(&mut self.sent().bytes)
    }

    /// What was to be written, and what became of it.
    fn note(&self, bytes: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Some(progress) = &self.sent().progress {
            let taken = match written {
                Poll::Ready(Ok(taken)) => taken,
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            progress.wrote(taken, bytes - taken);
        }
        written
    }

    fn keep_if_wanted(&self, bytes: &[u8]) {
        let mut sent = self.sent();
        if mem::take(&mut sent.is_wanted) {
            sent.bytes.extend_from_slice(bytes);
        }
    }

    fn sent(&self) -> MutexGuard<'_, SentBytes> {
        // Nothing under this lock can panic half-way through a change.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the other side has neither closed nor said anything: asked of the kernel, because the
    /// event loop may not have heard yet.
    pub(super) fn is_quiet(&self) -> bool {
        let peeked = recv(&*self.stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }
}

impl Socket {
    fn poll_try_write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let (mut read, room) = (0, buffer.remaining().min(READ_AT_ONCE));
            let tried = self.stream.try_io(Interest::READABLE, || {
                if room == buffer.remaining() {
                    read = self.stream.try_read_buf(buffer)?;
                } else {
                    read = self.stream.try_read(buffer.initialize_unfilled_to(room))?;
                    buffer.advance(read);
                }
                if read > 0 {
                    self.has_heard.store(true, Ordering::Relaxed);
                }
                // Less than there was room for is all there was. The stream is told so, and the next
                // reading waits to hear of more instead of asking the kernel, which would say no.
                match room - read {
                    0 => Ok(()),
                    _ if read == 0 => Ok(()),
                    _ => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            match tried {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && read == 0 => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Poll::Ready(Err(error));
                }
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.keep_if_wanted(bytes);
        let written = self.poll_try_write(cx, |stream| stream.try_write(bytes));
        self.note(bytes.len(), written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most requests are a head and no more: one slice is cheaper to send by itself.
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        self.keep_if_wanted(slices.first().map_or(&[], |first| first));
        let written = self.poll_try_write(cx, |stream| stream.try_write_vectored(slices));
        self.note(slices.iter().map(|slice| slice.len()).sum(), written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = rustix::net::shutdown(&*self.stream, rustix::net::Shutdown::Write);
        Poll::Ready(result.map_err(io::Error::from))
    }
}
