//! Connection: the socket, what was read off it, what waits to be written, and how it ends.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::{
    io::poll_read_buf,
    sync::{CancellationToken, WaitForCancellationFutureOwned},
};

use super::{
    answer::{self, Ending, RequestFacts},
    body_reader::{BodyReader, Piece},
    config::Http1Config,
    fast_hit::{self, Answered, FastPath},
    framing::BodyFraming,
    head::{Head, HeadReader},
    outbox::{self, Outbox},
    refusal::Refusal,
};
use crate::{
    access::Entry,
    downstream::{
        counters::{Timeout, TooSlow},
        ended::Ended,
        pace::{ALONE, Pace},
        peer::Peer,
        span::Span,
        under_way::Seat,
    },
    problem::Problem,
    timer::{Timer, after},
};

/// Read at a time where a head is expected.
pub(super) const HEAD_READ: usize = 4 << 10;
/// An idle connection reads into the stack, so that it holds no buffer.
const IDLE_READ: usize = 4 << 10;

/// How often a reader that has closed its side is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The most bytes of answers to pipelined hits that are written at once.
const DESK_BYTES: usize = 32 << 10;

thread_local! {
    /// Where answers to hits are written before they leave: one for all connections of a thread, since
    /// each is done with it before it waits.
    static DESK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Room for the next read of an upload on this thread: made anew for each, its pages would be too.
    static SPARE: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

pub(crate) struct Connection<'a, IO> {
    pub(super) io: &'a mut IO,
    pub(super) config: &'a Http1Config,
    pub(super) stop: CancellationToken,
    /// Made when the connection first waits for a request.
    stopped: Option<(Pin<Box<WaitForCancellationFutureOwned>>, Waker)>,
    pub(super) bytes: BytesMut,
    /// The reader sends no more.
    pub(super) is_at_eof: bool,
    heads: HeadReader,
    /// So many bytes are there, and `hits` has no answer to what is at their front.
    looked_at: usize,
    /// No request has come yet.
    is_first: bool,
    /// Some of the next request is there.
    has_begun: bool,
    /// The rest of its head has to come soon, since the connection is to stop.
    is_hurried: bool,
    pub(super) outbox: Outbox,
    /// Where it is said which answers are under way.
    seat: Option<Box<Seat>>,
    /// The hit whose content waits there, for the access log.
    unsent: Option<Box<Entry>>,
    pub(super) read_timer: Timer,
    /// None where the connection is kept for as long as it likes.
    pub(super) span: Option<Box<Span>>,
    /// Of the head or the upload under way; made when it is first waited for.
    read_pace: Option<Box<Pace>>,
    /// Made when an answer first has to wait for its reader.
    lag: Option<Box<Lag>>,
    /// The reader was too slow to take an answer, or the end of the connection.
    takes_nothing: bool,
    /// The reader was cut off while the connection was to end: nothing of it is on its way.
    is_stalled: bool,
    /// What counts, or will, is as short as it is while the connection is to end.
    is_read_shortened: bool,
}

/// How long answers wait to be taken. On the heap, so that connections that are only kept are no larger for it.
struct Lag {
    timer: Timer,
    pace: Pace,
    is_shortened: bool,
}

/// What comes next on a connection.
pub(crate) enum Next {
    Head(Box<Head>),
    Refused(Refusal),
    /// The reader speaks HTTP/2. These are the bytes that were read so far.
    Http2(Bytes),
    /// Nothing more is to be answered.
    Over,
    /// The reader did not take all of what it was answered.
    Gone,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Connection<'a, IO> {
    pub(crate) fn new(io: &'a mut IO, config: &'a Http1Config, stop: CancellationToken) -> Self {
        Connection {
            io,
            config,
            stop,
            stopped: None,
            bytes: BytesMut::new(),
            is_at_eof: false,
            heads: HeadReader::default(),
            looked_at: 0,
            is_first: true,
            has_begun: false,
            is_hurried: false,
            outbox: Outbox::default(),
            seat: config.under_way.as_ref().map(|answers| Box::new(answers.seat())),
            unsent: None,
            span: Span::begin(config),
            read_timer: Timer::default(),
            read_pace: None,
            lag: None,
            takes_nothing: false,
            is_stalled: false,
            is_read_shortened: false,
        }
    }

