//! Upload: a request's body on its way from the connection to its consumer, which is the service mostly.
//!
//! The consumer says that it wants a piece, and only then does the connection read one off the socket: at
//! most one piece waits between the two, and a body that is not consumed stays with the reader that sends
//! it.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use larder::http::policy::forward;

/// Why a request's body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReaderBodyError {
    /// The reader closed the connection in the middle of the body.
    #[error("the consumer went away in the middle of its request")]
    Gone,
    /// No bytes within [`Http1Config::body_timeout`](super::Http1Config::body_timeout).
    #[error("the consumer sent no more of its request in time")]
    TimedOut,
    /// There is more of it than [`Http1Config::max_request_body`](super::Http1Config::max_request_body), or than
    /// [`ReaderBody::may_have`] says.
    #[error("the request's content is larger than allowed")]
    TooLarge,
    /// What came is not a body.
    #[error("the request's body is malformed: {0}")]
    Malformed(&'static str),
    /// The exchange ended, by an answer or otherwise, and no more is read off the socket for it.
    #[error("the exchange ended before the request's body did")]
    Over,
}

/// A request's body. Its data is read off the connection only as it is asked for. Dropping it tells
/// the connection that the rest is not wanted.
pub struct ReaderBody {
    flow: Flow,
}

enum Flow {
    Empty,
    Streaming { channel: Arc<Mutex<Channel>>, left: Option<u64> },
}

/// Between the two. Under one lock, which is never held across an await.
struct Channel {
    piece: Option<Bytes>,
    /// What comes behind the last piece, and before the end.
    trailers: Option<Box<HeaderMap>>,
    end: Option<Result<(), ReaderBodyError>>,
    is_wanted: bool,
    is_dropped: bool,
    may_pause: bool,
    /// More than so many bytes are refused.
    max_bytes: Option<u64>,
    consumer: Option<Waker>,
    connection: Option<Waker>,
}

impl Channel {
    fn demand(&self) -> Option<Demand> {
        if self.is_dropped {
            return Some(Demand::Dropped);
        }
        (self.is_wanted && self.piece.is_none()).then_some(Demand::Wanted)
    }

    /// What the consumer is given.
    fn take(&mut self) -> Poll<Option<Result<Frame<Bytes>, ReaderBodyError>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.end {
            None => Poll::Pending,
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(())) => {
                Poll::Ready(self.trailers.take().map(|fields| Ok(Frame::trailers(*fields))))
            }
        }
    }
}

/// The connection's end.
pub(crate) struct Upload {
    channel: Arc<Mutex<Channel>>,
}

/// What the consumer asks of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Wanted,
    /// It wants no more of it.
    Dropped,
}

/// The two ends of a body of `left` bytes, if that is known.
pub(crate) fn channel(left: Option<u64>) -> (Upload, ReaderBody) {
    let channel = Arc::new(Mutex::new(Channel {
        piece: None,
        trailers: None,
        end: None,
        is_wanted: false,
        is_dropped: false,
        may_pause: false,
        max_bytes: None,
        consumer: None,
        connection: None,
    }));
    let body = ReaderBody { flow: Flow::Streaming { channel: Arc::clone(&channel), left } };
    (Upload { channel }, body)
}

impl Upload {
    /// What is asked; pending while nothing is.
    pub(crate) fn poll_demand(&self, cx: &mut Context<'_>) -> Poll<Demand> {
        {
            let channel = lock(&self.channel);
            if let Some(demand) = channel.demand() {
                return Poll::Ready(demand);
            }
            if channel.connection.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // Cloning and dropping a waker runs code of the task that polls: not under the lock.
        let mut connection = Some(cx.waker().clone());
        let mut channel = lock(&self.channel);
        if let Some(demand) = channel.demand() {
            return Poll::Ready(demand);
        }
        mem::swap(&mut channel.connection, &mut connection);
        drop(channel);
        Poll::Pending
    }

    pub(crate) fn supply(&self, piece: Bytes) {
        let mut channel = lock(&self.channel);
        channel.piece = Some(piece);
        channel.is_wanted = false;
        wake(channel);
    }

    /// Whether its sender may send nothing for as long as it likes.
    pub(crate) fn may_pause(&self) -> bool {
        lock(&self.channel).may_pause
    }

    /// Whether its consumer takes so many bytes.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        lock(&self.channel).max_bytes.is_none_or(|most| bytes <= most)
    }

