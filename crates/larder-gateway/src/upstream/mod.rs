//! Upstream: requests to one origin, each sent once, or more often where that does no harm.
//!
//! The order of steps is in `ask`. Where a kept connection is closed before a byte of the answer has come,
//! what the origin did with the request cannot be known: most likely it closed an idle connection, and has
//! not read it. One that is idempotent and has no content is then sent once more, on a new connection
//! (RFC 9110 §9.2.2). Any other is sent twice only if hyper says that it has not begun to write it. To make
//! the closed connection rare, the socket is looked at before it is used again, and given up before
//! origins usually do.
//!
//! Content of a request whose method gives it no meaning (GET, DELETE and the like) is read by some origins
//! and taken for the next request by others. Such a request goes on a connection of its own.
//!
//! Where a request was granted another protocol ([`Upgrade`]), the origin is asked to go
//! on in it. If it does, its connection goes to the reader's: `switch`. One that does unasked is an error.
//!
//! Where a request asks before it sends its content (`Expect: 100-continue`), so does the one that goes on, and
//! the content is not read off its sender until the origin says 100, or nothing for a while.
//!
//! Over HTTP/2 (`http2`) several requests share a connection. One that the origin has not looked at, and says so
//! (REFUSED_STREAM, GOAWAY), is sent again whatever it is, unless some of its content is gone (RFC 9113 §8.7). What a
//! connection that breaks leaves in doubt is treated as over HTTP/1.1.
//!
//! Each time that a request is sent again, whatever for, somebody is asked who counts that (`Resend`).
//!
//! Passed on as they are: the status, the fields' bytes and the order of fields of one name, and the
//! reason phrase, as hyper's [`ReasonPhrase`](hyper::ext::ReasonPhrase) in the answer's extensions
//! (one with bytes beyond ASCII arrives empty: hyper's parser drops it). Of a body longer than its
//! `Content-Length` the rest is never read, and its connection never used again; nor is that of an
//! answer with both a length and a transfer coding (RFC 9112 §6.3). A transfer coding other than
//! chunked is not undone: an answer in one is an error ([`UpstreamError::TransferCoding`]).

mod again;
mod body;
mod broken;
mod config;
mod connect;
mod error;
mod http2;
mod idle;
mod link;
mod names;
mod origin;
mod outgoing;
mod plain;
mod pool;
mod socket;
mod switch;
mod tls;

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::{Parts, PathAndQuery},
};
use http_body::Body;
use hyper::ext::on_informational;
use larder::http::policy::{
    forward::{stands_for_the_method, takes_trailers},
    response::{is_decoded, is_endless},
};
use tokio::{task::unconstrained, time::Instant};
use tower::Service;

pub use self::{
    body::UpstreamBody,
    config::{Protocol, Times, UpstreamConfig},
    error::{UpstreamBodyError, UpstreamError},
    origin::{Origin, ParseOriginError, Scheme},
    pool::UpstreamStats,
    tls::{OriginTls, OriginTlsError, OriginTlsOptions},
};
use self::{
    body::{Incoming, Whole},
    broken::Broken,
    config::Limits,
    http2::{Rejected, Slot},
    link::Link,
    outgoing::{ContinueSignal, ContinueWait, Outgoing, Progress},
    pool::{Carrier, Lease, May, Pool, Seek, within},
};
use crate::{
    interim::{Interim, is_passed_on},
    upgrade::Upgrade,
};

/// The future of one request to an origin. Dropping it gives the request up and closes its
/// connection.
pub type Asking =
    Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, UpstreamError>> + Send>>;

/// The longest body that a slow reader does not hold up: there is room for it between the origin and the
/// reader.
const SHORT: u64 = 64 << 10;

/// A request is sent so often, where its caller does not say.
const MAX_TIMES: u32 = 3;
/// Kept connections that turn out to be closed before anything was written are passed over. There cannot be more of them
/// at once.
const MAX_UNSENT: u32 = 1 << 16;

