//! Exchange: one stream of HTTP/2, which is one request and its answer.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request,
    response::Parts,
    uri::{Authority, PathAndQuery},
};
use http_body::{Body, SizeHint};
use larder::http::{Loan, policy::proxy_status::ProxyError};
use tokio::io::AsyncWrite;
use tower::Service;

use super::{
    duplex::Duplex,
    notes::{Malformed, Notes, Waiting},
    share::{Late, Share},
    websocket::{self, Handshake},
};
use crate::{
    access::{self, Entry},
    downstream::{
        counters::{Timeout, TooSlow, TunnelEnd},
        http1::{
            Http1Config, ReaderBody, ReaderBodyError,
            answer::{self, Ending, RequestFacts},
            framing,
            outbox::COPIED,
            refusal::Refusal,
            target,
            upload::{self, Demand, Upload},
        },
        lent::loan_of,
        peer::Peer,
        tunnel::{self, Limits},
        under_way::{may_be_kept, may_be_kept_of},
    },
    interim::{self, Interims},
    problem::Problem,
    traces,
    upgrade::{self, Switched, Upgraded, WEBSOCKET},
};

const BAD_TRAILERS: &str = "the trailers are malformed";
const BAD_CONTENT: &str =
    "the content has not the length that was said, or its trailers are malformed";

/// What a field weighs beside its bytes (RFC 9113 §6.5.2).
const FIELD_BYTES: usize = 32;

/// What goes on beside the answer: interim answers out, the request's body in.
struct SideWork<'a> {
    config: &'a Http1Config,
    /// Until the final answer begins.
    interims: Option<Interims>,
    upload: Option<Receiving>,
    /// It may go on as a WebSocket.
    opening: Option<Box<Opening>>,
    /// Of the upload.
    share: Share,
    waiting: Waiting,
    notes: Arc<Notes>,
    stream: u32,
}

/// A stream that is to become a WebSocket.
struct Opening {
    handshake: Handshake,
    upgraded: Upgraded,
    stream: RecvStream,
}

/// A request's body that is still arriving.
struct Receiving {
    upload: Upload,
    stream: RecvStream,
    received: u64,
    /// The reader waits for 100, which is due when the body is first asked for.
    owes_continue: bool,
    /// The service waits for the reader to send more.
    is_hungry: bool,
    /// What came behind the last of it.
    trailers: Option<HeaderMap>,
}

/// Why an exchange cannot go on.
enum Interrupted {
    Gone,
    Refused(Refusal),
    /// The reader gave the stream up.
    Reset,
    /// The request turns out to be none, too late for an answer (RFC 9113 §8.1.1). Its stream is reset.
    Malformed(&'static str),
}

/// How far an answer's body came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    Broken,
    /// The reader gave the stream up, or is gone.
    Reset,
    /// As with [`Interrupted::Malformed`].
    Malformed,
}

