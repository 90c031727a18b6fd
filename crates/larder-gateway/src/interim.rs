//! Interim: the way 1xx answers take past the final one (RFC 9110 §15.2).
//!
//! A connection puts an [`Interim`] into the extensions of each request whose reader understands
//! interim answers. Its holder may send any number of them until the final answer begins.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use http::{Response, StatusCode};

/// How many interim answers may wait for the connection. They are hints, so the newest is dropped
/// rather than letting an origin that sends them without end fill the memory.
const WAITING: usize = 16;

/// How many are handed over for one request, at most: what more of them a reader would have to read is a flood.
const FORWARDED: u32 = 16;

/// The sending end. Clones send into the same connection; dropping them all has no effect.
#[derive(Clone)]
pub struct Interim {
    channel: Arc<Mutex<Channel>>,
}

/// The connection's end. Dropping it, as the final answer begins, makes every later send a no-op.
pub struct Interims {
    channel: Arc<Mutex<Channel>>,
}

/// Under one lock, which is never held across an await.
struct Channel {
    waiting: VecDeque<Response<()>>,
    is_open: bool,
    sent: u32,
    connection: Option<Waker>,
}

/// The two ends for one request.
pub fn channel() -> (Interim, Interims) {
    let channel = Channel { waiting: VecDeque::new(), is_open: true, sent: 0, connection: None };
    let channel = Arc::new(Mutex::new(channel));
    (Interim { channel: Arc::clone(&channel) }, Interims { channel })
}

impl Interim {
    /// Hands an interim answer over; it never waits. Says whether the answer will be written:
    /// not after the final answer has begun, not after too many or while too many wait, and not for a
    /// status that is none of an intermediary's business.
    pub fn send(&self, answer: Response<()>) -> bool {
        if !is_passed_on(answer.status()) {
            return false;
        }
        let mut channel = lock(&self.channel);
        if !channel.is_open || channel.sent >= FORWARDED || channel.waiting.len() >= WAITING {
            return false;
        }
        channel.waiting.push_back(answer);
        channel.sent += 1;
        let connection = channel.connection.take();
        drop(channel);
        if let Some(connection) = connection {
            connection.wake();
        }
        true
    }

    /// Whether any was handed over.
    pub(crate) fn has_sent(&self) -> bool {
        lock(&self.channel).sent > 0
    }
}

/// Whether an answer of this status is an intermediary's business: 100 belongs to the connection's own `Expect`, 101 ends
/// HTTP, and others are not interim.
pub(crate) fn is_passed_on(status: StatusCode) -> bool {
    status.is_informational()
        && status != StatusCode::CONTINUE
        && status != StatusCode::SWITCHING_PROTOCOLS
}

impl Interims {
    /// The next answer to write. Pending is not the end: there is none but dropping this.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Response<()>> {
        {
            let mut channel = lock(&self.channel);
            if let Some(answer) = channel.waiting.pop_front() {
                return Poll::Ready(answer);
            }
            if channel.connection.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
        }
        // Cloning and dropping a waker runs code of the task that polls: not under the lock.
        let mut connection = Some(cx.waker().clone());
        let mut channel = lock(&self.channel);
        if let Some(answer) = channel.waiting.pop_front() {
            return Poll::Ready(answer);
        }
        mem::swap(&mut channel.connection, &mut connection);
        drop(channel);
        Poll::Pending
    }
}

impl Drop for Interims {
    fn drop(&mut self) {
        let mut channel = lock(&self.channel);
        channel.is_open = false;
        let waiting = (mem::take(&mut channel.waiting), channel.connection.take());
        drop(channel);
        drop(waiting);
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim").field("is_open", &lock(&self.channel).is_open).finish()
    }
}

impl fmt::Debug for Interims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interims").field("waiting", &lock(&self.channel).waiting.len()).finish()
    }
}

fn lock(channel: &Mutex<Channel>) -> MutexGuard<'_, Channel> {
    // Nothing under this lock can panic half-way through a change.
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        task::{Context, Poll, Wake, Waker},
    };

    use http::{Response, StatusCode};

    use super::{Channel, FORWARDED, WAITING, channel};

    /// A waker that wants the lock where it is woken or dropped.
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
    fn a_waker_is_dropped_under_no_lock() {
        let (interim, mut interims) = channel();
        let waker = || Waker::from(Arc::new(WantsChannel(Arc::clone(&interim.channel))));
        for is_sent in [false, false, true] {
            let waker = waker();
            assert!(interims.poll_next(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            assert!(!is_sent || interim.send(answer(103)));
        }
        assert!(interims.poll_next(&mut Context::from_waker(&waker())).is_ready());
        assert!(interims.poll_next(&mut Context::from_waker(&waker())).is_pending());
        drop(interims);
    }

    fn answer(status: u16) -> Response<()> {
        Response::builder().status(status).body(()).unwrap()
    }

    #[test]
    fn interim_answers_arrive_in_the_order_they_were_sent() {
        let (interim, mut interims) = channel();
        assert!(interim.send(answer(102)));
        assert!(interim.clone().send(answer(103)));
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || interims.poll_next(&mut cx).map(|answer| answer.status());
        assert_eq!(next(), Poll::Ready(StatusCode::PROCESSING));
        assert_eq!(next(), Poll::Ready(StatusCode::EARLY_HINTS));
        assert_eq!(next(), Poll::Pending);
    }

    #[test]
    fn only_what_is_interim_is_taken() {
        let (interim, _interims) = channel();
        for status in [100, 101, 200, 304, 500] {
            assert!(!interim.send(answer(status)), "{status}");
        }
        assert!(interim.send(answer(199)));
    }

    #[test]
    fn nothing_is_taken_once_the_final_answer_has_begun() {
        let (interim, interims) = channel();
        drop(interims);
        assert!(!interim.send(answer(103)));
    }

    #[test]
    fn a_flood_of_hints_is_bounded() {
        let (interim, _interims) = channel();
        let taken = (0..WAITING * 3).filter(|_| interim.send(answer(103))).count();
        assert_eq!(taken, WAITING);
    }

    #[test]
    fn a_flood_of_hints_is_bounded_where_each_is_taken_at_once() {
        let (interim, mut interims) = channel();
        let mut cx = Context::from_waker(Waker::noop());
        let mut send = || interim.send(answer(103)) && interims.poll_next(&mut cx).is_ready();
        let taken = (0..FORWARDED * 3).filter(|_| send()).count();
        assert_eq!(taken, FORWARDED as usize);
    }
}