    /// The next request's head that `hits` has no answer to. What waits to be written is written before
    /// anything is waited for.
    pub(crate) async fn next_head<H: FastPath>(&mut self, peer: Peer, hits: &H) -> Next {
        self.has_begun = false;
        self.read_timer.clear();
        let next = poll_fn(|cx| self.poll_next_head(peer, hits, cx)).await;
        self.read_timer.clear();
        self.is_first = false;
        next
    }

    fn poll_next_head<H: FastPath>(
        &mut self,
        peer: Peer,
        hits: &H,
        cx: &mut Context<'_>,
    ) -> Poll<Next> {
        let is_stopping = self.stop.is_cancelled();
        loop {
            if !self.outbox.has_room() && ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(Next::Gone);
            }
            // What begins with an empty line is HTTP/1, however it is cut.
            self.is_first &= self.bytes.first() != Some(&b'\r');
            if self.is_first && HeadReader::is_preface_of_http2(&self.bytes) {
                return Poll::Ready(Next::Http2(std::mem::take(&mut self.bytes).freeze()));
            }
            // A service that is to stop says that the connection ends with this answer.
            let is_new = self.bytes.len() != self.looked_at;
            if !H::NONE && is_new && !self.bytes.is_empty() && !is_stopping {
                let bytes = std::mem::take(&mut self.bytes);
                let answered = self.answer_hits(&bytes, peer, hits, cx);
                self.bytes = bytes;
                self.bytes.advance(answered);
                if answered > 0 {
                    self.has_begun = false;
                    continue;
                }
            }
            let taken = match self.bytes.is_empty() {
                true => Ok(None),
                false => self.heads.take(&mut self.bytes, self.config),
            };
            match taken {
                Ok(Some(head)) => {
                    self.looked_at = 0;
                    self.begin_answer();
                    return Poll::Ready(match self.fault_ahead(head.body) {
                        Some(reason) => Next::Refused(Refusal::Malformed(reason)),
                        None => Next::Head(Box::new(head)),
                    });
                }
                Ok(None) => {}
                Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
            }
            if ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(Next::Gone);
            }
            self.end_answer();
            if self.is_at_eof {
                return Poll::Ready(match self.bytes[..] {
                    [] | [b'\r'] => Next::Over,
                    _ => Next::Refused(Refusal::Malformed("the head ends early")),
                });
            }
            // Empty lines are no part of it, nor is the first half of one: a reader that sends only those is idle.
            let is_begun = !matches!(self.bytes[..], [] | [b'\r']);
            if !self.has_begun && is_begun {
                self.has_begun = true;
                self.read_timer.restart(self.config.head_timeout);
                self.read_pace = None;
            }
            if is_stopping && self.has_begun {
                self.hurry();
            }
            // The answer to what is read now is the last, and says so: hits do not.
            let read = match self.bytes.is_empty() && !is_stopping {
                true => self.poll_read_idle(peer, hits, cx),
                false => self.poll_read(HEAD_READ, cx),
            };
            match read {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Over),
                Poll::Pending => {
                    // Not before it was looked for: a request that is here is answered, however late it was looked at.
                    if is_stopping || self.poll_stopped(cx).is_ready() {
                        if !self.has_begun {
                            return Poll::Ready(Next::Over);
                        }
                        self.hurry();
                    }
                    if !self.has_begun {
                        self.read_timer.ensure(self.config.idle_timeout);
                        ready!(self.read_timer.poll_passed(cx));
                        self.config.counters.timed_out(Timeout::Idle);
                        return Poll::Ready(Next::Over);
                    }
                    let until = self.read_pace().wait(ALONE);
                    match ready!(self.read_timer.poll_passed_or(until, cx)) {
                        true => self.config.counters.too_slow(TooSlow::Head),
                        false => self.config.counters.timed_out(Timeout::Head),
                    }
                    self.is_stalled = self.is_hurried;
                    return Poll::Ready(Next::Refused(Refusal::Slow));
                }
            }
        }
    }

    /// What is looked up from now on is newer than all that was answered before, if that has been written.
    fn begin_answer(&self) {
        if let Some(seat) = &self.seat
            && self.outbox.is_empty()
        {
            seat.begin();
        }
    }

    /// Of an answer it is known whether a cache outside can keep it: what none can is waited for by nobody. Not where older
    /// ones wait to be written before it.
    pub(super) fn note_whether_kept(&self, may_be_kept: bool) {
        if let Some(seat) = &self.seat
            && self.outbox.is_empty()
            && !may_be_kept
        {
            seat.end();
        }
    }

    /// All that was answered has been written.
    pub(super) fn end_answer(&self) {
        if let Some(seat) = &self.seat {
            seat.end();
        }
    }

    /// A head that comes byte by byte keeps neither room from other connections nor the server from its end.
    fn hurry(&mut self) {
        if !std::mem::replace(&mut self.is_hurried, true) {
            let limit = self.config.linger_timeout.min(self.config.head_timeout);
            self.read_timer.restart(limit);
        }
    }

    /// What is wrong with the chunks that have come with their head. A service may begin to pass a
    /// body on before its end; what can be known before shall be.
    fn fault_ahead(&self, framing: BodyFraming) -> Option<&'static str> {
        if framing != BodyFraming::Chunked {
            return None;
        }
        let (mut reader, mut bytes) = (BodyReader::new(framing), self.bytes.clone());
        loop {
            match reader.take(&mut bytes) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::Hungry | Piece::Trailers(_) | Piece::End) => return None,
                Err(reason) => return Some(reason),
            }
        }
    }

    /// Answers a request that no service saw, with content of so many bytes. The connection must be closed after that.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> usize {
        tracing::debug!(?refusal, "request refused");
        self.config.counters.refused(refusal.reason());
        self.answer_with(&refusal.to_problem(), RequestFacts::UNKNOWN)
    }

    /// The same for one that was not understood, so that no more can be told of it than who sent it.
    pub(crate) fn refuse_unread(&mut self, refusal: Refusal, peer: &Peer) {
        let bytes = self.refuse(refusal);
        if let Some(log) = &self.config.access_log {
            log.refused(peer, (refusal.to_problem().status(), bytes), refusal.reason());
        }
    }

    /// How many bytes its content has.
    pub(super) fn answer_with(&mut self, problem: &Problem, facts: RequestFacts) -> usize {
        let mut answer = problem.to_response();
        self.config.own_answers.change(answer.headers_mut());
        let bytes = answer.body().len();
        let promise = answer::write_own(self.outbox.text(), answer, facts);
        if promise.ending == Ending::None { 0 } else { bytes }
    }

    /// Closes our side where nothing is under way.
    pub(crate) async fn shut(&mut self) -> Ended {
        match poll_fn(|cx| self.poll_shut(cx)).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ended::Cut,
            // Another error says that the reader was faster.
            Ok(()) | Err(_) => Ended::Closed,
        }
    }

    /// Over TLS a close is said like everything else, and a reader may not take that either.
    fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut *self.io).poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_takes_too_little(cx).map(Err),
        }
    }

    /// Writes what waits and closes in order: our side first, the rest when the reader has closed
    /// its own, or after a while. Closing at once would reset the connection if the reader has sent
    /// more than was read, and it might lose the answer with that (RFC 9112 §9.6).
    pub(crate) async fn close(&mut self) -> Ended {
        if poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return Ended::Cut;
        }
        match poll_fn(|cx| self.poll_shut(cx)).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ended::Cut,
            Err(_) => return Ended::Closed,
        }
        if self.is_stalled {
            // Its room is wanted, and there is nothing that a close could meet.
            return Ended::Closed;
        }
        self.read_timer.restart(self.config.linger_timeout);
        poll_fn(|cx| {
            while !self.is_at_eof {
                self.bytes.clear();
                match self.poll_read(HEAD_READ, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return self.read_timer.poll_passed(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
        Ended::Closed
    }

    /// Ready when the reader has closed its side, with an error when it is gone. To notice, the connection reads
    /// so many bytes `ahead`; beyond that it waits until what was read is taken.
    fn poll_end(&mut self, ahead: usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_at_eof {
            if self.bytes.len() >= ahead {
                self.give_room_back();
                return Poll::Pending;
            }
            ready!(self.poll_read(HEAD_READ, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the head of an answer need no longer be waited for: the reader is gone, or has closed its
    /// side so long ago, or `is_crowded`.
    pub(super) fn poll_left(
        &mut self,
        half_closed: &mut Option<Instant>,
        ahead: usize,
        is_crowded: impl Fn() -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if ready!(self.poll_end(ahead, cx)).is_err() {
            return Poll::Ready(());
        }
        let limit = self.config.half_closed_timeout;
        let until = *half_closed.get_or_insert_with(|| after(limit));
        loop {
            self.read_timer.ensure(limit.min(LOOK_EVERY));
            ready!(self.read_timer.poll_passed(cx));
            self.read_timer.clear();
            // A reset is heard of by writing only, if it is nothing: after its end, reading tells of no error.
            let is_reset =
                matches!(Pin::new(&mut *self.io).poll_write(cx, &[]), Poll::Ready(Err(_)));
            if is_reset || until <= Instant::now() || is_crowded() {
                return Poll::Ready(());
            }
        }
    }

    /// Ready when an answer that pauses need not be gone on with. That a reader has left shows when
    /// something is written; where nothing is, it is given up after the same time as one that takes nothing.
    pub(super) fn poll_left_meanwhile(&mut self, ahead: usize, cx: &mut Context<'_>) -> Poll<()> {
        if ready!(self.poll_end(ahead, cx)).is_ok() {
            let usual = self.config.write_timeout;
            let little = self.config.half_closed_timeout.min(usual);
            self.count_reading(usual, little, cx);
            ready!(self.read_timer.poll_passed(cx));
        }
        Poll::Ready(())
    }

    /// Sees to it that the task is woken when it is to stop. Whether it is was just looked at, so where
    /// that is seen to already, nothing is asked again: asking takes a lock.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stop = &self.stop;
        let stopped = self.stopped.get_or_insert_with(|| {
            (Box::pin(stop.clone().cancelled_owned()), Waker::noop().clone())
        });
        if stopped.1.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        stopped.1.clone_from(cx.waker());
        stopped.0.as_mut().poll(cx)
    }

    /// Reads a request's first bytes. Memory is taken when they are there, and none before; none at all
    /// for hits.
    fn poll_read_idle<H: FastPath>(
        &mut self,
        peer: Peer,
        hits: &H,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.bytes = BytesMut::new();
        self.outbox.release();
        let mut stack = [MaybeUninit::uninit(); IDLE_READ];
        let mut read = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut *self.io).poll_read(cx, &mut read))?;
        let read = read.filled();
        self.is_at_eof = read.is_empty();
        // The first bytes of a connection may be HTTP/2.
        let is_for_service = H::NONE || self.is_first;
        let answered = if is_for_service { 0 } else { self.answer_hits(read, peer, hits, cx) };
        if answered < read.len() {
            self.bytes.extend_from_slice(&read[answered..]);
        }
        Poll::Ready(Ok(()))
    }

    /// Answers the requests at the front of `bytes` that are plain hits, in one write; returns how many
    /// bytes that was. What the reader does not take at once waits in the outbox.
    fn answer_hits<H: FastPath>(
        &mut self,
        bytes: &[u8],
        peer: Peer,
        hits: &H,
        cx: &mut Context<'_>,
    ) -> usize {
        self.begin_answer();
        let mut answered = 0;
        // Taken out meanwhile: what `hits` and the stream do on this thread is theirs.
        let mut desk = DESK.take();
        desk.clear();
        let (mut large, mut has_answer) = (None, true);
        while desk.len() < DESK_BYTES && large.is_none() {
            // The last answer says that it is, which takes the whole way.
            let is_last = |span: &Span| span.next_is_last(Instant::now()).is_some();
            if self.config.farewell.is_said() || self.span.as_deref().is_some_and(is_last) {
                has_answer = false;
                break;
            }
            let ahead = &bytes[answered..];
            let answer = fast_hit::answer(ahead, peer, self.config, hits, &mut desk);
            let Some(Answered { end, served, entry }) = answer else {
                has_answer = false;
                break;
            };
            if let Some(span) = &mut self.span {
                span.one_more(Instant::now());
            }
            self.heads.pass_on();
            self.is_first = false;
            answered += end;
            match served.content() {
                content if content.len() <= outbox::COPIED => desk.extend_from_slice(content),
                _ => {
                    large = Some(served);
                    self.begin_unsent(entry);
                }
            }
        }
        if answered > 0 {
            // From here on the connection is idle, or a next request has begun.
            self.read_timer.clear();
            self.outbox.write(&desk, large.as_ref(), &mut *self.io, cx);
            if self.unsent.is_some() && self.outbox.is_empty() {
                self.begin_unsent(None);
            }
        }
        DESK.set(desk);
        self.looked_at = if has_answer { 0 } else { bytes.len() - answered };
        answered
    }

    /// What was unsent before is as good as sent: what is left of it waits in front of this.
    fn begin_unsent(&mut self, entry: Option<Box<Entry>>) {
        if let Some(mut sent) = std::mem::replace(&mut self.unsent, entry) {
            sent.whole();
        }
    }

    /// Reads on, behind what is there. While nothing comes, next to no memory is held for it.
    pub(super) fn poll_read(
        &mut self,
        at_least: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.capacity() == 0 && at_least > HEAD_READ {
            self.bytes = SPARE.take();
        }
        if self.bytes.capacity() - self.bytes.len() < at_least / 2 {
            self.bytes.reserve(at_least);
        }
        let Poll::Ready(read) = poll_read_buf(Pin::new(&mut *self.io), cx, &mut self.bytes) else {
            self.give_room_back();
            return Poll::Pending;
        };
        let read = read?;
        self.is_at_eof = read == 0;
        if let Some(pace) = &mut self.read_pace {
            pace.moved(read, self.config.min_rate, ALONE);
        }
        Poll::Ready(Ok(()))
    }

    /// Thousands of slow uploads would keep much of it.
    fn give_room_back(&mut self) {
        let room = self.bytes.capacity() - self.bytes.len();
        if self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            if room > HEAD_READ {
                SPARE.set(bytes);
            }
        } else if room > self.bytes.len().max(HEAD_READ) {
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
    }

    /// Writes what waits. An error: the reader is gone, or takes it too slowly.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.outbox.poll_flush(self.io, cx);
        let moved = self.outbox.take_moved();
        if let Some(lag) = &mut self.lag
            && (flushed.is_ready() || moved > 0)
        {
            lag.timer.clear();
            lag.pace.moved(moved, self.config.min_rate, ALONE);
        }
        let flushed = match flushed {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_takes_too_little(cx).map(Err),
        };
        if self.unsent.is_some() {
            match &flushed {
                Poll::Ready(Ok(())) => self.begin_unsent(None),
                Poll::Ready(Err(_)) => {
                    let left = self.outbox.len();
                    if let Some(mut cut) = self.unsent.take() {
                        cut.left_behind(left);
                    }
                }
                Poll::Pending => {}
            }
        }
        flushed
    }

    /// Ready when the reader has taken nothing, or next to nothing, for as long as it may.
    fn poll_takes_too_little(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let usual = self.config.write_timeout;
        let little = self.config.stalled_timeout.min(usual);
        let is_to_end = self.is_to_end(cx);
        let rate = self.config.min_rate;
        let lag = self.lag.get_or_insert_with(|| {
            let (timer, pace) = (Timer::default(), Pace::rested(rate));
            Box::new(Lag { timer, pace, is_shortened: false })
        });
        if is_to_end && !std::mem::replace(&mut lag.is_shortened, true) {
            lag.timer.shorten(usual, little);
        }
        lag.timer.ensure(if is_to_end { little } else { usual });
        let until = match is_to_end {
            true => lag.pace.wait_little(rate, little),
            false => lag.pace.wait(ALONE),
        };
        let is_slow = ready!(lag.timer.poll_passed_or(until, cx));
        if !std::mem::replace(&mut self.takes_nothing, true) {
            match (is_to_end, is_slow) {
                (true, _) => self.config.counters.timed_out(Timeout::Stalled),
                (false, true) => self.config.counters.too_slow(TooSlow::Answer),
                (false, false) => self.config.counters.timed_out(Timeout::Write),
            }
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Ready when the reader has sent nothing of a request's body, or next to nothing, for as long as it may.
    pub(super) fn poll_sends_too_little(
        &mut self,
        may_pause: bool,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if may_pause && !self.is_to_end(cx) {
            self.read_timer.clear();
            self.pause_reading();
            return Poll::Pending;
        }
        let usual = self.config.body_timeout;
        let little = self.config.stalled_timeout.min(usual);
        let is_to_end = self.count_reading(usual, little, cx);
        let rate = self.config.min_rate;
        let until = match is_to_end {
            true => self.read_pace().wait_little(rate, little),
            false => self.read_pace().wait(ALONE),
        };
        let is_slow = ready!(self.read_timer.poll_passed_or(until, cx));
        self.is_stalled = is_to_end;
        match (is_to_end, is_slow) {
            (true, _) => self.config.counters.timed_out(Timeout::Stalled),
            (false, true) => self.config.counters.too_slow(TooSlow::Upload),
            (false, false) => self.config.counters.timed_out(Timeout::Body),
        }
        Poll::Ready(())
    }

    /// What is to be read from now on has all its time; of an upload that counts which comes at once.
    pub(super) fn begin_reading(&mut self, is_upload: bool) {
        self.read_pace = None;
        if is_upload {
            self.read_pace();
        }
    }

    /// The reader is not waited for.
    pub(super) fn pause_reading(&mut self) {
        if let Some(pace) = &mut self.read_pace {
            pace.pause(ALONE);
        }
    }

    fn read_pace(&mut self) -> &mut Pace {
        self.read_pace.get_or_insert_with(|| Box::new(Pace::new(self.config.min_rate)))
    }

    /// From now on counts for how long nothing is read, unless that counts already: up to `little`, if the
    /// connection is to end. Tells whether it is.
    fn count_reading(&mut self, usual: Duration, little: Duration, cx: &mut Context<'_>) -> bool {
        let is_to_end = self.is_to_end(cx);
        if is_to_end && !std::mem::replace(&mut self.is_read_shortened, true) {
            self.read_timer.shorten(usual, little);
        }
        self.read_timer.ensure(if is_to_end { little } else { usual });
        is_to_end
    }

    /// Whether the connection is to make room, or the server to stop; the task is woken when it is.
    fn is_to_end(&mut self, cx: &mut Context<'_>) -> bool {
        self.stop.is_cancelled() || self.poll_stopped(cx).is_ready()
    }
}
