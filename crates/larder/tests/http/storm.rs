//! Storm: readers, purges, soft purges, changes and evictions at random on several threads, for most of a
//! second. Whatever comes first: nobody who asks after an acknowledged purge is given an answer
//! that the origin made before it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use larder::{
    Cache, Clock, Mode, Purge, Scope, Stats, Tier, TierState,
    http::{Body, BoxError, HttpCache, Policy, Variants},
    lower::InProcess,
};
use tower_service::Service;

use crate::support::{Answer, Shape, key, over_each_shape, request};

const KEYS: usize = 6;
const READERS: usize = 8;
const LASTS: Duration = Duration::from_millis(750);
/// So much longer at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// An origin whose answers count up. Each key's own number is what its answer was made from; the
/// answer is some time on its way, in pieces.
#[derive(Clone)]
struct Counting {
    versions: Arc<[AtomicU64; KEYS]>,
    calls: Arc<AtomicUsize>,
}

impl Service<http::Request<Body>> for Counting {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let origin = self.clone();
        Box::pin(async move {
            let number = origin.calls.fetch_add(1, Ordering::SeqCst);
            pause(number % 4).await;
            let key: usize = request.uri().path()[1..].parse()?;
            let version = origin.versions[key].load(Ordering::SeqCst);
            let tag = format!("\"{version}\"");
            let mut answer = match request.headers().get("if-none-match") {
                Some(held) if held == &tag => {
                    let mut confirmed = Response::new(Body::empty());
                    *confirmed.status_mut() = http::StatusCode::NOT_MODIFIED;
                    confirmed
                }
                _ if number.is_multiple_of(23) => return Err("refused".into()),
                _ => {
                    let text = format!("{version:020}");
                    let pieces = [text[..7].to_owned(), text[7..].to_owned()];
                    let chunks = futures_util::stream::unfold(0, move |place: usize| {
                        let piece = pieces.get(place).cloned();
                        async move {
                            pause((number + place) % 3).await;
                            Some((Ok::<_, BoxError>(Frame::data(Bytes::from(piece?))), place + 1))
                        }
                    });
                    Response::new(Body::passing(StreamBody::new(chunks)))
                }
            };
            // Some are fresh for long, some hardly, some vary, some are for one reader only.
            let control = match number % 11 {
                0 => "private",
                1..4 => "max-age=0, stale-while-revalidate=60",
                _ => "max-age=60, stale-if-error=60",
            };
            let tags = format!("all key-{key}");
            for (name, value) in [
                ("cache-control", control),
                ("etag", &*tag),
                ("surrogate-key", &*tags),
                ("vary", "x-lang"),
            ] {
                answer.headers_mut().insert(name, value.parse()?);
            }
            Ok(answer)
        })
    }
}

async fn pause(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    if turns == 3 {
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
}

/// Numbers that look random (Marsaglia's xorshift), the same each time for one seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % sides
    }
}

struct Storm {
    /// One cache, or several over one tier, as processes are.
    caches: Vec<HttpCache>,
    origin: Counting,
    /// For each key, the oldest version that may still be served: what the origin had when the last
    /// acknowledged purge began.
    oldest: [AtomicU64; KEYS],
    /// Answers that readers have had and looked at.
    reads: AtomicUsize,
    until: Instant,
}

impl Storm {
    async fn read(self: Arc<Self>, seed: u64) {
        let mut dice = Dice(seed);
        let cache = &self.caches[seed as usize % self.caches.len()];
        let mut service = cache.service(self.origin.clone());
        while !self.is_over() {
            let number = dice.throw(KEYS);
            let oldest = self.oldest[number].load(Ordering::SeqCst);
            let lang = ["de", "fr"][dice.throw(2)];
            let mut fields = vec![("x-lang", lang)];
            match dice.throw(12) {
                0 => fields.push(("cache-control", "no-cache")),
                1 => fields.push(("if-match", "\"x\"")),
                _ => {}
            }
            let reading = service.call(request("GET", &format!("/{number}"), &fields));
            if dice.throw(20) == 0 {
                // It has no patience.
                tokio::time::timeout(Duration::from_micros(50), reading).await.ok();
                continue;
            }
            let Ok(answer) = reading.await else { continue };
            let answer = Answer::read(answer).await;
            if !answer.is_whole || answer.status != 200 {
                continue;
            }
            self.reads.fetch_add(1, Ordering::Relaxed);
            let version: u64 = answer.text().parse().unwrap();
            assert!(
                version >= oldest,
                "version {version} of key {number} after {oldest} was purged: {answer:?}"
            );
        }
    }

