//! Instance: one process of several over one server. It is told what to do in lines, and answers each with one of JSON.
//!
//! | line | what it does | what it answers |
//! | --- | --- | --- |
//! | `ready` | waits until it goes by what it knows | |
//! | `settle N` | waits until a purge holds for N | |
//! | `put PREFIX N` | fetches N keys, which are then below | |
//! | `read PREFIX N` | reads N keys once | `p50`, `fetches` |
//! | `hits KEY N` | reads a key N times | `each` |
//! | `crowd KEY N MS` | N readers at once, of what takes so long to fetch | `fetches`, `fetched`, `last` |
//! | `purge KEY` | purges a key for all | `at` |
//! | `gone KEY` | waits until it is gone from here | `at` |
//! | `singles N` | purges N tags one by one, each for all | `p50`, `p99` |
//! | `burst N` | purges N tags as fast as it can, for all | `took`, `overflows`, `by` |
//! | `stats` | | `gaps`, `learnt` |
//! | `pace N`, `stop` | purges N tags a second until it is to stop | `made` |
//!
//! Times are in ns; moments are those of the machine's monotonic clock.

use std::{
    convert::Infallible,
    io::stdin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use larder::{Cache, Purge, Tier, TierState};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    caches::{fill, over, settles, trusts},
    samples::{Content, content, now, quantile},
};

/// So many purges wait to be sent at most: fewer than become one of everything.
const OUTSTANDING: u64 = 8192;
/// So often that is looked at.
const LOOK_AFTER: u64 = 512;
/// Names of tags, which come up in turn.
const TAGS: u64 = 10_000;
const GONE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