/// Who decides whether a request may be sent once more to the same address, and counts it. Asked before each time.
pub(crate) trait Resend: Send + Sync {
    /// Whether it may. What is allowed counts as done.
    fn may_resend(&self) -> bool;
}

/// For an upstream that is used by itself.
#[derive(Default)]
struct UpToMax(AtomicU32);

impl Resend for UpToMax {
    fn may_resend(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) + 1 < MAX_TIMES
    }
}

/// A client of one origin. Clones share its connections.
#[derive(Clone)]
pub struct Upstream {
    pool: Arc<Pool>,
}

impl Upstream {
    /// Connects when the first request comes.
    pub fn new(origin: Origin, config: UpstreamConfig) -> Self {
        Upstream { pool: Pool::new(origin, config) }
    }

    /// Where the requests go.
    pub fn origin(&self) -> &Origin {
        &self.pool.origin
    }

    /// What requests there may take.
    pub(crate) fn config(&self) -> &UpstreamConfig {
        &self.pool.config
    }

    /// Whether a request would have a connection at once.
    pub(crate) fn has_room(&self) -> bool {
        self.pool.has_room()
    }

    /// What was done so far, and is going on.
    pub fn stats(&self) -> UpstreamStats {
        self.pool.stats()
    }

    /// Sends a request, and once more where that does no harm and `resend` allows it.
    pub(crate) fn ask<B>(&self, request: Request<B>, resend: impl Resend + 'static) -> Asking
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let is_head = request.method() == Method::HEAD;
        let prepared = outgoing(request, &self.pool);
        Box::pin(ask(Arc::clone(&self.pool), prepared, is_head, resend))
    }
}

/// The request is sent as HTTP/1.1 to its path; its fields go as they are, but those that are about
/// the connection and the framing, which are the upstream's own, `Expect` where there is no content, and a
/// `Host` if there is none. `TE: trailers` goes on, and `Trailer`, which says what may come behind the content. Hop-by-hop
/// fields named by `Connection` are the caller's to remove. An [`Interim`] in the extensions gets what comes before the final answer.
impl<B> Service<Request<B>> for Upstream
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<UpstreamBody>;
    type Error = UpstreamError;
    type Future = Asking;

    /// Always: the wait for a connection is part of the call, so that it can be bounded.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Asking {
        self.ask(request, UpToMax::default())
    }
}

/// So many interim answers are read of one request. One more, and the request has failed: no server means that.
const MAX_INTERIMS: u32 = 64;

/// What the origin shows of itself before its answer.
#[derive(Default)]
struct EarlySigns {
    progress: Arc<Progress>,
    interims: Arc<Interims>,
    /// If it was asked for.
    signal: Option<Arc<ContinueSignal>>,
    /// Who is told what comes before the final answer.
    interim: Option<Interim>,
    /// The origin is asked to go on in another protocol.
    upgrade: Option<Upgrade>,
    /// If its time began to count before.
    began: Option<Began>,
}

/// A request, and beside it what is not written of it.
struct Prepared {
    request: Request<Outgoing>,
    signs: EarlySigns,
    limits: Limits,
}

/// Put into a request's extensions: when its whole time began to count, where it was at another address before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began(pub(crate) Instant);

/// The interim answers to one request, however often it is sent.
#[derive(Default)]
struct Interims {
    read: AtomicU32,
    /// Those that were not passed on, because there were too many.
    dropped: AtomicU32,
}

impl Interims {
    fn are_too_many(&self) -> bool {
        self.read.load(Ordering::Relaxed) > MAX_INTERIMS
    }
}

impl EarlySigns {
    /// Has a request's interim answers noticed, if only to count them.
    fn hear_interim(&self, request: &mut Request<Outgoing>) {
        let (interims, signal) = (Arc::clone(&self.interims), self.signal.clone());
        let interim = self.interim.clone();
        on_informational(request, move |answer| {
            hear(&interims, signal.as_deref(), interim.as_ref(), answer.status(), answer.headers());
        });
    }

    /// An interim answer has come.
    fn hear(&self, answer: &Response<()>) {
        let (signal, interim) = (self.signal.as_deref(), self.interim.as_ref());
        hear(&self.interims, signal, interim, answer.status(), answer.headers());
    }
}