    async fn purge(self: Arc<Self>, seed: u64) {
        let mut dice = Dice(seed);
        while !self.is_over() {
            let number = dice.throw(KEYS);
            // The origin changes first, and whoever changed it purges.
            let version = self.origin.versions[number].fetch_add(1, Ordering::SeqCst) + 1;
            let cache = &self.caches[seed as usize % self.caches.len()];
            if self.caches.len() > 1 {
                if !self.purge_everywhere(cache, number, dice.throw(4)).await {
                    continue;
                }
                self.oldest[number].fetch_max(version, Ordering::SeqCst);
                pause(dice.throw(4)).await;
                continue;
            }
            let store = cache.cache();
            match dice.throw(7) {
                0 => {
                    store.remove(key(&format!("/{number}")));
                }
                1 => store.purge_tag(&format!("key-{number}")),
                2 => store.purge_tag("all"),
                3 => {
                    store.purge_prefix(key(&format!("/{number}")));
                }
                4 => {
                    store.clear();
                }
                5 => {
                    // A soft purge promises nothing about what is served, and must not undo anything.
                    store.soft_purge_tag(&format!("key-{number}"));
                    continue;
                }
                _ => {
                    let mut service = cache.service(Accepting);
                    let put = request("PUT", &format!("/{number}"), &[]);
                    service.call(put).await.unwrap();
                }
            }
            self.oldest[number].fetch_max(version, Ordering::SeqCst);
            pause(dice.throw(4)).await;
        }
    }
}

impl Storm {
    /// It lasts until all that it is about has happened, however slow the machine.
    fn is_over(&self) -> bool {
        let now = Instant::now();
        now >= self.until && (self.has_seen_enough() || now >= self.until + PATIENCE)
    }

    fn has_seen_enough(&self) -> bool {
        let sum = |of: fn(&Stats) -> u64| {
            self.caches.iter().map(|cache| of(&cache.cache().stats())).sum::<u64>()
        };
        let is_below = self.caches.len() == 1 || sum(|stats| stats.lower.hits) > 10;
        let is_read = self.reads.load(Ordering::Relaxed) > 10;
        is_read && is_below && sum(|stats| stats.hits) > 0 && sum(|stats| stats.purges) > 10
    }

    /// Waits until the tier has the purge and the other processes have read of it. False: one of them could not.
    async fn purge_everywhere(&self, cache: &HttpCache, number: usize, what: usize) -> bool {
        let key = key(&format!("/{number}"));
        let scope = match what {
            0 => Scope::Key(key),
            1 => Scope::Prefix(key),
            2 => Scope::Tag(format!("key-{number}")),
            _ => Scope::Everything,
        };
        let receipt =
            cache.purge(Purge { scope, mode: Mode::Hard, wait: Tier::Shared, asked: None }).await;
        let tiers = receipt.unwrap().tiers;
        let is_below = matches!(tiers.last().unwrap().state, TierState::Applied { .. });
        let mut has_read = is_below;
        for other in &self.caches {
            has_read &= other.cache().catch_up().await.is_ok();
        }
        has_read
    }
}

/// Accepts every change.
#[derive(Clone)]
struct Accepting;

impl Service<http::Request<Body>> for Accepting {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

over_each_shape!(
    no_answer_is_older_than_an_acknowledged_purge,
    tokio::test(flavor = "multi_thread", worker_threads = 4),
    async,
    .await
);
async fn no_answer_is_older_than_an_acknowledged_purge(shape: Shape) {
    rage(vec![HttpCache::new(shape.builder_with(Clock::system()).build(), Policy::standard())])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_is_older_than_a_purge_that_processes_over_one_tier_have_acknowledged() {
    for faults in [false, true] {
        let tier = InProcess::new(Clock::system());
        if faults {
            tier.fail_every(7);
            tier.answer_late(Duration::from_micros(200));
        }
        let cache = || {
            // Little stays in memory, so much comes from below.
            let builder = Cache::<Variants>::builder().max_bytes(3 << 10);
            HttpCache::new(builder.lower_http(tier.clone()).build(), Policy::standard())
        };
        let caches: Vec<_> = (0..3).map(|_| cache()).collect();
        rage(caches).await;
    }
}

async fn rage(caches: Vec<HttpCache>) {
    let storm = Arc::new(Storm {
        caches,
        origin: Counting { versions: Arc::default(), calls: Arc::default() },
        oldest: Default::default(),
        reads: AtomicUsize::new(0),
        until: Instant::now() + LASTS,
    });
    let purgers: Vec<_> =
        (0..2).map(|number| tokio::spawn(Arc::clone(&storm).purge(number + 151))).collect();
    let readers: Vec<_> = (0..READERS as u64)
        .map(|number| tokio::spawn(Arc::clone(&storm).read(number + 101)))
        .collect();
    for task in readers.into_iter().chain(purgers) {
        task.await.unwrap();
    }
    let stats: Vec<_> = storm.caches.iter().map(|cache| cache.cache().stats()).collect();
    let reads = storm.reads.load(Ordering::Relaxed);
    assert!(storm.has_seen_enough(), "{reads} reads in all that time: {stats:?}");
}
