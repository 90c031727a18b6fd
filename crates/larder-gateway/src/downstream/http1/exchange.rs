//! Exchange: one request of a connection, its answer, and what goes on beside.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, response::Parts};
use http_body::Body;
use larder::http::{CutOff, Loan, policy::proxy_status::ProxyError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tower::Service;

use super::{
    answer::{self, Ending, RequestFacts},
    body_reader::{BodyReader, Piece},
    connection::{Connection, HEAD_READ},
    fast_hit::FastPath,
    framing::BodyFraming,
    head::Head,
    refusal::Refusal,
    upload::{self, Demand, ReaderBody, ReaderBodyError, Upload},
};
use crate::{
    access::{self, Entry},
    downstream::{
        counters::TunnelEnd,
        lent::loan_of,
        peer::Peer,
        tunnel::{self, Limits},
        under_way::{may_be_kept, may_be_kept_of},
    },
    interim::{self, Interims},
    problem::Problem,
    traces,
    upgrade::{self, Switched, Upgraded},
};

/// Read at a time while a body is asked for.
const BODY_READ: usize = 64 << 10;

/// What follows an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterExchange {
    Next,
    Close,
    Cut,
}

/// What goes on beside the answer: interim answers out, the request's body in.
struct SideWork {
    interims: Option<Interims>,
    upload: Option<Receiving>,
    /// It may go on in another protocol.
    upgraded: Option<Upgraded>,
}

/// A request's body that is still arriving.
struct Receiving {
    upload: Upload,
    reader: BodyReader,
    received: u64,
    /// The reader waits for `100 Continue`, which is due when the body is first asked for.
    owes_continue: bool,
    /// Nobody wants more of it for now.
    is_resting: bool,
}

/// Why an exchange cannot go on.
enum Interrupted {
    /// The reader is gone, or takes nothing.
    Gone,
    Refused(Refusal),
}