/// An interim answer is no sign of life: the final one has a time, and an origin that sends others instead does not get more
/// of it.
fn hear(
    interims: &Interims,
    signal: Option<&ContinueSignal>,
    interim: Option<&Interim>,
    status: StatusCode,
    headers: &HeaderMap,
) {
    interims.read.fetch_add(1, Ordering::Relaxed);
    if let (Some(signal), StatusCode::CONTINUE) = (signal, status) {
        signal.go_on();
    }
    if let Some(interim) = interim
        && is_passed_on(status)
    {
        let mut passed = Response::new(());
        *passed.status_mut() = status;
        *passed.headers_mut() = headers.clone();
        if !interim.send(passed) {
            interims.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn ask(
    pool: Arc<Pool>,
    prepared: Prepared,
    is_head: bool,
    resend: impl Resend,
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let Prepared { mut request, signs, limits } = prepared;
    let is_to_switch = signs.upgrade.is_some();
    if is_to_switch && !pool.may_switch() {
        return Err(UpstreamError::NoUpgrade { origin: pool.origin.clone() });
    }
    let whole = limits.whole.map(|limit| Whole::of(limit, signs.began));
    let is_apart = has_doubtful_content(&request);
    let mut may = if is_apart { May::BeItsOwn } else { May::BeKept };
    let (mut times, mut unsent_times, mut was_repeated) = (0, 0, false);
    loop {
        let mut lease =
            pool.take(Seek { may, is_to_switch }, whole.map(|whole| whole.deadline)).await?;
        times += 1;
        if limits.is_stream && !lease.become_stream() {
            lease.give_back();
            let (origin, max) = (pool.origin.clone(), pool.config.max_streams);
            return Err(UpstreamError::TooManyStreams { origin, max });
        }
        let may_repeat =
            !lease.is_new && request.method().is_idempotent() && request.body().is_empty();
        let head_limits = (limits.first_byte, whole);
        let sent = send(&mut lease, request, is_apart, may_repeat, &signs, head_limits).await;
        pool.count_dropped_interims(signs.interims.dropped.swap(0, Ordering::Relaxed));
        match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return switch::receive(response, lease, signs.upgrade);
            }
            Ok(response) => return receive(response, is_head, lease, (limits.idle_body, whole)),
            Err(Failed::Unsent(unsent)) if !lease.is_new && unsent_times < MAX_UNSENT => {
                times -= 1;
                unsent_times += 1;
                request = *unsent;
            }
            Err(Failed::Unsent(_)) => {
                return Err(UpstreamError::Connect {
                    origin: pool.origin.clone(),
                    source: std::io::ErrorKind::ConnectionReset.into(),
                });
            }
            // That a kept connection is closed just then happens to the best: the first time is nobody's attempt.
            Err(Failed::Unheard(again)) if !was_repeated || resend.may_resend() => {
                pool.count_retry();
                request = *again;
                signs.hear_interim(&mut request);
                may = May::OnlyBeNew;
                was_repeated = true;
            }
            Err(Failed::Unheard(_)) => {
                return Err(UpstreamError::Closed {
                    origin: pool.origin.clone(),
                    source: Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                    was_repeated,
                });
            }
            Err(Failed::Refused { again, is_leaving }) if resend.may_resend() => {
                pool.count_refusal();
                request = *again;
                if is_leaving && times > 1 {
                    // On a connection of its own it comes before all others.
                    may = May::OnlyBeNew;
                }
            }
            Err(Failed::Refused { .. }) => {
                return Err(UpstreamError::Refused { origin: pool.origin.clone(), times });
            }
            Err(Failed::Sent(source)) => return Err(sort(&pool, source, was_repeated)),
            Err(Failed::Late(limit)) => {
                return Err(UpstreamError::Timeout { origin: pool.origin.clone(), limit });
            }
            Err(Failed::Flooded) => {
                return Err(UpstreamError::Interims {
                    origin: pool.origin.clone(),
                    max: MAX_INTERIMS,
                });
            }
        }
    }
}

/// Whether an origin may take the content of a request for another request: its method gives content no
/// meaning (RFC 9110 §9.3.1, §9.3.2, §9.3.5), so there are origins that do not look for any.
fn has_doubtful_content(request: &Request<Outgoing>) -> bool {
    const WITHOUT: [Method; 5] =
        [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE];
    !request.body().is_empty() && WITHOUT.contains(request.method())
}

/// Why no answer came over one connection.
enum Failed {
    /// Nothing of the request was written.
    Unsent(Box<Request<Outgoing>>),
    /// The connection was closed before anything of an answer came. This may be sent once more.
    Unheard(Box<Request<Outgoing>>),
    /// The origin has not looked at it, and says so, perhaps since it takes its leave of the connection.
    Refused {
        again: Box<Request<Outgoing>>,
        is_leaving: bool,
    },
    Sent(Broken),
    Late(Duration),
    /// So many interim answers came that no final one is waited for.
    Flooded,
}

async fn send(
    lease: &mut Lease,
    request: Request<Outgoing>,
    is_apart: bool,
    may_repeat: bool,
    signs: &EarlySigns,
    (first_byte, whole): (Duration, Option<Whole>),
) -> Result<Response<Incoming>, Failed> {
    let deadline = whole.map(|whole| whole.deadline);
    let Lease { carrier, pool, .. } = lease;
    let limit = within(first_byte, deadline);
    let answer = match carrier {
        Carrier::Http1(link) => {
            if is_apart {
                link.distrust();
            }
            send_alone(link, request, may_repeat, signs, limit, deadline).await
        }
        Carrier::Http2(slot) => {
            send_shared(slot, request, pool, may_repeat, signs, limit, deadline).await
        }
    }?;
    lease.carrier.timer().clear();
    if let Some(signal) = &signs.signal {
        signal.answered();
    }
    Ok(answer)
}

/// Over HTTP/1.1.
async fn send_alone(
    link: &mut Link,
    request: Request<Outgoing>,
    may_repeat: bool,
    signs: &EarlySigns,
    limit: Duration,
    deadline: Option<Instant>,
) -> Result<Response<Incoming>, Failed> {
    let progress = &*signs.progress;
    let of_content = (!request.body().is_empty()).then(|| Arc::clone(&signs.progress));
    link.listen(may_repeat, of_content);
    // Unconstrained: where tokio would put a look off, it would say so to the waker, and none is given.
    let mut answer = pin!(unconstrained(link.sender.try_send_request(request)));
    let (mut steps, mut is_sent) = (progress.steps(), false);
    link.timer.restart(limit);
    let answer = poll_fn(|cx| {
        let look = |cx: &mut Context<'_>| answer.as_mut().poll(cx);
        let answered = match mem::replace(&mut is_sent, true) {
            true => link.drive_until(cx, look),
            // This turn sends the request. Hardly any answer is there before it ends.
            false => link.drive_and_look(cx, look),
        };
        if signs.interims.are_too_many() {
            return Poll::Ready(Err(Failed::Flooded));
        }
        if let Poll::Ready(answer) = answered {
            return Poll::Ready(Ok(answer));
        }
        if steps != progress.steps() {
            steps = progress.steps();
            link.timer.restart(within(limit, deadline));
        }
        ready!(link.timer.poll_passed(cx));
        Poll::Ready(Err(Failed::Late(limit)))
    })
    .await?;
    answer.map(|answer| answer.map(Incoming::Http1)).map_err(|mut error| {
        match (error.take_message(), error.into_error()) {
            (Some(request), _) => Failed::Unsent(Box::new(request)),
            (None, error) => match link.unheard_request() {
                Some(again) => Failed::Unheard(Box::new(again)),
                None => Failed::Sent(Broken::Http1(error)),
            },
        }
    })
}

/// Over HTTP/2.
async fn send_shared(
    slot: &mut Slot,
    request: Request<Outgoing>,
    pool: &Pool,
    may_repeat: bool,
    signs: &EarlySigns,
    limit: Duration,
    deadline: Option<Instant>,
) -> Result<Response<Incoming>, Failed> {
    let may_repeat = may_repeat && !request.headers().keys().any(stands_for_the_method);
    let scheme = match pool.origin.scheme() {
        Scheme::Https => http::uri::Scheme::HTTPS,
        Scheme::Http | Scheme::H2c => http::uri::Scheme::HTTP,
    };
    let progress = &signs.progress;
    let begun = slot.begin(request, scheme, progress);
    let mut exchange = begun.map_err(|rejected| match rejected {
        Rejected::Unseen { again, .. } => Failed::Unsent(again),
        Rejected::Lost(again) => Failed::Unheard(again),
        Rejected::Broken(broken) => Failed::Sent(broken),
    })?;
    let mut steps = progress.steps();
    slot.timer.restart(limit);
    let answer = poll_fn(|cx| {
        let hear = |answer: Response<()>| {
            signs.hear(&answer);
            !signs.interims.are_too_many()
        };
        match exchange.poll(hear, cx) {
            _ if signs.interims.are_too_many() => return Poll::Ready(Err(Failed::Flooded)),
            Poll::Ready(answer) => return Poll::Ready(Ok(answer)),
            Poll::Pending => {}
        }
        if steps != progress.steps() {
            steps = progress.steps();
            slot.timer.restart(within(limit, deadline));
        }
        ready!(slot.timer.poll_passed(cx));
        Poll::Ready(Err(Failed::Late(limit)))
    })
    .await?;
    match answer {
        Ok(response) => Ok(exchange.receive(response).map(|body| Incoming::Http2(Box::new(body)))),
        Err(broken) => Err(match exchange.rejected(broken, may_repeat) {
            Rejected::Unseen { again, is_leaving } => Failed::Refused { again, is_leaving },
            Rejected::Lost(again) => Failed::Unheard(again),
            Rejected::Broken(broken) => Failed::Sent(broken),
        }),
    }
}

fn receive(
    response: Response<Incoming>,
    is_head: bool,
    mut lease: Lease,
    (idle, whole): (Duration, Option<Whole>),
) -> Result<Response<UpstreamBody>, UpstreamError> {
    let (mut parts, incoming) = response.into_parts();
    // HTTP/1 has looked at that as it read.
    let UpstreamConfig { max_head_bytes: max_bytes, max_fields, .. } = lease.pool.config;
    if parts.version == Version::HTTP_2 && parts.headers.len() > max_fields {
        let origin = lease.pool.origin.clone();
        return Err(UpstreamError::HeadTooLarge { origin, max_bytes, max_fields });
    }
    let is_coded = parts.headers.contains_key(header::TRANSFER_ENCODING);
    if is_coded
        && parts.headers.contains_key(header::CONTENT_LENGTH)
        && let Carrier::Http1(link) = &mut lease.carrier
    {
        link.distrust();
    }
    let has_body =
        !is_head && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // hyper undoes `chunked` where it is the last coding, and passes on what others made of the content.
    // Dropping the lease closes the connection: where such an answer ends cannot be told here.
    if has_body && is_coded && !is_decoded(&parts.headers) {
        return Err(UpstreamError::TransferCoding { origin: lease.pool.origin.clone() });
    }
    if is_coded {
        // It was about this connection.
        parts.headers.remove(header::TRANSFER_ENCODING);
    }
    own_length(&mut parts.headers, has_body, incoming.size_hint().exact());
    if !incoming.is_end_stream() && incoming.size_hint().exact().is_none_or(|len| len > SHORT) {
        let is_stream = lease.become_stream();
        if !is_stream && is_endless(&parts.headers) {
            let (origin, max) = (lease.pool.origin.clone(), lease.pool.config.max_streams);
            return Err(UpstreamError::TooManyStreams { origin, max });
        }
    }
    let mut body = UpstreamBody::new(incoming, lease, idle, whole);
    body.settle_if_ended();
    Ok(Response::from_parts(parts, body))
}

/// hyper has undone the framing, so a length may no longer contradict it: with a transfer coding it does
/// not count (RFC 9112 §6.3), and the same length said twice is one.
fn own_length(headers: &mut HeaderMap, has_body: bool, length: Option<u64>) {
    match length {
        // What it says is about another answer.
        _ if !has_body => {}
        Some(length) if says_once(headers, length) => {}
        Some(length) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.remove(header::CONTENT_LENGTH);
        }
    }
}