    /// The good end, behind these trailers. What of them may not be there goes no further.
    pub(crate) fn end_with(&self, mut trailers: HeaderMap) {
        forward::trailers(&mut trailers);
        if !trailers.is_empty() {
            lock(&self.channel).trailers = Some(Box::new(trailers));
        }
        self.end(Ok(()));
    }

    /// The end, good or bad. What has been supplied is still delivered before it.
    pub(crate) fn end(&self, end: Result<(), ReaderBodyError>) {
        let mut channel = lock(&self.channel);
        if channel.end.is_none() {
            channel.end = Some(end);
        }
        wake(channel);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.end(Err(ReaderBodyError::Over));
    }
}

fn wake(mut channel: MutexGuard<'_, Channel>) {
    let consumer = channel.consumer.take();
    drop(channel);
    if let Some(consumer) = consumer {
        consumer.wake();
    }
}

impl ReaderBody {
    /// A body that is not there.
    pub fn empty() -> Self {
        ReaderBody { flow: Flow::Empty }
    }

    /// From now on its sender may send nothing for as long as it likes, and at any rate.
    pub fn may_pause(&self) {
        if let Flow::Streaming { channel, .. } = &self.flow {
            lock(channel).may_pause = true;
        }
    }

    /// From now on more than so many bytes are refused, and go no further.
    pub fn may_have(&self, bytes: u64) {
        if let Flow::Streaming { channel, .. } = &self.flow {
            lock(channel).max_bytes = Some(bytes);
        }
    }
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = ReaderBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReaderBodyError>>> {
        let Flow::Streaming { channel, left } = &mut self.flow else { return Poll::Ready(None) };
        let mut next = lock(channel).take();
        if next.is_pending() {
            next = wait(channel, cx.waker().clone());
        }
        if let (Some(left), Poll::Ready(Some(Ok(frame)))) = (left, &next) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        match &self.flow {
            Flow::Empty => true,
            Flow::Streaming { channel, .. } => {
                let channel = lock(channel);
                channel.piece.is_none() && channel.trailers.is_none() && channel.end == Some(Ok(()))
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
fn wait(
    channel: &Mutex<Channel>,
    consumer: Waker,
) -> Poll<Option<Result<Frame<Bytes>, ReaderBodyError>>> {
    let mut consumer = Some(consumer);
    let mut channel = lock(channel);
    let next = channel.take();
    if next.is_pending() {
        channel.is_wanted = true;
        mem::swap(&mut channel.consumer, &mut consumer);
        let connection = channel.connection.take();
        drop(channel);
        if let Some(connection) = connection {
            connection.wake();
        }
    }
    next
}

impl Drop for ReaderBody {
    fn drop(&mut self) {
        if let Flow::Streaming { channel, .. } = &self.flow {
            let mut channel = lock(channel);
            channel.is_dropped = true;
            channel.piece = None;
            let connection = channel.connection.take();
            drop(channel);
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

fn lock(channel: &Mutex<Channel>) -> MutexGuard<'_, Channel> {
    // Nothing under this lock can panic half-way through a change.
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// A waker that wants the lock where it is dropped.
    struct WantsChannel(Arc<Mutex<Channel>>);

    impl Wake for WantsChannel {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for WantsChannel {
        fn drop(&mut self) {
            assert!(self.0.try_lock().is_ok(), "it is dropped under the lock");
        }
    }

    #[test]
    fn a_waker_is_dropped_under_no_lock_and_none_is_forgotten() {
        let (upload, mut body) = channel(Some(3));
        let channel = Arc::clone(&upload.channel);
        let waker = || Waker::from(Arc::new(WantsChannel(Arc::clone(&channel))));
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
        let channel = lock(&channel);
        assert!(channel.consumer.is_none() && channel.connection.is_none());
    }
}