/// One request and its answer. Dropping it resets the stream.
pub(super) async fn exchange<S, B>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Peer,
    config: &Http1Config,
    mut service: S,
    notes: Arc<Notes>,
) where
    S: Service<Request<ReaderBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let facts = RequestFacts::of(request.method(), Version::HTTP_2, true);
    if poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await {
        // Given up before anybody looked: no work for the service, and nothing to hold against the reader.
        let mut content = request.into_body();
        if poll_fn(|cx| Poll::Ready(is_wrong(&mut content, cx))).await {
            config.counters.refused(BAD_CONTENT);
            if let Some(log) = &config.access_log {
                log.refused(&peer, (StatusCode::BAD_REQUEST, 0), BAD_CONTENT);
            }
        }
        return;
    }
    let answers = config.under_way.as_ref().filter(|_| may_be_kept_of(request.method()));
    let under_way = answers.map(|answers| {
        let seat = answers.seat();
        seat.begin();
        seat
    });
    let stream = respond.stream_id().as_u32();
    let mut entry = config.access_log.as_ref().map(|log| {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let (version, scheme) = (Version::HTTP_2, config.scheme.as_str());
        Entry::begin(log, &peer, access::Head { method, uri, version, headers, scheme })
    });
    let malformed = match notes.take_malformed(stream) {
        Some(Malformed::Trailers) => {
            config.counters.refused(BAD_TRAILERS);
            note_refused(&mut entry, StatusCode::BAD_REQUEST, BAD_TRAILERS);
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        Some(Malformed::NoPath) if *request.method() != Method::CONNECT => {
            Err(Refusal::Malformed("there is no target"))
        }
        Some(Malformed::NoPath) => Ok(()),
        Some(Malformed::Head(detail)) => Err(Refusal::Malformed(detail)),
        None => Ok(()),
    };
    let prepared =
        malformed.and_then(|()| prepare(request, peer, config, notes, (stream, entry.as_deref())));
    let (request, mut side_work) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => {
            config.counters.refused(refusal.reason());
            note_refused(&mut entry, refusal.to_problem().status(), refusal.reason());
            return refuse(&refusal.to_problem(), (respond, facts), config, entry);
        }
    };
    let answered = {
        let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
        wait_for(pin!(service.call(request)), &mut respond, &mut side_work).await
    };
    match answered {
        Ok(response) => {
            let goes_on = side_work.opening.is_some();
            // What no cache outside can keep is waited for by nobody.
            let under_way = under_way.filter(|_| !goes_on && may_be_kept(response.headers()));
            answer(response, respond, facts, side_work, entry).await;
            drop(under_way);
        }
        Err(Interrupted::Refused(refusal)) => {
            config.counters.refused(refusal.reason());
            note_refused(&mut entry, refusal.to_problem().status(), refusal.reason());
            refuse(&refusal.to_problem(), (respond, facts), config, entry);
        }
        Err(Interrupted::Malformed(why)) => {
            config.counters.refused(why);
            note_refused(&mut entry, StatusCode::BAD_REQUEST, why);
            respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        Err(Interrupted::Reset) => side_work.notes.given_up(),
        // The reader is gone.
        Err(Interrupted::Gone) => {}
    }
}

fn note_refused(entry: &mut Option<Box<Entry>>, status: StatusCode, why: &'static str) {
    if let Some(entry) = entry {
        entry.refused(status, why);
    }
}

fn prepare<'a>(
    request: Request<RecvStream>,
    peer: Peer,
    config: &'a Http1Config,
    notes: Arc<Notes>,
    (stream_id, entry): (u32, Option<&Entry>),
) -> Result<(Request<ReaderBody>, SideWork<'a>), Refusal> {
    let (mut parts, stream) = request.into_parts();
    if line_bytes(&parts) > config.max_request_line_bytes {
        return Err(Refusal::TargetTooLong);
    }
    if head_bytes(&parts) > config.max_head_bytes {
        return Err(Refusal::HeadTooLarge);
    }
    if parts.headers.len() > config.max_fields {
        return Err(Refusal::TooManyFields);
    }
    if parts.headers.values().any(is_padded) {
        return Err(Refusal::Malformed("a field's value begins or ends with a space"));
    }
    let handshake = websocket::translate(&mut parts)?;
    let uri = target::resolve_http2(&parts.method, parts.uri, &mut parts.headers, config)?;
    let length = framing::content_length(&parts.headers)?;
    if length.is_some_and(|length| !config.takes_content(length)) {
        return Err(Refusal::ContentTooLarge);
    }
    let owes_continue = expects_continue(&parts.headers)?;
    join_cookies(&mut parts.headers);
    let (interim, interims) = interim::channel();
    let mut extensions = Extensions::new();
    let (mut body, mut upload, mut opening) = (ReaderBody::empty(), None, None);
    if let Some(handshake) = handshake {
        let (upgrade, upgraded) = upgrade::required(HeaderValue::from_static(WEBSOCKET));
        extensions.insert(upgrade);
        opening = Some(Box::new(Opening { handshake, upgraded, stream }));
    } else if !stream.is_end_stream() {
        let (of_connection, of_service) = upload::channel(length);
        let receiving = Receiving {
            received: 0,
            upload: of_connection,
            stream,
            owes_continue,
            is_hungry: false,
            trailers: None,
        };
        (body, upload) = (of_service, Some(receiving));
    }
    extensions.insert(peer);
    if let Some(entry) = entry {
        extensions.insert(entry.note());
    }
    extensions.insert(interim);
    let mut request = Request::new(body);
    *request.extensions_mut() = extensions;
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = parts.headers;
    let interims = Some(interims);
    let (share, waiting) = (Share::new(config.min_rate), Waiting::new(&notes));
    let stream = stream_id;
    let side_work = SideWork { config, interims, upload, opening, share, waiting, notes, stream };
    Ok((request, side_work))
}

