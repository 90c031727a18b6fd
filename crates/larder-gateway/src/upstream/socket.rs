//! Socket: what HTTP is read from and written to, in the open or over TLS, with notes of what went through it.

use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::{outgoing::Progress, plain::Plain};

/// The most memory that is kept with a connection for the requests that it sends.
const MAX_KEPT: usize = 4 << 10;

/// A connection that is open.
pub(super) struct Socket {
    flow: Flow,
    notes: Arc<Notes>,
}

enum Flow {
    Open(Plain),
    Encrypted(Box<TlsStream<Plain>>),
}

/// What went through a socket. Whoever sends a request over it looks in here.
#[derive(Default)]
pub(super) struct Notes {
    /// Something has come.
    has_heard: AtomicBool,
    sent: Mutex<SentBytes>,
}

/// What was given to the socket first. It may not all have left.
#[derive(Default)]
struct SentBytes {
    is_wanted: bool,
    bytes: Vec<u8>,
    /// Of the request with content that is being sent.
    progress: Option<Arc<Progress>>,
}

impl Notes {
    /// Whether anything has come since [`listen`](Notes::listen).
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard.load(Ordering::Relaxed)
    }

    /// The same, and from now on nothing has.
    pub(super) fn take_heard(&self) -> bool {
        self.has_heard.swap(false, Ordering::Relaxed)
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
}

impl Socket {
    pub(super) fn open(plain: Plain) -> Socket {
        Socket { flow: Flow::Open(plain), notes: Arc::default() }
    }

    pub(super) fn encrypted(stream: TlsStream<Plain>) -> Socket {
        Socket { flow: Flow::Encrypted(Box::new(stream)), notes: Arc::default() }
    }

    pub(super) fn notes(&self) -> Arc<Notes> {
        Arc::clone(&self.notes)
    }

    /// The connection below.
    pub(super) fn plain(&self) -> Plain {
        match &self.flow {
            Flow::Open(plain) => plain.clone(),
            Flow::Encrypted(stream) => stream.get_ref().0.clone(),
        }
    }
}

/// The same of either kind.
macro_rules! of_either {
    ($socket:expr, $flow:ident => $result:expr) => {
        match &mut $socket.flow {
            Flow::Open($flow) => $result,
            Flow::Encrypted($flow) => $result,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = of_either!(self, flow => Pin::new(flow).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.notes.has_heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.notes.keep_if_wanted(bytes);
        let written = of_either!(self, flow => Pin::new(flow).poll_write(cx, bytes));
        self.notes.note(bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Most requests are a head and no more: one slice is cheaper to send by itself.
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        self.notes.keep_if_wanted(slices.first().map_or(&[], |first| first));
        let written = of_either!(self, flow => Pin::new(flow).poll_write_vectored(cx, slices));
        self.notes.note(slices.iter().map(|slice| slice.len()).sum(), written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, flow => Pin::new(flow).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, flow => Pin::new(flow).poll_shutdown(cx))
    }
}
