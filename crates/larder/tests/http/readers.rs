//! Readers: of all speeds, of parts and of the whole, and such as leave, while what they read is evicted, purged and
//! replaced, and while there is far too little room for all of it. Whatever comes first: nobody is given a byte that is
//! not of the version that the head has told of, nor the end of a body before its last byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder::http::{Body, BoxError, HttpCache, Policy};
use tower_service::Service;

use crate::support::{Shape, key, over_each_shape, request};

const KEYS: u64 = 8;
const READERS: u64 = 24;
const LASTS: Duration = Duration::from_millis(1500);
/// A prime, so that bytes of another place or version do not fit.
const PERIOD: usize = 251;
const LONGEST: usize = 400_000;

/// Numbers that look like chance, the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    async fn pause(&mut self) {
        match self.below(4) {
            0 => tokio::time::sleep(Duration::from_millis(self.below(5))).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
    }
}

/// The bytes of all versions of all keys.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Arc<Pattern> {
        Arc::new(Pattern((0..LONGEST + 2 * PERIOD).map(|n| (n % PERIOD) as u8).collect()))
    }

    fn at(&self, number: u64, version: u64, range: std::ops::Range<usize>) -> &[u8] {
        let shift = (number as usize * 7 + version as usize * 13 + range.start) % PERIOD;
        &self.0[shift..shift + range.len()]
    }
}

fn length_of(number: u64, version: u64) -> usize {
    LONGEST / (1 + ((number + version) % 5) as usize).pow(2)
}

/// Each key's answer is of its own version, whose number its entity tag has.
#[derive(Clone)]
struct Versions {
    versions: Arc<[AtomicU64; KEYS as usize]>,
    calls: Arc<AtomicU64>,
    pattern: Arc<Pattern>,
}

impl Service<Request<Body>> for Versions {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Versions { versions, calls, pattern } = self.clone();
        Box::pin(async move {
            let mut chance = Chance(calls.fetch_add(1, Ordering::SeqCst));
            let number: u64 = request.uri().path()[1..].parse()?;
            let version = versions[number as usize].load(Ordering::SeqCst);
            let length = length_of(number, version);
            let says_its_length = chance.is_one_in(2);
            let breaks_at = if chance.is_one_in(12) { length / 2 } else { usize::MAX };
            let caching = if chance.is_one_in(6) { "no-store" } else { "max-age=60" };
            let pieces = stream::unfold((0, chance), move |(at, mut chance)| {
                let pattern = Arc::clone(&pattern);
                async move {
                    if at == length {
                        return None;
                    }
                    chance.pause().await;
                    if at >= breaks_at {
                        return Some((Err::<_, BoxError>("broken off".into()), (length, chance)));
                    }
                    let most = [1_000, 5_000, 60_000, 200_000][chance.below(4) as usize];
                    let end = length.min(at + 1 + chance.below(most) as usize);
                    let piece = Bytes::copy_from_slice(pattern.at(number, version, at..end));
                    Some((Ok(Frame::data(piece)), (end, chance)))
                }
            });
            let mut answer = Response::new(Body::passing(StreamBody::new(pieces)));
            let headers = answer.headers_mut();
            headers.insert("cache-control", caching.parse()?);
            headers.insert("etag", format!("\"{version}\"").parse()?);
            if says_its_length {
                headers.insert("content-length", length.into());
            }
            Ok(answer)
        })
    }
}

/// How readings ended.
#[derive(Default)]
struct Ends {
    whole: AtomicUsize,
    left: AtomicUsize,
    broken: AtomicUsize,
}