/// Whether a stream that was reset was so by h2, because its content is not what its head has said.
fn is_wrong(content: &mut RecvStream, cx: &mut Context<'_>) -> bool {
    loop {
        match content.poll_data(cx) {
            // It is nobody's any more.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return error.is_reset() && error.is_library(),
            Poll::Ready(None) | Poll::Pending => return false,
        }
    }
}

/// How long the first line would be in HTTP/1.1, where the bound comes from, with the first byte of its end as there.
fn line_bytes(parts: &request::Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    parts.method.as_str().len() + target + " HTTP/1.1\r".len() + 1
}

/// What the fields weigh, those for the target and the method among them, as HTTP/2 counts (RFC 9113 §6.5.2).
fn head_bytes(parts: &request::Parts) -> usize {
    let mut bytes = ":method".len() + parts.method.as_str().len() + FIELD_BYTES;
    let uri = &parts.uri;
    for (name, value) in [
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(Authority::as_str)),
        (":path", uri.path_and_query().map(PathAndQuery::as_str)),
    ] {
        bytes += value.map_or(0, |value| name.len() + value.len() + FIELD_BYTES);
    }
    let fields = parts.headers.iter();
    bytes
        + fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum::<usize>()
}

/// HTTP/1 has such space around values, and drops it; here it is not allowed, since not every program drops it
/// (RFC 9113 §8.2.1).
fn is_padded(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    is_space(bytes.first()) || is_space(bytes.last())
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut expects = headers.get_all(header::EXPECT).iter().peekable();
    let is_there = expects.peek().is_some();
    let is_known = expects.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if is_known { Ok(is_there) } else { Err(Refusal::Expectation) }
}

/// HTTP/2 sends cookies apart to compress them better; other programs know one field (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = [first.as_bytes(), b"; ", second.as_bytes()].concat();
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // Values and what stands between them are values together.
    if let Ok(joined) = HeaderValue::try_from(joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Waits for the service, does the side work meanwhile, and notices when the reader gives up.
async fn wait_for<F, B>(
    mut answer: Pin<&mut F>,
    respond: &mut SendResponse<Bytes>,
    side_work: &mut SideWork<'_>,
) -> Result<Response<B>, Interrupted>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    poll_fn(|cx| {
        let answered = answer.as_mut().poll(cx);
        if let Some(interims) = &mut side_work.interims {
            while let Poll::Ready(interim) = interims.poll_next(cx) {
                send_interim(respond, interim);
            }
        }
        if let Poll::Ready(Ok(response)) = answered {
            return Poll::Ready(Ok(response));
        }
        // Before the upload, to which a reset is an error like others.
        match respond.poll_reset(cx) {
            Poll::Ready(Ok(_))
                if (side_work.upload.as_mut())
                    .is_some_and(|upload| is_wrong(&mut upload.stream, cx)) =>
            {
                return Poll::Ready(Err(Interrupted::Malformed(BAD_CONTENT)));
            }
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(Interrupted::Reset)),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Interrupted::Gone)),
            Poll::Pending => {}
        }
        match side_work.poll_upload(Some(respond), cx) {
            Poll::Ready(Err(interrupted)) => Poll::Ready(Err(interrupted)),
            Poll::Ready(Ok(())) | Poll::Pending => {
                side_work.waiting.set(side_work.is_hungry());
                Poll::Pending
            }
        }
    })
    .await
}

