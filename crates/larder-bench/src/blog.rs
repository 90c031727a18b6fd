//! Blog: the story in numbers, without and with the cache.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde::Serialize;

use crate::process::Blog;

const USERS: usize = 100;
const IN_A_ROW: usize = 10;
/// Enough for a median that stands still; without a cache each takes two seconds.
const REPEATS_CACHED: usize = 2000;
const REPEATS_UNCACHED: usize = 3;
const BUDGET: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    without_cache: Measured,
    with_cache: Measured,
}

#[derive(Debug, Serialize)]
struct Measured {
    first_load_ms: f64,
    repeated_load_median_ms: f64,
    repeated_load_p99_ms: f64,
    ten_loads_ms: f64,
    crowd: Crowd,
    idle_resident_mb: f64,
}

#[derive(Debug, Serialize)]
struct Crowd {
    users: usize,
    answered: usize,
    fetches: usize,
    last_answer_ms: f64,
}

pub(crate) async fn measure(binary: &Path) -> anyhow::Result<Report> {
    eprintln!("without the cache (about 32 s) …");
    let without_cache = story(binary, false, REPEATS_UNCACHED).await?;
    eprintln!("with the cache (about 10 s) …");
    let with_cache = story(binary, true, REPEATS_CACHED).await?;
    Ok(Report { without_cache, with_cache })
}

async fn story(binary: &Path, cache_enabled: bool, repeats: usize) -> anyhow::Result<Measured> {
    let blog = Blog::start(binary, cache_enabled).await?;
    // What it holds once start-up is over and nobody has asked for anything.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_resident_mb = blog.resident_bytes()? as f64 / 1e6;

    let client = Client::builder().timeout(BUDGET).build()?;
    // The connection is made beforehand: it is kept in all that follows.
    client.get(format!("{}/health", blog.backend)).send().await?.bytes().await?;
    let first_load_ms = load(&client, &blog, 1).await?;
    let mut repeated = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        repeated.push(load(&client, &blog, 1).await?);
    }
    repeated.sort_by(f64::total_cmp);

    let began = Instant::now();
    for _ in 0..IN_A_ROW {
        load(&client, &blog, 2).await?;
    }
    let ten_loads_ms = millis(began.elapsed());
    Ok(Measured {
        first_load_ms,
        repeated_load_median_ms: repeated[repeats / 2],
        repeated_load_p99_ms: repeated[repeats * 99 / 100],
        ten_loads_ms,
        crowd: crowd(&blog, cache_enabled).await?,
        idle_resident_mb,
    })
}

/// Loads a post whole; the time it took in ms.
async fn load(client: &Client, blog: &Blog, post: u32) -> anyhow::Result<f64> {
    let began = Instant::now();
    let response = client.get(format!("{}/api/posts/{post}", blog.backend)).send().await?;
    ensure!(response.status() == StatusCode::OK, "post {post}: {}", response.status());
    response.bytes().await?;
    Ok(millis(began.elapsed()))
}

/// A hundred users, each with a connection of its own, ask for one post that nobody asked for yet.
async fn crowd(blog: &Blog, cache_enabled: bool) -> anyhow::Result<Crowd> {
    let url = format!("{}/api/posts/3", blog.backend);
    let fetches_before = counted_fetches(blog).await?;
    let began = Instant::now();
    let users = (0..USERS).map(|_| async {
        let client = Client::builder().timeout(BUDGET).build()?;
        let response = client.get(&url).send().await?;
        let is_ok = response.status() == StatusCode::OK;
        let status = response.headers().get("cache-status");
        let status = status.and_then(|status| status.to_str().ok()).unwrap_or_default();
        let is_origin_call = status.contains(";fwd=") && !status.contains(";collapsed");
        response.bytes().await?;
        anyhow::Ok((is_ok, is_origin_call, began.elapsed()))
    });
    let seen: Vec<_> = join_all(users).await.into_iter().flatten().collect();
    let fetches = seen.iter().filter(|(_, is_origin_call, _)| *is_origin_call).count();
    if cache_enabled {
        // Two ways to count, one by the readers and one by the engine, must agree.
        let counted = counted_fetches(blog).await? - fetches_before;
        ensure!(
            counted == fetches as u64,
            "{fetches} answers were fetched, but the engine counts {counted}"
        );
    }
    Ok(Crowd {
        users: USERS,
        answered: seen.iter().filter(|(is_ok, ..)| *is_ok).count(),
        fetches,
        last_answer_ms: seen.iter().map(|(.., took)| millis(*took)).fold(0.0, f64::max),
    })
}

/// The engine's own count of fetches.
async fn counted_fetches(blog: &Blog) -> anyhow::Result<u64> {
    let stats = reqwest::get(format!("{}/v1/stats", blog.console)).await?.bytes().await?;
    let stats: serde_json::Value = serde_json::from_slice(&stats)?;
    stats["caches"][0]["fetches"].as_u64().context("no fetches in the console's stats")
}

impl Report {
    /// The table of the README.
    pub(crate) fn table(&self) -> String {
        let rows = [
            ("first load of a post", self.both(|run| time(run.first_load_ms))),
            ("repeated load, median", self.both(|run| time(run.repeated_load_median_ms))),
            ("10 loads of one post", self.both(|run| time(run.ten_loads_ms))),
            (
                "100 users on one cold post: calls of the posts service",
                self.both(|run| run.crowd.fetches.to_string()),
            ),
            (
                "100 users on one cold post: answered, last one after",
                self.both(|run| {
                    format!("{}, {}", run.crowd.answered, time(run.crowd.last_answer_ms))
                }),
            ),
            ("resident memory, idle", self.both(|run| format!("{:.0} MB", run.idle_resident_mb))),
        ];
        let mut table = "| | without cache | with cache |\n| --- | --- | --- |\n".to_owned();
        for (name, [without, with]) in rows {
            table += &format!("| {name} | {without} | {with} |\n");
        }
        table
    }

    fn both(&self, show: impl Fn(&Measured) -> String) -> [String; 2] {
        [show(&self.without_cache), show(&self.with_cache)]
    }
}

fn time(ms: f64) -> String {
    match ms {
        10_000.0.. => format!("{:.1} s", ms / 1000.0),
        100.0.. => format!("{ms:.0} ms"),
        _ => format!("{ms:.2} ms"),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
