//! Memory: a hit there with the tier below and without it, and while another process purges.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use larder::{Cache, Fetched};
use tokio::time::sleep;

use super::{
    Bench,
    caches::{TTL, fill, over},
    fleet::Fleet,
    report::{Bar, Figure},
    samples::{Content, Random, Zipf, content, median, own_time},
};

const KEYS: usize = 10_000;
const DRAWS: usize = 300_000;
const TAGS: usize = 100;
/// By others, in a second.
const PURGES: u32 = 1000;

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    // Where its memory happens to lie makes a tenth of difference: each is built several times.
    let (instances, rounds) = if bench.is_short { (2, 6) } else { (5, 9) };
    let (mut quiet, mut purging) = (Seen::default(), Seen::default());
    let (mut per_second, mut per_own_second) = (Vec::new(), Vec::new());
    let keys: Vec<_> = (0..KEYS).map(|key| format!("post:{key}")).collect();
    let (zipf, mut random) = (Zipf::new(KEYS, 0.99), Random(42));
    let draws: Vec<_> = (0..DRAWS).map(|_| zipf.draw(&mut random)).collect();
    let reading = Reading { keys, draws };
    for instance in 0..instances {
        let namespace = format!("memory-{instance}");
        let value = content(Content::Text, 2048);
        let tags = |key: usize| vec![format!("tag:{}", key % TAGS), format!("post:{key}")];
        let off = Cache::builder().ttl(TTL).max_bytes(256 << 20).build();
        let on = over(&bench.server.url(), &namespace).await?;
        fill(&on, &reading.keys, &value, tags).await?;
        for (place, key) in reading.keys.iter().enumerate() {
            let (value, tags) = (value.clone(), tags(place));
            off.get_or_fetch(key.as_str(), async move || Fetched::new(value).tags(tags)).await;
        }
        // That every entry has met a purge.
        on.purge_tag("of nothing");
        off.purge_tag("of nothing");
        for round in 0..rounds {
            quiet.take(&reading, &off, &on, round).await?;
        }
        let mut others = Fleet::of_larder(1, &bench.server.url(), &namespace).await?;
        others.first().tell(&format!("pace {PURGES}")).await?;
        sleep(Duration::from_millis(200)).await;
        let before = on.stats().lower.purges_learnt;
        let (began, read) = (Instant::now(), purging.took());
        for round in 0..rounds {
            purging.take(&reading, &off, &on, round).await?;
        }
        let learnt = (on.stats().lower.purges_learnt - before) as f64;
        per_second.push(learnt / began.elapsed().as_secs_f64());
        // Where the reader has not had a processor to itself, more purges come in the time that it has had.
        let share = (purging.took() - read) / began.elapsed().as_nanos() as f64;
        per_own_second.push(learnt / began.elapsed().as_secs_f64() / share);
        others.first().tell("stop").await?;
        ensure!(on.stats().lower.gaps == 0, "the log has lost purges");
    }
    let beside = "no tier";
    let figure = |label, Seen { off, on }: &Seen| {
        Figure::of_rounds("memory", label, on, (beside, off)).context("no rounds")
    };
    let plain = figure("memory hit with the tier", &quiet)?;
    bench.note(plain.bar(Bar::TimesAtMost(1.03)));
    let label = "the same while another process purges 1000 tags a second";
    let note = format!(
        "{:.0} purges a second were learnt, {:.0} in a second of the readers' own time: about 1000 where they have a core to themselves",
        median(per_second)?,
        median(per_own_second)?
    );
    let busy = figure(label, &purging)?.bar(Bar::TimesAtMost(1.2)).note(note);
    bench.note(busy);
    Ok(())
}

#[derive(Clone)]
struct Reading {
    keys: Vec<String>,
    draws: Vec<usize>,
}

/// The time of a hit, round by round, in ns.
#[derive(Default)]
struct Seen {
    off: Vec<f64>,
    on: Vec<f64>,
}

impl Seen {
    /// What all hits took, in ns.
    fn took(&self) -> f64 {
        self.off.iter().chain(&self.on).sum::<f64>() * DRAWS as f64
    }

    async fn take(
        &mut self,
        reading: &Reading,
        off: &Cache<Bytes>,
        on: &Cache<Bytes>,
        round: usize,
    ) -> anyhow::Result<()> {
        let (off, on, of_both) = (off.clone(), on.clone(), reading.clone());
        // On a thread of its own, so that the caches' tasks go on here.
        let (off, on) = tokio::task::spawn_blocking(move || {
            // Whoever comes second has the other's keys in its processor's caches.
            if round.is_multiple_of(2) {
                let off = hits(&of_both, &off)?;
                anyhow::Ok((off, hits(&of_both, &on)?))
            } else {
                let on = hits(&of_both, &on)?;
                anyhow::Ok((hits(&of_both, &off)?, on))
            }
        })
        .await??;
        self.off.push(off);
        self.on.push(on);
        Ok(())
    }
}

fn hits(reading: &Reading, cache: &Cache<Bytes>) -> anyhow::Result<f64> {
    let (began, mut found) = (own_time(), 0_usize);
    for &draw in &reading.draws {
        found += usize::from(cache.get(reading.keys[draw].as_str()).is_some());
    }
    let took = own_time() - began;
    let draws = reading.draws.len();
    ensure!(found == draws, "{found} of {draws} were in memory");
    Ok(took / draws as f64)
}