fn send_interim(respond: &mut SendResponse<Bytes>, mut interim: Response<()>) {
    *interim.headers_mut() = own_fields(std::mem::take(interim.headers_mut()));
    if let Err(error) = respond.send_informational(interim) {
        // The final answer meets the same trouble, and is where it is dealt with.
        tracing::debug!("an interim answer was not sent: {error}");
    }
}

fn refuse(
    problem: &Problem,
    (mut respond, facts): (SendResponse<Bytes>, RequestFacts),
    config: &Http1Config,
    entry: Option<Box<Entry>>,
) {
    let (mut parts, body) = problem.to_response().into_parts();
    config.own_answers.change(&mut parts.headers);
    let (head, ending) = head(parts, SizeHint::with_exact(body.len() as u64), facts);
    if let (Some(mut entry), false) = (entry, ending == Ending::None) {
        entry.sent(body.len());
    }
    let sent =
        respond.send_response(head, ending == Ending::None).and_then(|mut stream| match ending {
            Ending::None => Ok(()),
            _ => stream.send_data(body, true),
        });
    if let Err(error) = sent {
        tracing::debug!("a reader was not told of {}: {error}", problem.status());
    }
}

async fn answer<B>(
    response: Response<B>,
    mut respond: SendResponse<Bytes>,
    facts: RequestFacts,
    mut side_work: SideWork<'_>,
    mut entry: Option<Box<Entry>>,
) where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    side_work.interims = None;
    side_work.notes.moved(0);
    let (mut parts, body) = response.into_parts();
    let span = traces::answered(&mut parts.extensions);
    if let Some(opening) = side_work.opening.take() {
        let switched = opening.upgraded.take();
        match (parts.status, switched) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(switched)) => {
                drop(body);
                // Its line tells that it was switched; what goes on is no exchange any more.
                if let Some(mut entry) = entry {
                    entry.answered(parts.status, &parts.headers);
                    entry.whole();
                }
                if let Some(span) = span {
                    span.whole();
                }
                let going_on = go_on_switched(parts, *opening, switched, respond, side_work);
                // On the heap, so that exchanges are no larger for it.
                return Box::pin(going_on).await;
            }
            // To the reader this would say that the origin has switched (RFC 8441 §5).
            (status, _) if status.is_success() => {
                let problem = not_switched();
                note_refused(&mut entry, problem.status(), "the origin has not switched");
                return refuse(&problem, (respond, facts), side_work.config, entry);
            }
            _ => {}
        }
    }
    if parts.status.is_informational() {
        tracing::error!(status = parts.status.as_u16(), "an interim answer was given as final");
        let error = ProxyError::HttpProtocolError;
        let detail = "the answer was not a final one";
        let problem = Problem::new(error.status(), "Unusable answer", detail, error);
        note_refused(&mut entry, problem.status(), detail);
        return refuse(&problem, (respond, facts), side_work.config, entry);
    }
    let refusal = parts.extensions.remove::<Refusal>();
    if let Some(refusal) = refusal {
        side_work.config.counters.refused(refusal.reason());
    }
    if let Some(entry) = &mut entry {
        entry.answered(parts.status, &parts.headers);
        if let Some(refusal) = refusal {
            entry.refused(parts.status, refusal.reason());
        }
    }
    let (head, ending) = head(parts, body.size_hint(), facts);
    let is_empty = ending == Ending::None || ending == (Ending::Length { left: 0 });
    let Ok(mut stream) = respond.send_response(head, is_empty) else { return };
    let sent = match is_empty {
        true => Sent::Whole,
        false => send(body, ending, &mut stream, &mut side_work, entry.as_deref_mut()).await,
    };
    if let (Some(entry), Sent::Whole, None) = (&mut entry, sent, refusal) {
        entry.whole();
    }
    if let (Some(span), Sent::Whole) = (span, sent) {
        span.whole();
    }
    match sent {
        Sent::Whole => side_work.notes.answered(),
        Sent::Reset => side_work.notes.given_up(),
        Sent::Broken => stream.send_reset(Reason::INTERNAL_ERROR),
        Sent::Malformed => stream.send_reset(Reason::PROTOCOL_ERROR),
    }
    // Where the rest of the request is not wanted (RFC 9113 §8.1), h2 says so once the answer is out and
    // nothing holds the stream any more. A reset of our own would overtake the answer.
}