fn says_once(headers: &HeaderMap, length: u64) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(only), None) = (lines.next(), lines.next()) else { return false };
    only.to_str().is_ok_and(|digits| digits.parse() == Ok(length))
}

fn sort(pool: &Pool, broken: Broken, was_repeated: bool) -> UpstreamError {
    let origin = pool.origin.clone();
    if broken.is_upload() {
        UpstreamError::Request { origin, source: broken.into_source() }
    } else if broken.is_too_large() {
        let UpstreamConfig { max_head_bytes, max_fields, .. } = pool.config;
        UpstreamError::HeadTooLarge { origin, max_bytes: max_head_bytes, max_fields }
    } else if broken.is_protocol() {
        UpstreamError::Protocol { origin, source: broken.into_source() }
    } else if broken.is_reset() {
        UpstreamError::Reset { origin, source: broken.into_source() }
    } else {
        UpstreamError::Closed { origin, source: broken.into_source(), was_repeated }
    }
}

fn outgoing<B>(request: Request<B>, pool: &Pool) -> Prepared
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut parts, body) = request.into_parts();
    let had_length = parts.headers.contains_key(header::CONTENT_LENGTH);
    let asks_first = !body.is_end_stream() && parts.headers.contains_key(header::EXPECT);
    remove_framing(&mut parts.headers);
    if let Some(host) = &pool.config.host {
        parts.headers.insert(header::HOST, host.clone());
    } else if !parts.headers.contains_key(header::HOST) {
        parts.headers.insert(header::HOST, pool.origin.as_host());
    }
    let expects_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    match body.size_hint().exact() {
        Some(0) if !had_length && !expects_body => {}
        Some(length) => {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Said here because hyper would not send the body of a GET otherwise.
        None => {
            let chunked = HeaderValue::from_static("chunked");
            parts.headers.insert(header::TRANSFER_ENCODING, chunked);
        }
    }
    let mut signs = EarlySigns::default();
    let mut wait = None;
    if asks_first {
        parts.headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        let signal = signs.signal.insert(Arc::default());
        wait = Some(ContinueWait::for_signal(signal, pool.config.continue_timeout));
    }
    let times = parts.extensions.get::<Arc<Times>>();
    let limits = pool.config.limits(times.map(|times| &**times));
    signs.interim = parts.extensions.remove::<Interim>();
    signs.began = parts.extensions.remove::<Began>();
    if let Some(upgrade) = parts.extensions.remove::<Upgrade>()
        && let Some(protocol) = upgrade.protocol()
    {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
        signs.upgrade = Some(upgrade);
    }
    let mut request = Request::new(Outgoing::new(body, &signs.progress, wait));
    *request.method_mut() = parts.method;
    *request.uri_mut() = origin_form(parts.uri);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = parts.headers;
    if has_doubtful_content(&request) {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    signs.hear_interim(&mut request);
    Prepared { request, signs, limits }
}

fn remove_framing(headers: &mut HeaderMap) {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    // Most requests have none of them, and few fields at all. As texts of different lengths they are
    // compared in fewer steps than as names.
    if !headers.keys().any(|name| FRAMING.contains(&name.as_str())) {
        return;
    }
    let takes_trailers = takes_trailers(headers);
    let announced = headers.remove(header::TRAILER);
    for name in FRAMING {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    // hyper sends those that are announced.
    if let Some(announced) = announced {
        headers.insert(header::TRAILER, announced);
    }
}

/// The path and the query of it, or `*`.
fn origin_form(uri: Uri) -> Uri {
    let mut parts = Parts::default();
    let path = uri.into_parts().path_and_query;
    parts.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("a path alone is a URI")
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("origin", &self.pool.origin)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
