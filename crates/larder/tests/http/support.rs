//! A cache of HTTP responses in each of its shapes with a clock of its own, and an origin that follows a script.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder::{
    Builder, Cache, Clock, Eviction, ManualClock,
    http::{Body, BoxError, CacheService, HttpCache, NoAnswer, Policy, Settings, Variants},
    lower::InProcess,
};
pub(crate) use larder_test_support::paused::{secs, settle};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tower_service::Service;

/// Enough for four answers or so, which is more than most of these tests store.
const SMALL_BYTES: usize = 4 << 10;

/// What a cache is like inside. No reader and no origin can tell, so each test is one of all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Whether a lower tier lies below memory, which nobody else uses.
    has_lower_tier: bool,
    eviction: Eviction,
    /// `None`: as large as a cache is whose builder is told nothing, and of many shards.
    small_bytes: Option<usize>,
}

impl Shape {
    pub(crate) const S3_FIFO: Shape =
        Shape { has_lower_tier: false, eviction: Eviction::S3Fifo, small_bytes: None };
    pub(crate) const SMALL_S3_FIFO: Shape =
        Shape { small_bytes: Some(SMALL_BYTES), ..Shape::S3_FIFO };
    pub(crate) const LRU: Shape = Shape { eviction: Eviction::Lru, ..Shape::S3_FIFO };
    pub(crate) const SMALL_LRU: Shape = Shape { small_bytes: Some(SMALL_BYTES), ..Shape::LRU };

    pub(crate) const OVER_LOWER_TIER: Shape = Shape { has_lower_tier: true, ..Shape::S3_FIFO };

    /// For a test that stores so many bytes more: a small cache has room for them, and for little else.
    pub(crate) fn holding(self, bytes: usize) -> Shape {
        Shape { small_bytes: self.small_bytes.map(|small| small + bytes), ..self }
    }

    /// What memory has no room for lies below.
    pub(crate) fn has_lower_tier(self) -> bool {
        self.has_lower_tier
    }

    pub(crate) fn builder(self) -> Builder<Variants> {
        let builder = Cache::builder().eviction(self.eviction);
        match self.small_bytes {
            Some(bytes) => builder.max_bytes(bytes),
            None => builder,
        }
    }

    /// The same with this clock, by which a lower tier tells ages as well.
    pub(crate) fn builder_with(self, clock: Clock) -> Builder<Variants> {
        let builder = self.builder().clock(clock.clone());
        match self.has_lower_tier {
            true => builder.lower_http(InProcess::new(clock)),
            false => builder,
        }
    }
}

/// A test of this name for each shape: `over_each_shape!(sentence);` stands above `async fn sentence(shape: Shape)`,
/// and time is paused. What needs another runtime, or none, says how it is a test:
/// `over_each_shape!(sentence, test);` is for a `fn`.
macro_rules! over_each_shape {
    ($sentence:ident) => {
        over_each_shape!($sentence, tokio::test(start_paused = true), async, .await);
    };
    ($sentence:ident, $test:meta $(, $async:tt, $($await:tt)+)?) => {
        mod $sentence {
            use $crate::support::Shape;

            #[$test]
            $($async)? fn s3_fifo() {
                super::$sentence(Shape::S3_FIFO)$($($await)+)?;
            }

            #[$test]
            $($async)? fn small_s3_fifo() {
                super::$sentence(Shape::SMALL_S3_FIFO)$($($await)+)?;
            }

            #[$test]
            $($async)? fn lru() {
                super::$sentence(Shape::LRU)$($($await)+)?;
            }

            #[$test]
            $($async)? fn small_lru() {
                super::$sentence(Shape::SMALL_LRU)$($($await)+)?;
            }

            #[$test]
            $($async)? fn over_a_lower_tier() {
                super::$sentence(Shape::OVER_LOWER_TIER)$($($await)+)?;
            }
        }
    };
}
pub(crate) use over_each_shape;

/// A cache, its clock, and its origin.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) clock: ManualClock,
    pub(crate) cache: HttpCache,
    pub(crate) origin: Origin,
}

impl Site {
    /// By the standard, before an origin that answers when told to.
    pub(crate) fn new(shape: Shape) -> Site {
        Site::with(shape, Policy::standard(), Settings::default(), |builder| builder)
    }