pub(crate) async fn serve(url: &str, namespace: &str) -> anyhow::Result<()> {
    let mut instance = Instance { cache: over(url, namespace).await?, pacing: None };
    let (line, mut lines) = mpsc::unbounded_channel();
    // It waits for input without end, on a thread of its own, and ends with the process.
    std::thread::spawn(move || {
        stdin().lines().map_while(Result::ok).try_for_each(|it| line.send(it))
    });
    while let Some(line) = lines.recv().await {
        let words: Vec<_> = line.split_whitespace().collect();
        let answer = match instance.answer(&words).await {
            Ok(answer) => answer,
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        println!("{answer}");
    }
    instance.cache.shut_down(Duration::from_secs(1)).await;
    Ok(())
}

struct Instance {
    cache: Cache<Bytes>,
    pacing: Option<(JoinHandle<()>, Arc<AtomicU64>)>,
}

impl Instance {
    async fn answer(&mut self, words: &[&str]) -> anyhow::Result<Value> {
        match *words {
            ["ready"] => trusts(&self.cache).await.map(|()| json!({})),
            ["settle", readers] => settles(&self.cache, readers.parse()?).await.map(|()| json!({})),
            ["put", prefix, count] => self.put(prefix, count.parse()?).await,
            ["read", prefix, count] => self.read(prefix, count.parse()?).await,
            ["hits", key, count] => self.hits(key, count.parse()?).await,
            ["crowd", key, readers, ms] => self.crowd(key, readers.parse()?, ms.parse()?).await,
            ["purge", key] => self.purge(key).await,
            ["gone", key] => self.gone(key).await,
            ["singles", count] => self.singles(count.parse()?).await,
            ["burst", count] => self.burst(count.parse()?).await,
            ["stats"] => {
                let lower = self.cache.stats().lower;
                Ok(json!({ "gaps": lower.gaps, "learnt": lower.purges_learnt }))
            }
            ["pace", rate] => self.pace(rate.parse()?),
            ["stop"] => {
                let (task, made) = self.pacing.take().context("nothing to stop")?;
                task.abort();
                Ok(json!({ "made": made.load(Ordering::Relaxed) }))
            }
            _ => bail!("what is that: {}", words.join(" ")),
        }
    }

    async fn put(&self, prefix: &str, count: usize) -> anyhow::Result<Value> {
        let value = content(Content::Text, 2048);
        fill(&self.cache, &keys(prefix, count), &value, |_| Vec::new()).await?;
        Ok(json!({}))
    }

    async fn read(&self, prefix: &str, count: usize) -> anyhow::Result<Value> {
        let (fetches, mut times) = (self.cache.stats().fetches, Vec::with_capacity(count));
        for key in keys(prefix, count) {
            let began = now();
            let fetch = async || content(Content::Text, 2048);
            let value = self.cache.get_or_fetch(key.as_str(), fetch).await;
            times.push(now() - began);
            ensure!(value.len() == 2048);
        }
        let fetches = self.cache.stats().fetches - fetches;
        Ok(json!({ "p50": quantile(times, 0.5)?, "fetches": fetches }))
    }

    async fn hits(&self, key: &str, count: usize) -> anyhow::Result<Value> {
        let began = now();
        for _ in 0..count {
            let fetch = async || content(Content::Text, 2048);
            let value = self.cache.get_or_fetch(key, fetch).await;
            ensure!(value.len() == 2048);
        }
        Ok(json!({ "each": (now() - began) / count as f64 }))
    }

    async fn crowd(&self, key: &str, readers: usize, ms: u64) -> anyhow::Result<Value> {
        let (fetches, fetched) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let each = (0..readers).map(|_| {
            let (cache, key) = (self.cache.clone(), key.to_owned());
            let (fetches, fetched) = (Arc::clone(&fetches), Arc::clone(&fetched));
            tokio::spawn(async move {
                let fetch = async move || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(ms)).await;
                    fetched.fetch_max(now() as u64, Ordering::SeqCst);
                    Ok::<_, Infallible>(content(Content::Text, 2048))
                };
                cache.try_get_or_fetch(key, fetch).await.map(|_| now())
            })
        });
        let mut last = 0.0_f64;
        for answer in join_all(each).await {
            last = last.max(answer?.context("a reader had no answer")?);
        }
        let (fetches, fetched) = (fetches.load(Ordering::SeqCst), fetched.load(Ordering::SeqCst));
        Ok(json!({ "fetches": fetches, "fetched": fetched, "last": last }))
    }

    async fn purge(&self, key: &str) -> anyhow::Result<Value> {
        let at = now();
        self.cache.purge(Purge::key(key).hard().wait(Tier::Shared)).await?;
        Ok(json!({ "at": at }))
    }

    /// On a thread of its own, for the runtime's timers are no finer than a millisecond, and round up.
    async fn gone(&self, key: &str) -> anyhow::Result<Value> {
        let (cache, key, began) = (self.cache.clone(), key.to_owned(), now());
        let looking = tokio::task::spawn_blocking(move || {
            while cache.get(key.as_str()).is_some() {
                ensure!(now() - began < GONE.as_nanos() as f64, "{key} is still here");
                std::thread::sleep(LOOK);
            }
            Ok(json!({ "at": now() }))
        });
        looking.await?
    }

    async fn singles(&self, count: u64) -> anyhow::Result<Value> {
        let (mut times, mut by) = (Vec::new(), 0);
        for number in 0..count {
            let began = now();
            by = self.purge_for_all(number).await?;
            times.push(now() - began);
        }
        let (p50, p99) = (quantile(times.clone(), 0.5)?, quantile(times, 0.99)?);
        Ok(json!({ "p50": p50, "p99": p99, "by": by }))
    }

    /// A receipt that all have applied the last says that they have applied all.
    async fn burst(&self, count: u64) -> anyhow::Result<Value> {
        let (before, began) = (self.cache.stats().lower, now());
        for number in 0..count - 1 {
            self.cache.purge_tag(&tag(number));
            if number % LOOK_AFTER == 0 {
                while self.cache.stats().lower.purges_outstanding > OUTSTANDING {
                    sleep(Duration::from_millis(1)).await;
                }
                tokio::task::yield_now().await;
            }
        }
        let by = self.purge_for_all(count - 1).await?;
        let took = now() - began;
        let overflows = self.cache.stats().lower.overflows - before.overflows;
        Ok(json!({ "took": took, "overflows": overflows, "by": by }))
    }

    /// For how many it holds.
    async fn purge_for_all(&self, number: u64) -> anyhow::Result<usize> {
        let purge = Purge::tag(tag(number)).hard().wait(Tier::Shared);
        let receipt = self.cache.purge(purge).await?;
        match receipt.tiers.last().map(|it| &it.state) {
            Some(TierState::Applied { by, of }) if by == of => Ok(*by),
            _ => bail!("a purge does not hold for all: {receipt}"),
        }
    }

    fn pace(&mut self, rate: u64) -> anyhow::Result<Value> {
        ensure!(self.pacing.is_none(), "it purges already");
        let (cache, made) = (self.cache.clone(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&made);
        // A few at each tick: timers are no finer than a millisecond.
        let mut ticks = interval(Duration::from_millis(10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let task = tokio::spawn(async move {
            loop {
                ticks.tick().await;
                for _ in 0..rate.div_ceil(100) {
                    cache.purge_tag(&tag(counted.fetch_add(1, Ordering::Relaxed)));
                }
            }
        });
        self.pacing = Some((task, made));
        Ok(json!({}))
    }
}

fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}:{number}")).collect()
}

fn tag(number: u64) -> String {
    format!("of-others:{}", number % TAGS)
}
