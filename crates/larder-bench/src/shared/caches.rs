//! Caches: one with a tier on the server, when it is ready to be measured, and what lies in it.

use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use futures_util::future::join_all;
use larder::{Cache, Fetched, Purge, Tier, TierState, codec::Raw, redis::Redis};
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(2);
/// So many are filled at once: fewer than may be on their way down.
const AT_ONCE: usize = 32;
pub(super) const TTL: Duration = Duration::from_secs(3600);

/// A tier of its own, as another process has.
pub(super) fn tier(url: &str, namespace: &str) -> anyhow::Result<Redis> {
    Ok(Redis::options(url).namespace(namespace).connect()?)
}

/// A cache of bytes over a tier of its own, once it goes by what it knows.
pub(super) async fn over(url: &str, namespace: &str) -> anyhow::Result<Cache<Bytes>> {
    let cache = Cache::builder().ttl(TTL).max_bytes(256 << 20);
    let cache = cache.lower(tier(url, namespace)?, Raw).build();
    trusts(&cache).await?;
    Ok(cache)
}

pub(super) async fn trusts<V: Clone + Send + Sync + 'static>(
    cache: &Cache<V>,
) -> anyhow::Result<()> {
    until("a cache that goes by what it knows", async || cache.stats().lower.is_trusted).await
}

/// Until a purge holds for so many: for a while after a log began nobody can say so.
pub(super) async fn settles<V: Clone + Send + Sync + 'static>(
    cache: &Cache<V>,
    readers: usize,
) -> anyhow::Result<()> {
    let all = TierState::Applied { by: readers, of: readers };
    until("a purge that holds for all", async || {
        let purge = Purge::tag("of nothing").hard().wait(Tier::Shared);
        let receipt = cache.purge(purge).await;
        receipt.is_ok_and(|receipt| receipt.tiers.last().is_some_and(|it| it.state == all))
    })
    .await
}

/// Fetches each of `keys`, none of which is there, and waits until all are written below.
pub(super) async fn fill(
    cache: &Cache<Bytes>,
    keys: &[String],
    value: &Bytes,
    tags: impl Fn(usize) -> Vec<String>,
) -> anyhow::Result<()> {
    for (part, keys) in keys.chunks(AT_ONCE).enumerate() {
        let before = written(cache);
        let each = keys.iter().enumerate().map(|(place, key)| {
            let (value, tags) = (value.clone(), tags(part * AT_ONCE + place));
            cache.get_or_fetch(key.as_str(), async move || Fetched::new(value).tags(tags))
        });
        join_all(each).await;
        let all = before + keys.len() as u64;
        until("what was fetched to be written", async || written(cache) >= all).await?;
    }
    Ok(())
}

fn written(cache: &Cache<Bytes>) -> u64 {
    let lower = cache.stats().lower;
    lower.writes + lower.writes_refused + lower.writes_dropped
}

/// Asks again and again whether it has come true.
pub(super) async fn until(
    what: &'static str,
    mut is_true: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_true().await {
        if began.elapsed() > PATIENCE {
            bail!("waited in vain for {what}");
        }
        sleep(STEP).await;
    }
    Ok(())
}