    pub(crate) fn guarded(shape: Shape) -> Site {
        Site::with(shape, Policy::guarded(), Settings::default(), |builder| builder)
    }

    pub(crate) fn with(
        shape: Shape,
        policy: Policy,
        settings: Settings,
        build: impl FnOnce(Builder<Variants>) -> Builder<Variants>,
    ) -> Site {
        let clock = ManualClock::new();
        let store = build(shape.builder_with(clock.clock())).build();
        let cache = HttpCache::with_settings(store, policy, settings);
        Site { clock, cache, origin: Origin::default() }
    }

    /// Another cache of HTTP responses before the same store and origin.
    pub(crate) fn beside(&self) -> Site {
        let cache = HttpCache::new(self.store().clone(), Policy::standard());
        Site { cache, ..self.clone() }
    }

    pub(crate) fn store(&self) -> &Cache<Variants> {
        self.cache.cache()
    }

    pub(crate) fn service(&self) -> CacheService<Origin> {
        self.cache.service(self.origin.clone())
    }

    /// A reader in a task of its own.
    pub(crate) fn ask(&self, request: Request<Body>) -> Reading {
        let answer = self.service().call(request);
        tokio::spawn(answer)
    }

    /// A request whose answer is read to its end. It needs no script.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        in_time(async { Answer::read(self.service().call(request).await.unwrap()).await }).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(get(path)).await
    }

    /// The same, for which the origin is asked and answers this.
    pub(crate) async fn answered(&self, request: Request<Body>, with: Response<Body>) -> Answer {
        let reading = self.ask(request);
        settle().await;
        self.origin.answer(with);
        let answer = read(reading).await;
        settle().await;
        answer
    }

    /// Stores what the origin answers to a GET.
    pub(crate) async fn fill(&self, path: &str, with: Response<Body>) {
        assert_eq!(self.origin.waiting(), 0, "somebody waits already");
        self.answered(get(path), with).await;
    }
}

pub(crate) type Reading = JoinHandle<Result<Response<Body>, NoAnswer>>;

/// Lets the origin take its time for whoever waits for it, until all readers have their answers: how
/// many times as long as it takes for one they have waited.
pub(crate) async fn rounds(
    origin: &Origin,
    readings: &[Reading],
    with: impl Fn() -> Response<Body>,
) -> u32 {
    let mut rounds = 0;
    settle().await;
    while readings.iter().any(|reading| !reading.is_finished()) {
        rounds += 1;
        assert!(rounds < 10, "they wait for ever");
        let calls: Vec<_> = (0..origin.waiting()).map(|_| origin.take()).collect();
        tokio::time::sleep(secs(2)).await;
        for call in calls {
            call.send(Ok(with())).ok();
        }
        settle().await;
    }
    rounds
}

pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method.parse::<Method>().unwrap();
    *request.uri_mut() = uri(path);
    *request.headers_mut() = headers(fields);
    request
}

pub(crate) fn uri(path: &str) -> Uri {
    format!("http://example.org{path}").parse().unwrap()
}

pub(crate) fn key(path: &str) -> String {
    format!("http://example.org{path}")
}

pub(crate) fn get(path: &str) -> Request<Body> {
    request("GET", path, &[])
}

pub(crate) fn get_with(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    request("GET", path, fields)
}

pub(crate) fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

/// An answer with its length.
pub(crate) fn answer(
    status: u16,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = body.into();
    let mut answer = without_length(status, fields, Body::from(body.clone()));
    answer.headers_mut().insert("content-length", body.len().into());
    answer
}

pub(crate) fn ok(fields: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    answer(200, fields, body)
}

/// Fresh for a minute.
pub(crate) fn fresh(body: impl Into<Bytes>) -> Response<Body> {
    ok(&[("cache-control", "max-age=60")], body)
}

pub(crate) fn without_length(status: u16, fields: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    *answer.headers_mut() = headers(fields);
    answer
}

/// A body that comes in the pieces that the test sends. Dropping the sender ends it.
pub(crate) struct Drip(mpsc::UnboundedSender<Result<Bytes, BoxError>>);

