//! Below: a hit of 2 kB in Redis, as the tier finds it and as a reader of a cache gets it, beside a bare `GET` of the same
//! bytes. They take turns key by key.

use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use larder::lower::{LogPart, LowerTier};

use super::{
    Bench,
    caches::{fill, over, tier},
    report::{Bar, Figure},
    samples::{Content, content, median},
};

const BYTES: usize = 2048;
const BAR: Bar = Bar::TimesAtMost(1.3);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let (rounds, keys) = if bench.is_short { (5, 400) } else { (15, 2000) };
    for kind in Content::ALL {
        let seen = measure(bench, kind, rounds, keys).await?;
        let beside = ("GET", &seen.bare[..]);
        let label = |what| format!("L2 hit of 2 kB ({}), p50: {what}", kind.name());
        let tier = Figure::of_rounds("below", label("heads of the tier"), &seen.tier, beside);
        let reader = Figure::of_rounds("below", label("get_or_fetch"), &seen.reader, beside);
        // Of the difference, this is not Larder's: how records lie there, and how the client reads that.
        let hash = Figure::of_rounds("below", label("bare HGETALL"), &seen.hash, beside);
        bench.note(hash.context("no rounds")?);
        for figure in [tier, reader] {
            bench.note(figure.context("no rounds")?.bar(BAR));
        }
    }
    Ok(())
}

/// Medians of rounds, in ns.
#[derive(Default)]
struct Seen {
    bare: Vec<f64>,
    hash: Vec<f64>,
    tier: Vec<f64>,
    reader: Vec<f64>,
}

async fn measure(bench: &Bench, kind: Content, rounds: usize, keys: usize) -> anyhow::Result<Seen> {
    let namespace = format!("below-{}", kind.name());
    let (url, mut bare) = (bench.server.url(), bench.server.connect().await?);
    let writer = over(&url, &namespace).await?;
    let reader = over(&url, &namespace).await?;
    let tier = tier(&url, &namespace)?;
    let value = content(kind, BYTES);
    let () = redis::cmd("SET").arg("bare").arg(&value[..]).query_async(&mut bare).await?;
    let mut hash = redis::cmd("HSET");
    hash.arg("bare-hash").arg("").arg(&value[..]).arg("note").arg(":1");
    let () = hash.query_async(&mut bare).await?;
    let mut seen = Seen::default();
    for round in 0..rounds {
        let keys: Vec<_> = (0..keys).map(|key| format!("post:{round}:{key}")).collect();
        fill(&writer, &keys, &value, |key| vec![format!("author:{}", key % 50)]).await?;
        let (mut gets, mut hashes) = (Vec::new(), Vec::new());
        let (mut heads, mut reads) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            for turn in 0..4 {
                let began = Instant::now();
                // Whoever comes first finds the processor colder.
                match (place + turn) % 4 {
                    0 => {
                        let mut get = redis::cmd("GET");
                        let got: Vec<u8> = get.arg("bare").query_async(&mut bare).await?;
                        gets.push(began.elapsed().as_nanos() as f64);
                        ensure!(got.len() == value.len());
                    }
                    1 => {
                        let mut get = redis::cmd("HGETALL");
                        let got: Vec<(Vec<u8>, Vec<u8>)> =
                            get.arg("bare-hash").query_async(&mut bare).await?;
                        hashes.push(began.elapsed().as_nanos() as f64);
                        ensure!(got.len() == 2);
                    }
                    2 => {
                        let found = tier.heads(key, LogPart::Nothing).await?;
                        heads.push(began.elapsed().as_nanos() as f64);
                        ensure!(found.records.len() == 1, "{key} is not below");
                    }
                    _ => {
                        let fetch = async || -> Bytes { unreachable!("it is below") };
                        let got = reader.get_or_fetch(key.as_str(), fetch).await;
                        reads.push(began.elapsed().as_nanos() as f64);
                        ensure!(got.len() == value.len());
                    }
                }
            }
        }
        seen.bare.push(median(gets)?);
        seen.hash.push(median(hashes)?);
        seen.tier.push(median(heads)?);
        seen.reader.push(median(reads)?);
    }
    let hits = reader.stats().lower.hits;
    ensure!(hits == (rounds * keys) as u64, "{hits} of {} were found below", rounds * keys);
    Ok(seen)
}
