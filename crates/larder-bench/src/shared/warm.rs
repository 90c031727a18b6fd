//! Warm: the first minute after a restart of a process, with the tier and without it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use larder::{Cache, Fetched};
use tokio::{task::JoinSet, time::sleep_until};

use super::{
    Bench,
    caches::{TTL, fill, over},
    report::{Bar, Figure, Unit},
    samples::{Content, Random, Zipf, content, now, quantile},
};

const KEYS: usize = 20_000;
const SKEW: f64 = 0.9;
const PER_SECOND: usize = 1000;
const ORIGIN: Duration = Duration::from_millis(20);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let seconds = if bench.is_short { 5 } else { 60 };
    let url = bench.server.url();
    let keys: Arc<Vec<_>> = Arc::new((0..KEYS).map(|key| format!("post:{key}")).collect());
    let value = content(Content::Text, 2048);
    // The process that was: by the time it ends, all that is asked for lies below.
    let former = over(&url, "warm").await?;
    fill(&former, &keys, &value, |_| Vec::new()).await?;
    former.shut_down(Duration::from_secs(5)).await;
    drop(former);

    let without = Cache::builder().ttl(TTL).max_bytes(256 << 20).build();
    let without = load(without, &keys, &value, seconds).await?;
    let with = load(over(&url, "warm").await?, &keys, &value, seconds).await?;
    let what = format!("the first {seconds} s after a restart");
    let note = format!(
        "{PER_SECOND} requests a second, Zipf {SKEW} of {KEYS} keys, an origin that takes 20 ms; p99 of a request {} with the tier, {} without",
        Unit::Nanoseconds.show(with.p99),
        Unit::Nanoseconds.show(without.p99)
    );
    let figure = Figure::new("warm", format!("{what}: hit ratio"), Unit::Share, with.ratio());
    bench.note(figure.beside("no tier", without.ratio()).note(note));
    let calls = Figure::new("warm", format!("{what}: origin calls"), Unit::Count, with.fetches);
    bench.note(calls.beside("no tier", without.fetches).bar(Bar::TimesAtMost(1.0)));
    Ok(())
}

struct Seen {
    requests: f64,
    fetches: f64,
    p99: f64,
}

impl Seen {
    /// What the origin was not asked for.
    fn ratio(&self) -> f64 {
        1.0 - self.fetches / self.requests
    }
}

/// Requests come whether earlier ones have been answered or not.
async fn load(
    cache: Cache<Bytes>,
    keys: &Arc<Vec<String>>,
    value: &Bytes,
    seconds: usize,
) -> anyhow::Result<Seen> {
    let (zipf, mut random) = (Zipf::new(KEYS, SKEW), Random(7));
    let fetches = Arc::new(AtomicU64::new(0));
    let (mut requests, began) = (JoinSet::new(), Instant::now());
    let count = seconds * PER_SECOND;
    for request in 0..count {
        let due = began + Duration::from_secs_f64(request as f64 / PER_SECOND as f64);
        sleep_until(due.into()).await;
        let (cache, keys, value) = (cache.clone(), Arc::clone(keys), value.clone());
        let (key, fetches) = (zipf.draw(&mut random), Arc::clone(&fetches));
        requests.spawn(async move {
            let asked = now();
            let fetch = async move || {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(ORIGIN).await;
                Fetched::new(value)
            };
            cache.get_or_fetch(keys[key].as_str(), fetch).await;
            now() - asked
        });
    }
    let times = requests.join_all().await;
    ensure!(times.len() == count);
    let fetches = fetches.load(Ordering::Relaxed) as f64;
    Ok(Seen { requests: count as f64, fetches, p99: quantile(times, 0.99)? })
}
