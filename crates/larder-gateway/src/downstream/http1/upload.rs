//! Upload: a request's body on its way from the connection to whoever reads it.
//!
//! The reader of the body says that it wants a piece, and only then does the connection read one off
//! the socket: at most one piece waits between them, and a body that nobody reads stays with its
//! sender.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Why a request's body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderBodyError {
    /// The reader closed the connection in the middle of the body.
    #[error("the reader went away in the middle of its request")]
    Gone,
    /// No bytes within [`Http1Config::body_timeout`](super::Http1Config::body_timeout).
    #[error("the reader sent no more of its request in time")]
    TimedOut,
    /// What came is not a body.
    #[error("the request's body is malformed: {0}")]
    Malformed(&'static str),
    /// The exchange ended, by an answer or otherwise, and nobody reads the socket for it any more.
    #[error("the exchange ended before the request's body did")]
    Over,
}

/// A request's body. Its data is read off the connection only as it is asked for. Dropping it tells
/// the connection that nobody wants the rest.
pub struct ReaderBody {
    flow: Flow,
}

enum Flow {
    Empty,
    Streaming { line: Arc<Mutex<Line>>, left: Option<u64> },
}

/// Between the two. Under one lock, which is never held across an await.
struct Line {
    piece: Option<Bytes>,
    end: Option<Result<(), ReaderBodyError>>,
    is_wanted: bool,
    is_dropped: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

impl Line {
    fn demand(&self) -> Option<Demand> {
        if self.is_dropped {
            return Some(Demand::Dropped);
        }
        (self.is_wanted && self.piece.is_none()).then_some(Demand::Wanted)
    }

    /// What the reader is given.
    fn take(&mut self) -> Poll<Option<Result<Bytes, ReaderBodyError>>> {
        match (self.piece.take(), self.end) {
            (Some(piece), _) => Poll::Ready(Some(Ok(piece))),
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(error))) => Poll::Ready(Some(Err(error))),
            (None, None) => Poll::Pending,
        }
    }
}

/// The connection's end.
pub(crate) struct Upload {
    line: Arc<Mutex<Line>>,
}

/// What the reader of the body asks of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Wanted,
    /// Nobody will want any more of it.
    Dropped,
}

/// The two ends of a body of `left` bytes, if that is known.
pub(crate) fn channel(left: Option<u64>) -> (Upload, ReaderBody) {
    let line = Arc::new(Mutex::new(Line {
        piece: None,
        end: None,
        is_wanted: false,
        is_dropped: false,
        reader: None,
        connection: None,
    }));
    let body = ReaderBody { flow: Flow::Streaming { line: Arc::clone(&line), left } };
    (Upload { line }, body)
}

impl Upload {
    /// What is asked; pending while nothing is.
    pub(crate) fn poll_demand(&self, cx: &mut Context<'_>) -> Poll<Demand> {
        {
            let line = lock(&self.line);
            if let Some(demand) = line.demand() {
                return Poll::Ready(demand);
            }
            if line.connection.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // A waker is the code of whoever polls: it is neither cloned nor dropped under the lock.
        let mut connection = Some(cx.waker().clone());
        let mut line = lock(&self.line);
        if let Some(demand) = line.demand() {
            return Poll::Ready(demand);
        }
        mem::swap(&mut line.connection, &mut connection);
        drop(line);
        Poll::Pending
    }

    pub(crate) fn supply(&self, piece: Bytes) {
        let mut line = lock(&self.line);
        line.piece = Some(piece);
        line.is_wanted = false;
        wake(line);
    }

    /// The end, good or bad. What has been supplied is still delivered before it.
    pub(crate) fn end(&self, end: Result<(), ReaderBodyError>) {
        let mut line = lock(&self.line);
        if line.end.is_none() {
            line.end = Some(end);
        }
        wake(line);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.end(Err(ReaderBodyError::Over));
    }
}

fn wake(mut line: MutexGuard<'_, Line>) {
    let reader = line.reader.take();
    drop(line);
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl ReaderBody {
    /// A body that is not there.
    pub fn empty() -> Self {
        ReaderBody { flow: Flow::Empty }
    }
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = ReaderBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReaderBodyError>>> {
        let Flow::Streaming { line, left } = &mut self.flow else { return Poll::Ready(None) };
        let mut next = lock(line).take();
        if next.is_pending() {
            next = wait(line, cx.waker().clone());
        }
        if let (Some(left), Poll::Ready(Some(Ok(piece)))) = (left, &next) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        next.map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        match &self.flow {
            Flow::Empty => true,
            Flow::Streaming { line, .. } => {
                let line = lock(line);
                line.piece.is_none() && line.end == Some(Ok(()))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.flow {
            Flow::Empty => SizeHint::with_exact(0),
            Flow::Streaming { left: Some(left), .. } => SizeHint::with_exact(*left),
            Flow::Streaming { left: None, .. } => SizeHint::default(),
        }
    }
}

/// Asks for a piece and waits for it, unless one has come just now.
fn wait(line: &Mutex<Line>, reader: Waker) -> Poll<Option<Result<Bytes, ReaderBodyError>>> {
    let mut reader = Some(reader);
    let mut line = lock(line);
    let next = line.take();
    if next.is_pending() {
        line.is_wanted = true;
        mem::swap(&mut line.reader, &mut reader);
        let connection = line.connection.take();
        drop(line);
        if let Some(connection) = connection {
            connection.wake();
        }
    }
    next
}

impl Drop for ReaderBody {
    fn drop(&mut self) {
        if let Flow::Streaming { line, .. } = &self.flow {
            let mut line = lock(line);
            line.is_dropped = true;
            line.piece = None;
            let connection = line.connection.take();
            drop(line);
            if let Some(connection) = connection {
                connection.wake();
            }
        }
    }
}

impl fmt::Debug for ReaderBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderBody").field("size_hint", &self.size_hint()).finish()
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    // Nothing under this lock can panic half-way through a change.
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// A waker that wants the line where it is dropped.
    struct WantsLine(Arc<Mutex<Line>>);

    impl Wake for WantsLine {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for WantsLine {
        fn drop(&mut self) {
            assert!(self.0.try_lock().is_ok(), "it is dropped under the lock");
        }
    }

    #[test]
    fn a_waker_is_dropped_under_no_lock_and_none_is_forgotten() {
        let (upload, mut body) = channel(Some(3));
        let line = Arc::clone(&upload.line);
        let waker = || Waker::from(Arc::new(WantsLine(Arc::clone(&line))));
        let mut read = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker()));
        let demand = || upload.poll_demand(&mut Context::from_waker(&waker()));
        assert!(demand().is_pending() && demand().is_pending());
        assert!(read().is_pending() && read().is_pending());
        assert_eq!(demand(), Poll::Ready(Demand::Wanted));
        upload.supply(Bytes::from_static(b"abc"));
        assert!(demand().is_pending());
        let Poll::Ready(Some(Ok(piece))) = read() else { panic!("it is here") };
        assert_eq!(piece.into_data().unwrap(), "abc");
        assert!(read().is_pending());
        upload.end(Ok(()));
        assert!(matches!(read(), Poll::Ready(None)));
        drop(body);
        assert_eq!(demand(), Poll::Ready(Demand::Dropped));
        let line = lock(&line);
        assert!(line.reader.is_none() && line.connection.is_none());
    }
}
