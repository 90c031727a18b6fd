//! Restart: of the server, in order and with AOF. How soon it is gone by again, and whether anything was lost.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use larder::{Cache, lower::LowerTier};
use tokio::time::sleep;

use super::{
    Bench,
    caches::{fill, over, tier, until},
    report::{Bar, Figure, Unit},
    samples::{Content, content},
    server::Server,
};

const KEYS: usize = 500;
/// The default of `max_incoherence`.
const TRUST_NS: f64 = 10e9;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let options = &["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
    let mut server = Server::start_with(options).await?;
    let url = server.url();
    let (writer, reader) = (over(&url, "restart").await?, over(&url, "restart").await?);
    let asked = tier(&url, "restart")?;
    let keys: Vec<_> = (0..2 * KEYS).map(|key| format!("post:{key}")).collect();
    fill(&writer, &keys, &content(Content::Text, 2048), |_| Vec::new()).await?;
    let (before, after) = keys.split_at(KEYS);

    let generation = asked.tail(None).await?.position.generation;
    let ratio_before = ratio(&reader, before).await?;
    let renewals = reader.stats().lower.renewals;
    let answers = server.restart().await?;
    until("a read below", async || asked.tail(None).await.is_ok()).await?;
    let open = answers.elapsed();
    until("trust to be renewed", async || {
        let caches = [&writer, &reader];
        caches.iter().all(|cache| cache.stats().lower.is_trusted)
            && reader.stats().lower.renewals > renewals
    })
    .await?;
    let trusted = answers.elapsed();
    // The caches have left the server alone for a moment.
    let back = Instant::now();
    while !reads_below(&reader).await && back.elapsed() < Duration::from_secs(15) {
        sleep(Duration::from_millis(5)).await;
    }
    let used = answers.elapsed();
    let ratio_after = ratio(&reader, after).await?;
    let is_same = asked.tail(None).await?.position.generation == generation;

    let nanos = |took: Duration| took.as_nanos() as f64;
    let label = "Redis restarted (AOF): until it is gone by again";
    let note = format!(
        "after it answers: the log is open after {open:.0?}, trust renewed after {trusted:.0?}, read below again after {used:.0?}"
    );
    let figure = Figure::new("restart", label, Unit::Nanoseconds, nanos(trusted.max(used)));
    bench.note(figure.bar(Bar::AtMost(TRUST_NS)).note(note));
    let label = "share of misses in memory found below after it, beside before";
    let figure = Figure::new("restart", label, Unit::Share, ratio_after);
    bench.note(figure.beside("before", ratio_before).bar(Bar::AtLeast(ratio_before)));
    let label = "new generations of the log by it";
    let news = if is_same { 0.0 } else { 1.0 };
    bench.note(Figure::new("restart", label, Unit::Count, news).bar(Bar::AtMost(0.0)));
    Ok(())
}

/// The share of `keys`, none of them in memory, that is found below.
async fn ratio(cache: &Cache<Bytes>, keys: &[String]) -> anyhow::Result<f64> {
    let before = cache.stats().lower;
    for key in keys {
        cache.get_or_fetch(key.as_str(), async || Bytes::from_static(b"of the origin")).await;
    }
    let after = cache.stats().lower;
    let (hits, misses) = (after.hits - before.hits, after.misses - before.misses);
    ensure!(hits + misses == keys.len() as u64, "{hits} and {misses} of {}", keys.len());
    Some(hits as f64 / keys.len() as f64).context("no keys")
}

/// Whether a miss asks the server, and is answered.
async fn reads_below(cache: &Cache<Bytes>) -> bool {
    let stats = cache.stats().lower;
    cache.read("nothing").force_refresh().fetch(async || Ok::<_, String>(Bytes::new())).await.ok();
    let after = cache.stats().lower;
    after.failures == stats.failures && after.left_alone == stats.left_alone
}