pub(crate) fn drip() -> (Drip, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk: Result<Bytes, BoxError> = receiver.recv().await?;
        Some((chunk.map(Frame::data), receiver))
    });
    (Drip(sender), Body::passing(StreamBody::new(chunks)))
}

impl Drip {
    pub(crate) fn send(&self, chunk: impl Into<Bytes>) {
        // Nobody may be listening any more.
        self.0.send(Ok(chunk.into())).ok();
    }

    pub(crate) fn break_off(self) {
        self.0.send(Err("the connection was reset".into())).ok();
    }

    /// Whether nobody reads it any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// What came, and whether it came to its end.
    pub(crate) body: Bytes,
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) async fn read(answer: Response<Body>) -> Answer {
        let (head, mut body) = answer.into_parts();
        let mut read = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
        }
        let (status, headers) = (head.status.as_u16(), head.headers);
        Answer { status, headers, body: read.into(), is_whole }
    }

    pub(crate) fn text(&self) -> &str {
        assert!(self.is_whole, "it broke off");
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The lines of a field, joined.
    pub(crate) fn field(&self, name: &str) -> String {
        let lines = self.headers.get_all(name).iter();
        lines.map(|line| line.to_str().unwrap()).collect::<Vec<_>>().join(", ")
    }

    /// What the cache says it did.
    pub(crate) fn said(&self) -> String {
        self.field("cache-status")
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.said().starts_with("Larder;hit;")
    }
}

/// The next piece of an answer's body.
pub(crate) async fn chunk(answer: &mut Response<Body>) -> Option<Result<Bytes, BoxError>> {
    let frame = answer.body_mut().frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// What an origin was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Reply = Result<Response<Body>, Refused>;
type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// No connection.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

/// An origin that notes its calls and answers each when the test says so, or as its handler does.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    seen: Arc<Mutex<Vec<Seen>>>,
    waiting: Arc<Mutex<VecDeque<oneshot::Sender<Reply>>>>,
    handler: Arc<Mutex<Option<Handler>>>,
}

impl Origin {
    /// From now on every call is answered at once.
    pub(crate) fn answers(&self, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.handler.lock().unwrap() = Some(Arc::new(handler));
    }

    /// From now on calls wait for the test again.
    pub(crate) fn waits(&self) {
        *self.handler.lock().unwrap() = None;
    }

    /// What it was asked as the so many-th.
    pub(crate) fn call(&self, index: usize) -> Option<Seen> {
        self.seen.lock().unwrap().get(index).cloned()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("it was asked")
    }

    /// How many calls wait for their answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().unwrap().iter().filter(|call| !call.is_closed()).count()
    }

    /// Answers the oldest call that still waits.
    pub(crate) fn answer(&self, answer: Response<Body>) {
        assert!(self.take().send(Ok(answer)).is_ok(), "the call no longer waits");
    }

    pub(crate) fn refuse(&self) {
        assert!(self.take().send(Err(Refused("connection refused"))).is_ok());
    }

    /// The oldest call that still waits, to be answered out of order.
    pub(crate) fn take(&self) -> oneshot::Sender<Reply> {
        let mut waiting = self.waiting.lock().unwrap();
        while let Some(call) = waiting.pop_front() {
            if !call.is_closed() {
                return call;
            }
        }
        panic!("nobody calls the origin");
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let origin = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let method = head.method.to_string();
            let seen = Seen { method, uri: head.uri, headers: head.headers, body };
            origin.seen.lock().unwrap().push(seen.clone());
            let handler = origin.handler.lock().unwrap().clone();
            if let Some(handler) = handler {
                return handler(&seen);
            }
            let (reply, waiting) = oneshot::channel();
            origin.waiting.lock().unwrap().push_back(reply);
            waiting.await.expect("the script answers every call it lets live")
        })
    }
}

/// Whoever waits for it.
pub(crate) async fn read(reading: Reading) -> Answer {
    in_time(async { Answer::read(reading.await.unwrap().unwrap()).await }).await
}

/// Whoever waits in vain.
pub(crate) async fn failed(reading: Reading) -> NoAnswer {
    in_time(reading).await.unwrap().unwrap_err()
}

/// Where time is paused, who would wait for ever fails instead.
async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(secs(3600), waiting).await.expect("nobody answers")
}
