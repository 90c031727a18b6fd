//! `larder stats`: the counters of a gateway that runs, on one screen.

use std::{fmt::Write, time::Duration};

use clap::Args;
use serde_json::Value;

use crate::ask::{AskError, Where};

const BUDGET: Duration = Duration::from_secs(5);

/// Prints what a gateway has counted, by way of its admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it has answered, 1 it has not, 2 wrong usage.

Examples, with a gateway that was started with --admin 127.0.0.1:9191:
  larder stats
  larder stats --json | jq .hit_ratio")]
pub(crate) struct Stats {
    /// Print all counters as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Where,
}

/// What is told of each cache: the counter, and what it counts.
const ROWS: [(&str, &str); 8] = [
    ("hits", "answers from the cache"),
    ("misses", "questions that it had no answer for"),
    ("stale_served", "stale answers"),
    ("collapsed", "waited for the same answer as another"),
    ("fetches", "questions to the service"),
    ("fetch_failures", "of them without an answer"),
    ("entries", "answers stored"),
    ("purges", "purges"),
];

impl Stats {
    /// What to print.
    pub(crate) fn run(self) -> Result<String, AskError> {
        let Stats { json, admin } = self;
        let said = admin.ask("/v1/stats", None, BUDGET)?;
        Ok(if json { format!("{said}\n") } else { told(&said) })
    }
}

fn told(said: &Value) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a text takes what is written");
    let up = Duration::from_secs(said["uptime_seconds"].as_f64().unwrap_or_default() as u64);
    line(&format!("up for {}", humantime::format_duration(up)));
    let ratio = said["hit_ratio"].as_f64();
    line(&ratio.map_or("no questions yet".to_owned(), |ratio| {
        format!("hit ratio {:.1} %: so many cost the service nothing", ratio * 100.0)
    }));
    for cache in said["caches"].as_array().into_iter().flatten() {
        line(&format!("{}:", cache["name"].as_str().unwrap_or_default()));
        for (name, meaning) in ROWS {
            let count = cache[name].as_u64().unwrap_or_default();
            line(&format!("  {count:>12} {meaning}"));
        }
        let mebibytes = cache["bytes"].as_u64().unwrap_or_default() >> 20;
        line(&format!("  {mebibytes:>12} MiB of memory"));
    }
    text
}