/// Reads an answer at its own pace, and compares every byte of it.
async fn read(
    answer: Response<Body>,
    number: u64,
    pattern: &Pattern,
    chance: &mut Chance,
    ends: &Ends,
) {
    let (head, mut body) = answer.into_parts();
    let field = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let version: u64 = field("etag").trim_matches('"').parse().unwrap();
    let length = length_of(number, version);
    let range = match head.status {
        StatusCode::OK => 0..length,
        StatusCode::PARTIAL_CONTENT => {
            let range = field("content-range");
            let range = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap().0;
            let (first, last) = range.split_once('-').unwrap();
            first.parse().unwrap()..last.parse::<usize>().unwrap() + 1
        }
        status => panic!("{status}"),
    };
    let is_slow = chance.is_one_in(3);
    let leaves_at = if chance.is_one_in(4) {
        range.start + chance.below(length as u64) as usize
    } else {
        usize::MAX
    };
    let mut stops_at = if chance.is_one_in(6) {
        range.start + chance.below(length as u64) as usize
    } else {
        usize::MAX
    };
    let mut at = range.start;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            ends.broken.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let piece = frame.into_data().unwrap();
        assert!(
            at + piece.len() <= range.end,
            "more than {range:?} of {number}, version {version}"
        );
        let expected = pattern.at(number, version, at..at + piece.len());
        assert!(piece == expected, "other bytes at {at} of {number}, version {version}");
        at += piece.len();
        if at >= leaves_at {
            ends.left.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if at >= stops_at {
            stops_at = usize::MAX;
            tokio::time::sleep(Duration::from_millis(1400)).await;
        } else if is_slow {
            chance.pause().await;
        }
    }
    assert_eq!(at, range.end, "the end of {number}, version {version}, before its last byte");
    ends.whole.fetch_add(1, Ordering::Relaxed);
}

over_each_shape!(every_reader_gets_the_bytes_of_one_version_in_their_order, test);
fn every_reader_gets_the_bytes_of_one_version_in_their_order(shape: Shape) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = shape.holding(3 << 20).builder().max_bytes(3 << 20).build();
        let cache = HttpCache::new(store, Policy::standard());
        let pattern = Pattern::new();
        let versions = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        let origin = Versions { versions, calls: Arc::default(), pattern: Arc::clone(&pattern) };
        let ends = Arc::new(Ends::default());
        let until = Instant::now() + LASTS;
        let mut tasks = tokio::task::JoinSet::new();
        for seed in 0..READERS {
            let (mut service, pattern) = (cache.service(origin.clone()), Arc::clone(&pattern));
            let ends = Arc::clone(&ends);
            tasks.spawn(async move {
                let mut chance = Chance(1_000 + seed);
                while Instant::now() < until {
                    let number = chance.below(KEYS);
                    let start = chance.below(LONGEST as u64 / 30);
                    let range = format!("bytes={start}-{}", start + chance.below(200_000));
                    let fields: &[(&str, &str)] =
                        if chance.is_one_in(3) { &[("range", &range)] } else { &[] };
                    let asked = request("GET", &format!("/{number}"), fields);
                    if let Ok(answer) = service.call(asked).await {
                        read(answer, number, &pattern, &mut chance, &ends).await;
                    }
                }
            });
        }
        let mut chance = Chance(7);
        while Instant::now() < until {
            let number = chance.below(KEYS);
            if chance.is_one_in(2) {
                origin.versions[number as usize].fetch_add(1, Ordering::SeqCst);
            }
            cache.remove(&key(&format!("/{number}")));
            tokio::time::sleep(Duration::from_millis(20 + chance.below(60))).await;
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let [whole, left, broken] =
            [&ends.whole, &ends.left, &ends.broken].map(|end| end.load(Ordering::Relaxed));
        println!("{whole} whole, {left} left, {broken} broken, {:?}", cache.cache().stats());
        assert!(whole > 20 && left > 5, "{whole} whole, {left} left, {broken} broken");
        // What nobody reads any more is let go, or is stored.
        let began = Instant::now();
        while cache.arriving_bytes() > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "{} bytes are left",
                cache.arriving_bytes()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(cache.cache().stats().bytes <= 3 << 20);
    });
}