/// From here on the stream belongs to the origin and its reader.
async fn go_on_switched(
    mut parts: Parts,
    opening: Opening,
    switched: Switched,
    mut respond: SendResponse<Bytes>,
    side_work: SideWork<'_>,
) {
    let (Opening { handshake, stream, .. }, Switched { stream: of_origin, terms }) =
        (opening, switched);
    if !handshake.is_answered(&mut parts.headers) {
        tracing::debug!("an origin has answered another WebSocket handshake than it was asked");
        let facts = RequestFacts::of(&Method::GET, Version::HTTP_2, true);
        return refuse(&not_switched(), (respond, facts), side_work.config, None);
    }
    let mut head = Response::new(());
    *head.headers_mut() = own_fields(parts.headers);
    let Ok(sends) = respond.send_response(head, false) else { return };
    let SideWork { config, notes, .. } = side_work;
    let limits = Limits {
        idle: terms.idle_timeout,
        half_closed: config.half_closed_timeout,
        stopping: config.stalled_timeout,
        drain: &config.drain,
        counters: &config.counters,
    };
    let mut duplex = Duplex::new(stream, sends, Arc::clone(&notes));
    match tunnel::run(&mut duplex, Bytes::new(), of_origin, limits).await {
        TunnelEnd::Closed => notes.answered(),
        TunnelEnd::Idle | TunnelEnd::HalfClosed | TunnelEnd::Stopped => {
            // What it would still send is told to be unwanted once this is dropped.
            poll_fn(|cx| Pin::new(&mut duplex).poll_shutdown(cx)).await.ok();
        }
        TunnelEnd::Stuck | TunnelEnd::Broken => duplex.reset(Reason::CANCEL),
    }
}

fn not_switched() -> Problem {
    let (error, detail) =
        (ProxyError::HttpUpgradeFailed, "the origin did not switch to the protocol");
    Problem::new(error.status(), "Origin failed", detail, error)
}

