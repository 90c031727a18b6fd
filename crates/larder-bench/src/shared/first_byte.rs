//! First byte: how soon the first piece of a long response comes from Redis through an HTTP cache, beside a bare `GET` of
//! that piece. They take turns, each in a task of its own: what a runtime is entered with it polls last of all.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use larder::{
    Cache,
    http::{Body, CacheService, HttpCache, Policy, Variants},
};
use redis::aio::MultiplexedConnection;
use tower_service::Service;

use super::{
    Bench,
    caches::{tier, trusts, until},
    report::{Bar, Figure},
    samples::{Content, content, median},
};

/// As the tier cuts them.
const PIECE: usize = 128 << 10;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (rounds, reads) = if bench.is_short { (3, 40) } else { (9, 100) };
    for (name, bytes) in [("256 kB", 256 << 10), ("1 MB", 1 << 20)] {
        for kind in Content::ALL {
            let namespace = format!("first-{}-{bytes}", kind.name());
            let seen = measure(bench, &namespace, content(kind, bytes), rounds, reads).await?;
            let label = format!("{name} from L2 ({}), first piece, p50", kind.name());
            let beside = ("GET of it", &seen.bare[..]);
            let figure = Figure::of_rounds("first-byte", label, &seen.first, beside);
            bench.note(figure.context("no rounds")?.bar(Bar::TimesAtMost(1.5)));
        }
    }
    Ok(())
}

/// Medians of rounds, in ns.
#[derive(Default)]
struct Seen {
    bare: Vec<f64>,
    first: Vec<f64>,
}

async fn measure(
    bench: &Bench,
    namespace: &str,
    value: Bytes,
    rounds: usize,
    reads: usize,
) -> anyhow::Result<Seen> {
    let (url, mut bare) = (bench.server.url(), bench.server.connect().await?);
    let origin = Origin { value: value.clone(), is_up: true };
    let writer = site(&url, namespace, origin.clone()).await?;
    let first_piece = &value[..PIECE];
    let () = redis::cmd("SET").arg("bare-piece").arg(first_piece).query_async(&mut bare).await?;
    let mut seen = Seen::default();
    for round in 0..rounds {
        let paths: Vec<_> = (0..reads).map(|read| format!("/{round}/{read}")).collect();
        for path in &paths {
            let before = writer.0.stats().lower.writes;
            read(writer.1.clone(), path.clone(), value.len()).await?;
            let stats = || writer.0.stats().lower;
            until("a response to be written", async || stats().writes > before).await?;
        }
        // Anew in each round: its memory is not to matter.
        let reader = site(&url, namespace, Origin { is_up: false, ..origin.clone() }).await?;
        let (mut gets, mut firsts) = (Vec::new(), Vec::new());
        for (place, path) in paths.iter().enumerate() {
            for turn in 0..2 {
                if (place + turn) % 2 == 0 {
                    gets.push(tokio::spawn(get(bare.clone())).await??);
                } else {
                    let reading = read(reader.1.clone(), path.clone(), value.len());
                    firsts.push(tokio::spawn(reading).await??);
                    // What is left to do for one is not in the time of the next, whichever that is.
                    let stats = || reader.0.stats();
                    until("it to lie in memory", async || stats().entries > place as u64).await?;
                }
            }
        }
        let hits = reader.0.stats().lower.hits;
        ensure!(hits == reads as u64, "{hits} of {reads} were found below");
        seen.bare.push(median(gets)?);
        seen.first.push(median(firsts)?);
    }
    Ok(seen)
}

type Site = (Cache<Variants>, CacheService<Origin>);

async fn site(url: &str, namespace: &str, origin: Origin) -> anyhow::Result<Site> {
    let store = Cache::<Variants>::builder().max_bytes(256 << 20);
    let store = store.lower_http(tier(url, namespace)?).build();
    trusts(&store).await?;
    let cache = HttpCache::new(store.clone(), Policy::standard());
    Ok((store, cache.service(origin)))
}

/// The time until the piece is here, in ns.
async fn get(mut bare: MultiplexedConnection) -> anyhow::Result<f64> {
    let began = Instant::now();
    let got: Vec<u8> = redis::cmd("GET").arg("bare-piece").query_async(&mut bare).await?;
    let took = began.elapsed().as_nanos() as f64;
    ensure!(got.len() == PIECE);
    Ok(took)
}

/// The time until the first byte of the body, in ns. All of it is read.
async fn read(
    mut service: CacheService<Origin>,
    path: String,
    bytes: usize,
) -> anyhow::Result<f64> {
    let request = Request::get(&path).header("host", "bench.example");
    let request = request.body(Full::<Bytes>::default())?;
    let began = Instant::now();
    let response = service.call(request).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(response.status() == 200, "{path}: {}", response.status());
    let (mut body, mut first, mut length) = (response.into_body(), None, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| anyhow::anyhow!("{error}"))?;
        if let Some(data) = frame.data_ref() {
            first.get_or_insert_with(|| began.elapsed().as_nanos() as f64);
            length += data.len();
        }
    }
    ensure!(length == bytes, "{path}: {length} of {bytes} bytes");
    first.context("an empty body")
}

/// Answers with one thing, or with 503.
#[derive(Clone)]
struct Origin {
    value: Bytes,
    is_up: bool,
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Full::new(self.value.clone()));
        if self.is_up {
            let kept = http::HeaderValue::from_static("max-age=3600");
            response.headers_mut().insert("cache-control", kept);
        } else {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        ready(Ok(response))
    }
}