/// How the sending of a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    /// Nothing after this can be trusted to be read as meant.
    WholeButNoMore,
    Cut,
    /// Its reader takes nothing, or is to go at once: nothing is written any more.
    Gone,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<'_, IO> {
    /// One request and its answer. The answer may still wait to be written afterwards.
    pub(crate) async fn exchange<H, S, B>(
        &mut self,
        head: Box<Head>,
        peer: Peer,
        hits: &H,
        service: &mut S,
    ) -> AfterExchange
    where
        H: FastPath,
        S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let last = self.span.as_mut().and_then(|span| span.one_more(Instant::now()));
        if let Some(why) = last {
            self.config.counters.retired(why);
        }
        let is_persistent = head.is_persistent && last.is_none();
        let facts = RequestFacts {
            takes_trailers: head.takes_trailers,
            ..RequestFacts::of(&head.method, head.version, is_persistent)
        };
        let entry = self.config.access_log.as_ref().map(|log| {
            let Head { method, uri, version, headers, .. } = &*head;
            let scheme = self.config.scheme.as_str();
            let head = access::Head { method, uri, version: *version, headers, scheme };
            Entry::begin(log, &peer, head)
        });
        if let BodyFraming::Length(length) = head.body
            && !self.config.takes_content(length)
        {
            return self.refuse_read(Refusal::ContentTooLarge, entry);
        }
        self.note_whether_kept(may_be_kept_of(&head.method));
        let (request, mut side_work) = prepare(*head, peer, entry.as_deref());
        self.begin_reading(side_work.upload.is_some());
        let answered = {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let answer = pin!(service.call(request));
            self.wait_for(answer, &mut side_work, hits).await
        };
        self.read_timer.clear();
        match answered {
            Ok(response) => self.answer(response, facts, side_work, entry).await,
            Err(Interrupted::Refused(refusal)) => self.refuse_read(refusal, entry),
            Err(Interrupted::Gone) => AfterExchange::Cut,
        }
    }

    /// Answers a request that was understood, instead of its service.
    fn refuse_read(&mut self, refusal: Refusal, entry: Option<Box<Entry>>) -> AfterExchange {
        let bytes = self.refuse(refusal);
        if let Some(mut entry) = entry {
            entry.refused(refusal.to_problem().status(), refusal.reason());
            entry.sent(bytes);
        }
        AfterExchange::Close
    }

    /// Waits for the service, does the side work meanwhile, and notices when the reader is gone.
    async fn wait_for<H, F, B>(
        &mut self,
        mut answer: Pin<&mut F>,
        side_work: &mut SideWork,
        hits: &H,
    ) -> Result<Response<B>, Interrupted>
    where
        H: FastPath,
        F: Future<Output = Result<Response<B>, Infallible>>,
    {
        let mut half_closed = None;
        poll_fn(|cx| {
            let answered = answer.as_mut().poll(cx);
            if let Some(interims) = &mut side_work.interims {
                while let Poll::Ready(interim) = interims.poll_next(cx) {
                    answer::write_interim(self.outbox.text(), &interim);
                }
            }
            if let Poll::Ready(Ok(response)) = answered {
                return Poll::Ready(Ok(response));
            }
            if let Poll::Ready(Err(interrupted)) = self.poll_upload(&mut side_work.upload, cx) {
                return Poll::Ready(Err(interrupted));
            }
            if let Poll::Ready(Err(_)) = self.poll_flush(cx) {
                return Poll::Ready(Err(Interrupted::Gone));
            }
            let Some(ahead) = self.reads_ahead(&side_work.upload) else { return Poll::Pending };
            let left = self.poll_left(&mut half_closed, ahead, || hits.is_crowded(), cx);
            left.map(|()| Err(Interrupted::Gone))
        })
        .await
    }

    async fn answer<B>(
        &mut self,
        response: Response<B>,
        facts: RequestFacts,
        side_work: SideWork,
        mut entry: Option<Box<Entry>>,
    ) -> AfterExchange
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let SideWork { interims, mut upload, upgraded } = side_work;
        drop(interims);
        let (mut parts, body) = response.into_parts();
        let span = traces::answered(&mut parts.extensions);
        if parts.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(switched) = upgraded.as_ref().and_then(Upgraded::take)
        {
            drop(body);
            // Its line tells that it was switched; what goes on is no exchange any more.
            if let Some(mut entry) = entry {
                entry.answered(parts.status, &parts.headers);
                entry.whole();
            }
            if let Some(span) = span {
                span.whole();
            }
            // On the heap, so that exchanges are no larger for it.
            return Box::pin(self.go_on_switched(&parts, switched)).await;
        }
        if parts.status.is_informational() {
            tracing::error!(status = parts.status.as_u16(), "an interim answer was given as final");
            let error = ProxyError::HttpProtocolError;
            let detail = "the answer was not a final one";
            let problem = Problem::new(error.status(), "Unusable answer", detail, error);
            let facts = RequestFacts { is_persistent: false, ..facts };
            let bytes = self.answer_with(&problem, facts);
            if let Some(entry) = &mut entry {
                entry.refused(problem.status(), detail);
                entry.sent(bytes);
            }
            return AfterExchange::Close;
        }
        // A reader that was never told to continue may or may not send its body now. In the middle of an
        // answer it cannot be told.
        let owes_continue =
            upload.as_mut().is_some_and(|receiving| std::mem::take(&mut receiving.owes_continue));
        let is_last = self.stop.is_cancelled()
            || self.config.farewell.is_said()
            || (self.is_at_eof && self.bytes.is_empty());
        let is_persistent = facts.is_persistent && !owes_continue && !is_last;
        let facts = RequestFacts { is_persistent, ..facts };
        let refusal = parts.extensions.remove::<Refusal>();
        if let Some(refusal) = refusal {
            self.config.counters.refused(refusal.reason());
        }
        if let Some(entry) = &mut entry {
            entry.answered(parts.status, &parts.headers);
            if let Some(refusal) = refusal {
                entry.refused(parts.status, refusal.reason());
            }
        }
        self.note_whether_kept(may_be_kept(&parts.headers));
        let promise = answer::write_head(self.outbox.text(), &parts, body.size_hint(), facts);
        let sent = self.send(body, promise.ending, &mut upload, entry.as_deref_mut()).await;
        if let (Some(entry), Sent::Whole | Sent::WholeButNoMore, None) = (&mut entry, sent, refusal)
        {
            entry.whole();
        }
        if let (Some(span), Sent::Whole | Sent::WholeButNoMore) = (span, sent) {
            span.whole();
        }
        match sent {
            Sent::Cut => {
                // What was said so far may still arrive; that it is not all is told by the reset.
                let _flushed = poll_fn(|cx| self.poll_flush(cx)).await;
                self.left_behind(entry);
                AfterExchange::Cut
            }
            Sent::Gone => {
                self.left_behind(entry);
                AfterExchange::Cut
            }
            Sent::Whole if promise.is_persistent && self.discard(upload).await => {
                AfterExchange::Next
            }
            Sent::Whole | Sent::WholeButNoMore => AfterExchange::Close,
        }
    }

    /// What waits to be written will not be.
    fn left_behind(&self, entry: Option<Box<Entry>>) {
        if let Some(mut entry) = entry {
            entry.left_behind(self.outbox.len());
        }
    }

    /// From here on the connection belongs to the origin and its reader.
    async fn go_on_switched(&mut self, parts: &Parts, switched: Switched) -> AfterExchange {
        let Switched { stream, terms } = switched;
        answer::write_switching(self.outbox.text(), parts, &terms.protocol);
        if poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return AfterExchange::Cut;
        }
        self.outbox.release();
        self.end_answer();
        let limits = Limits {
            idle: terms.idle_timeout,
            half_closed: self.config.half_closed_timeout,
            stopping: self.config.stalled_timeout,
            drain: &self.config.drain,
            counters: &self.config.counters,
        };
        let read = std::mem::take(&mut self.bytes).freeze();
        match tunnel::run(self.io, read, stream, limits).await {
            TunnelEnd::Closed | TunnelEnd::Idle | TunnelEnd::HalfClosed | TunnelEnd::Stopped => {
                AfterExchange::Close
            }
            TunnelEnd::Stuck | TunnelEnd::Broken => AfterExchange::Cut,
        }
    }

    /// Sends a body to its end. The last of it may still wait to be written afterwards.
    async fn send<B>(
        &mut self,
        body: B,
        mut ending: Ending,
        upload: &mut Option<Receiving>,
        mut entry: Option<&mut Entry>,
    ) -> Sent
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if ending == Ending::None {
            return Sent::Whole;
        }
        let mut body = pin!(body);
        let mut is_upload_broken = false;
        let mut loan: Option<Loan> = None;
        let sent = poll_fn(|cx| {
            loop {
                if let Poll::Ready(Err(_)) = self.poll_upload(upload, cx) {
                    // The service has been told; its answer goes on all the same.
                    is_upload_broken = true;
                    *upload = None;
                }
                let mut is_waiting = false;
                while self.outbox.has_room() {
                    match self.poll_piece(body.as_mut(), &mut ending, entry.as_deref_mut(), cx) {
                        Poll::Ready(Some(sent)) => {
                            self.outbox.lent(|| loan_of(&*body));
                            return Poll::Ready(sent);
                        }
                        // It does not pause.
                        Poll::Ready(None) if self.is_at_eof => self.read_timer.clear(),
                        Poll::Ready(None) => {}
                        Poll::Pending => {
                            is_waiting = true;
                            break;
                        }
                    }
                }
                match self.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Sent::Gone),
                    // What this body holds may be asked back.
                    Poll::Pending => {
                        let loan = loan.get_or_insert_with(|| loan_of(&*body));
                        return loan.poll_recalled(cx).map(|()| Sent::Gone);
                    }
                }
                if is_waiting {
                    let Some(ahead) = self.reads_ahead(upload) else { return Poll::Pending };
                    return self.poll_left_meanwhile(ahead, cx).map(|()| Sent::Cut);
                }
            }
        })
        .await;
        if is_upload_broken && sent == Sent::Whole { Sent::WholeButNoMore } else { sent }
    }

    /// Moves one piece of a body into the outbox; tells when it was the last.
    fn poll_piece<B>(
        &mut self,
        mut body: Pin<&mut B>,
        ending: &mut Ending,
        entry: Option<&mut Entry>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Sent>>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let frame = if body.is_end_stream() { None } else { ready!(body.as_mut().poll_frame(cx)) };
        let data = match frame {
            None => return Poll::Ready(Some(self.end_body(*ending))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end_with_trailers(&trailers, *ending));
                }
            },
            Some(Err(error)) => {
                let error: Box<dyn Error + Send + Sync> = error.into();
                tracing::debug!(error, "the answer's body broke off: its reader is cut off");
                let is_to_go = error.is::<CutOff>();
                return Poll::Ready(Some(if is_to_go { Sent::Gone } else { Sent::Cut }));
            }
        };
        // An empty chunk would be the last one.
        if data.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(entry) = entry {
            let left = match ending {
                Ending::Length { left } => usize::try_from(*left).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            entry.sent(data.len().min(left));
        }
        match ending {
            Ending::Length { left } => {
                let length = data.len() as u64;
                if length > *left {
                    tracing::warn!("an answer's body is longer than its Content-Length");
                    let rest = usize::try_from(*left).unwrap_or(usize::MAX);
                    self.outbox.push(data.slice(..rest));
                    return Poll::Ready(Some(Sent::WholeButNoMore));
                }
                *left -= length;
                self.outbox.push(data);
            }
            Ending::Chunked { .. } => {
                let size = format!("{:x}\r\n", data.len());
                self.outbox.text().extend_from_slice(size.as_bytes());
                self.outbox.push(data);
                self.outbox.text().extend_from_slice(b"\r\n");
            }
            Ending::Close | Ending::None => self.outbox.push(data),
        }
        Poll::Ready(None)
    }

    /// Trailers have a place behind chunks, where their reader takes them; elsewhere they are dropped, and the end is
    /// still to come.
    fn end_with_trailers(&mut self, trailers: &HeaderMap, ending: Ending) -> Option<Sent> {
        if ending != (Ending::Chunked { takes_trailers: true }) {
            return None;
        }
        self.outbox.text().extend_from_slice(b"0\r\n");
        answer::write_fields(self.outbox.text(), trailers);
        self.outbox.text().extend_from_slice(b"\r\n");
        Some(Sent::Whole)
    }

    fn end_body(&mut self, ending: Ending) -> Sent {
        match ending {
            Ending::Length { left } if left > 0 => {
                tracing::warn!("an answer's body is shorter than its Content-Length");
                Sent::Cut
            }
            Ending::Chunked { .. } => {
                self.outbox.text().extend_from_slice(b"0\r\n\r\n");
                Sent::Whole
            }
            Ending::Length { .. } | Ending::Close | Ending::None => Sent::Whole,
        }
    }

    /// Brings the request's body to its consumer as it asks for it, as far as the socket has it. Ready once
    /// there is nothing more to bring.
    fn poll_upload(
        &mut self,
        upload: &mut Option<Receiving>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupted>> {
        let Some(receiving) = upload else { return Poll::Ready(Ok(())) };
        let mut has_moved = false;
        receiving.is_resting = false;
        loop {
            if receiving.reader.is_at_end() {
                *upload = None;
                return Poll::Ready(Ok(()));
            }
            match receiving.upload.poll_demand(cx) {
                Poll::Ready(Demand::Wanted) => {}
                Poll::Ready(Demand::Dropped) => {
                    receiving.is_resting = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    receiving.is_resting = !has_moved;
                    // The body is not asked for, so the reader is not slow.
                    if !self.is_at_eof {
                        self.read_timer.clear();
                    }
                    self.pause_reading();
                    return Poll::Pending;
                }
            }
            if std::mem::take(&mut receiving.owes_continue) {
                self.outbox.text().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let error = match receiving.reader.take(&mut self.bytes) {
                Ok(Piece::Data(data)) => {
                    self.read_timer.clear();
                    receiving.received += data.len() as u64;
                    if !self.config.takes_content(receiving.received)
                        || !receiving.upload.takes(receiving.received)
                    {
                        receiving.upload.end(Err(ReaderBodyError::TooLarge));
                        return Poll::Ready(Err(Interrupted::Refused(Refusal::ContentTooLarge)));
                    }
                    receiving.upload.supply(data);
                    has_moved = true;
                    if receiving.reader.is_at_end() {
                        receiving.upload.end(Ok(()));
                    }
                    continue;
                }
                Ok(Piece::Trailers(fields)) => {
                    receiving.upload.end_with(fields);
                    continue;
                }
                Ok(Piece::End) => {
                    receiving.upload.end(Ok(()));
                    continue;
                }
                Ok(Piece::Hungry) => {
                    match self.poll_body_bytes(&receiving.reader, receiving.upload.may_pause(), cx)
                    {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(error)) => error,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(reason) => ReaderBodyError::Malformed(reason),
            };
            receiving.upload.end(Err(error));
            self.read_timer.clear();
            return Poll::Ready(Err(match error {
                ReaderBodyError::Malformed(reason) => {
                    Interrupted::Refused(Refusal::Malformed(reason))
                }
                ReaderBodyError::TimedOut => Interrupted::Refused(Refusal::Slow),
                ReaderBodyError::TooLarge => Interrupted::Refused(Refusal::ContentTooLarge),
                // It may have closed only its own side, and can be told.
                ReaderBodyError::Gone if self.is_at_eof => {
                    Interrupted::Refused(Refusal::Malformed("the body ends early"))
                }
                ReaderBodyError::Gone | ReaderBodyError::Over => Interrupted::Gone,
            }));
        }
    }

    /// How much may be read ahead to notice that the reader leaves. `None`: an upload is on its way, whose reading
    /// notices that by itself, and is not to find it in small pieces.
    fn reads_ahead(&self, upload: &Option<Receiving>) -> Option<usize> {
        match upload {
            None => Some(self.config.max_head_bytes),
            Some(receiving) => receiving.is_resting.then_some(HEAD_READ),
        }
    }

    /// Reads more of a body within its limit of time.
    fn poll_body_bytes(
        &mut self,
        reader: &BodyReader,
        may_pause: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ReaderBodyError>> {
        if self.is_at_eof {
            return Poll::Ready(Err(ReaderBodyError::Gone));
        }
        let left = reader.left().and_then(|left| usize::try_from(left).ok()).unwrap_or(BODY_READ);
        match self.poll_read(left.clamp(HEAD_READ, BODY_READ), cx) {
            Poll::Ready(Ok(())) if !self.is_at_eof => {
                self.read_timer.clear();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(ReaderBodyError::Gone)),
            Poll::Pending => {
                ready!(self.poll_sends_too_little(may_pause, cx));
                Poll::Ready(Err(ReaderBodyError::TimedOut))
            }
        }
    }

    /// Throws away what is left of a request's body after its answer. `false`: that is too much, or
    /// it does not come, and the connection cannot be used again.
    async fn discard(&mut self, upload: Option<Receiving>) -> bool {
        let Some(Receiving { upload, mut reader, .. }) = upload else { return true };
        // From here on the body has no other consumer.
        drop(upload);
        let limit = self.config.max_discarded_bytes;
        if reader.left().is_some_and(|left| left > limit) {
            return false;
        }
        let mut discarded = 0;
        poll_fn(|cx| {
            loop {
                match reader.take(&mut self.bytes) {
                    Ok(Piece::Trailers(_) | Piece::End) => return Poll::Ready(true),
                    Ok(Piece::Data(data)) => discarded += data.len() as u64,
                    // The reader may wait for the answer before it sends on.
                    Ok(Piece::Hungry) => {
                        if ready!(self.poll_flush(cx)).is_err()
                            || ready!(self.poll_body_bytes(&reader, false, cx)).is_err()
                        {
                            return Poll::Ready(false);
                        }
                    }
                    Err(_) => return Poll::Ready(false),
                }
                if discarded > limit {
                    return Poll::Ready(false);
                }
            }
        })
        .await
    }
}

fn prepare(head: Head, peer: Peer, entry: Option<&Entry>) -> (Request<ReaderBody>, SideWork) {
    let mut side_work = SideWork { interims: None, upload: None, upgraded: None };
    let body = match head.body {
        BodyFraming::None => ReaderBody::empty(),
        framing => {
            let reader = BodyReader::new(framing);
            let (upload, body) = upload::channel(reader.left());
            let owes_continue = head.expects_continue;
            side_work.upload =
                Some(Receiving { upload, reader, received: 0, owes_continue, is_resting: false });
            body
        }
    };
    let mut request = Request::new(body);
    request.extensions_mut().insert(peer);
    if let Some(entry) = entry {
        request.extensions_mut().insert(entry.note());
    }
    if head.version == Version::HTTP_11 {
        let (interim, interims) = interim::channel();
        request.extensions_mut().insert(interim);
        side_work.interims = Some(interims);
    }
    if let Some(offers) = head.offers {
        let (upgrade, upgraded) = upgrade::channel(offers);
        request.extensions_mut().insert(upgrade);
        side_work.upgraded = Some(upgraded);
    }
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    (request, side_work)
}