/// Sends a body to its end.
async fn send<B>(
    body: B,
    mut ending: Ending,
    stream: &mut SendStream<Bytes>,
    side_work: &mut SideWork<'_>,
    mut entry: Option<&mut Entry>,
) -> Sent
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let mut waiting = Bytes::new();
    let mut share = Share::new(side_work.config.min_rate);
    let mut loan: Option<Loan> = None;
    poll_fn(|cx| {
        loop {
            if stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Sent::Reset);
            }
            match side_work.poll_upload(None, cx) {
                Poll::Ready(Err(Interrupted::Malformed(why))) => {
                    side_work.config.counters.refused(why);
                    return Poll::Ready(Sent::Malformed);
                }
                // The service has been told; its answer goes on all the same.
                Poll::Ready(Err(_)) => side_work.upload = None,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if !waiting.is_empty() {
                stream.reserve_capacity(waiting.len());
                match stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(capacity))) => {
                        let part = waiting.split_to(capacity.min(waiting.len()));
                        share.moved(part.len(), &side_work.notes);
                        side_work.notes.sent(part.len());
                        side_work.notes.moved(part.len());
                        if let Some(entry) = &mut entry {
                            entry.sent(part.len());
                        }
                        // Said with the last of the data, the end costs no frame, and no write, of its own.
                        let is_last =
                            waiting.is_empty() && body.is_end_stream() && ending.is_reached();
                        let is_large = part.len() > COPIED;
                        if stream.send_data(part, is_last).is_err() || is_last {
                            if is_large {
                                // It waits for the socket, and may be asked back until it is written.
                                side_work.notes.linger(loan_of(&*body));
                            }
                            return Poll::Ready(Sent::Whole);
                        }
                        continue;
                    }
                    // The stream is over already.
                    Poll::Ready(None | Some(Err(_))) => return Poll::Ready(Sent::Reset),
                    Poll::Pending => {
                        side_work.waiting.set(true);
                        // What this stream holds may be asked back.
                        let loan = loan.get_or_insert_with(|| loan_of(&*body));
                        if loan.poll_recalled(cx).is_ready() {
                            return Poll::Ready(Sent::Broken);
                        }
                        let SideWork { config, notes, .. } = side_work;
                        match ready!(share.poll_late(config.write_timeout, notes, cx)) {
                            Late::TooSlow => config.counters.too_slow(TooSlow::Answer),
                            Late::Silent => config.counters.timed_out(Timeout::Write),
                        }
                        return Poll::Ready(Sent::Broken);
                    }
                }
            }
            side_work.waiting.set(side_work.is_hungry());
            let frame =
                if body.is_end_stream() { None } else { ready!(body.as_mut().poll_frame(cx)) };
            match frame {
                None => return Poll::Ready(end(ending, stream)),
                Some(Err(error)) => {
                    let error: Box<dyn Error + Send + Sync> = error.into();
                    tracing::debug!(error, "the answer's body broke off: its stream is reset");
                    return Poll::Ready(Sent::Broken);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => waiting = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(end_with(trailers, ending, stream));
                    }
                },
            }
            if let Ending::Length { left } = &mut ending {
                if waiting.len() as u64 > *left {
                    tracing::warn!("an answer's body is longer than its Content-Length");
                    return Poll::Ready(Sent::Broken);
                }
                *left -= waiting.len() as u64;
            }
        }
    })
    .await
}

fn end_with(trailers: HeaderMap, ending: Ending, stream: &mut SendStream<Bytes>) -> Sent {
    if trailers.is_empty() || !ending.is_reached() {
        return end(ending, stream);
    }
    if let Err(error) = stream.send_trailers(trailers) {
        tracing::debug!("a stream was gone before its trailers: {error}");
    }
    Sent::Whole
}

fn end(ending: Ending, stream: &mut SendStream<Bytes>) -> Sent {
    if !ending.is_reached() {
        tracing::warn!("an answer's body is shorter than its Content-Length");
        return Sent::Broken;
    }
    if let Err(error) = stream.send_data(Bytes::new(), true) {
        tracing::debug!("a stream was gone before its end: {error}");
    }
    Sent::Whole
}

/// The head as HTTP/2 has it, and how the body will end.
fn head(parts: Parts, hint: SizeHint, facts: RequestFacts) -> (Response<()>, Ending) {
    let named = framing::length_of_answer(&parts.headers);
    let ending = answer::ending(parts.status, named.or(hint.exact()), facts);
    let mut headers = own_fields(parts.headers);
    let length = match ending {
        Ending::Length { left } => Some(left),
        Ending::None if parts.status != StatusCode::NO_CONTENT => named,
        _ => None,
    };
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = answer::with_date(HeaderValue::from_str)
    {
        headers.insert(header::DATE, date);
    }
    let mut head = Response::new(());
    *head.status_mut() = parts.status;
    *head.headers_mut() = headers;
    (head, ending)
}

/// Without those that are about a connection of HTTP/1, which HTTP/2 forbids (RFC 9113 §8.2.2).
fn own_fields(mut headers: HeaderMap) -> HeaderMap {
    let unwanted: Vec<_> = headers
        .keys()
        .filter(|name| answer::is_ours(name) || **name == header::UPGRADE)
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
    headers
}

impl SideWork<'_> {
    /// Whether the service waits for more of the request, and the reader may send it.
    fn is_hungry(&self) -> bool {
        self.upload.as_ref().is_some_and(|receiving| receiving.is_hungry)
            && !self.notes.is_window_full()
    }

    /// Brings the request's body to its consumer as it asks for it. Ready once there is nothing more to bring.
    fn poll_upload(
        &mut self,
        respond: Option<&mut SendResponse<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Interrupted>> {
        let Some(receiving) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let polled = receiving.poll(respond, &mut self.share, self.config, &self.notes, cx);
        self.waiting.set_held_up(polled.is_pending() && !receiving.is_hungry);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(demand)) if self.notes.take_malformed(self.stream).is_some() => {
                receiving.upload.end(Err(ReaderBodyError::Malformed(BAD_TRAILERS)));
                tracing::debug!(?demand, "a request has malformed trailers: its stream is reset");
                Poll::Ready(Err(Interrupted::Malformed(BAD_TRAILERS)))
            }
            Poll::Ready(Ok(Demand::Dropped)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(Demand::Wanted)) => {
                match receiving.trailers.take() {
                    Some(trailers) => receiving.upload.end_with(trailers),
                    None => receiving.upload.end(Ok(())),
                }
                self.upload = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                receiving.upload.end(Err(error));
                Poll::Ready(Err(match error {
                    ReaderBodyError::TimedOut => Interrupted::Refused(Refusal::Slow),
                    ReaderBodyError::TooLarge => Interrupted::Refused(Refusal::ContentTooLarge),
                    _ => Interrupted::Gone,
                }))
            }
        }
    }
}

impl Receiving {
    /// Ready when all of it was brought, which the other end is not told yet, or the rest is not wanted.
    fn poll(
        &mut self,
        mut respond: Option<&mut SendResponse<Bytes>>,
        share: &mut Share,
        config: &Http1Config,
        notes: &Notes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Demand, ReaderBodyError>> {
        self.is_hungry = false;
        loop {
            match self.upload.poll_demand(cx) {
                Poll::Ready(Demand::Wanted) => {}
                Poll::Ready(Demand::Dropped) => return Poll::Ready(Ok(Demand::Dropped)),
                Poll::Pending => {
                    // The body is not asked for, so the reader is not slow.
                    share.pause(notes);
                    return Poll::Pending;
                }
            }
            if let (true, Some(respond)) = (self.owes_continue, &mut respond) {
                self.owes_continue = false;
                let mut go_on = Response::new(());
                *go_on.status_mut() = StatusCode::CONTINUE;
                send_interim(respond, go_on);
            }
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    share.moved(data.len(), notes);
                    notes.moved(data.len());
                    if self.stream.flow_control().release_capacity(data.len()).is_err() {
                        return Poll::Ready(Err(ReaderBodyError::Gone));
                    }
                    self.received += data.len() as u64;
                    if !config.takes_content(self.received) || !self.upload.takes(self.received) {
                        return Poll::Ready(Err(ReaderBodyError::TooLarge));
                    }
                    self.upload.supply(data);
                    if self.stream.is_end_stream() {
                        return Poll::Ready(Ok(Demand::Wanted));
                    }
                }
                Poll::Ready(None) => {
                    return match ready!(self.stream.poll_trailers(cx)) {
                        Ok(trailers) => {
                            self.trailers = trailers;
                            Poll::Ready(Ok(Demand::Wanted))
                        }
                        Err(_) => Poll::Ready(Err(ReaderBodyError::Gone)),
                    };
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(ReaderBodyError::Gone)),
                Poll::Pending if self.upload.may_pause() => {
                    share.pause(notes);
                    return Poll::Pending;
                }
                Poll::Pending => {
                    self.is_hungry = true;
                    if notes.is_window_full() {
                        share.excuse(notes, cx);
                        return Poll::Pending;
                    }
                    match ready!(share.poll_late(config.body_timeout, notes, cx)) {
                        Late::TooSlow => config.counters.too_slow(TooSlow::Upload),
                        Late::Silent => config.counters.timed_out(Timeout::Body),
                    }
                    return Poll::Ready(Err(ReaderBodyError::TimedOut));
                }
            }
        }
    }
}
