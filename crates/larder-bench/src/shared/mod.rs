//! Shared: the tier on Redis beside what it stands on: a bare `GET` of the same bytes, a cache without a tier, and
//! another cache of memory and Redis. What is compared takes turns in one run. The server is a `redis-server` of the
//! bench's own; where several instances matter they are processes of their own.

mod below;
mod caches;
mod changes;
mod crowd;
mod first_byte;
mod fleet;
pub(crate) mod instance;
mod memory;
mod options;
mod purges;
mod report;
mod rival;
mod samples;
mod server;
mod warm;

use std::fs;

use anyhow::{Context, bail, ensure};

pub(crate) use self::options::Options;
use self::{
    report::{Figure, Report},
    server::Server,
};
use crate::{gateway::told_to_stop, machine::Machine};

const CASES: [&str; 8] =
    ["below", "memory", "first-byte", "purges", "crowd", "changes", "warm", "rival"];

/// Measures, writes the file that was asked for, and gives the text to print.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<String> {
    // Everything that was started is stopped by being dropped.
    let report = tokio::select! {
        report = run(options) => report?,
        stopped = told_to_stop() => { stopped?; bail!("stopped") }
    };
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.text())
}

/// One run: what it works with, and what it has seen so far.
struct Bench {
    is_short: bool,
    server: Server,
    figures: Vec<Figure>,
    skipped: Vec<String>,
}

/// The order of steps.
async fn run(options: &Options) -> anyhow::Result<Report> {
    let unknown = options.only.iter().find(|case| !CASES.contains(&case.as_str()));
    ensure!(unknown.is_none(), "no case is called {}", unknown.map_or("", String::as_str));
    let load_before = load();
    let server = Server::start().await?;
    let mut bench =
        Bench { is_short: options.short, server, figures: Vec::new(), skipped: Vec::new() };
    let wants =
        |case: &&str| options.only.is_empty() || options.only.iter().any(|only| only == case);
    for case in CASES.into_iter().filter(wants) {
        eprintln!("{case} …");
        let ran = match case {
            "below" => below::run(&mut bench).await,
            "memory" => memory::run(&mut bench).await,
            "first-byte" => first_byte::run(&mut bench).await,
            "purges" => purges::run(&mut bench).await,
            "crowd" => crowd::run(&mut bench).await,
            "changes" => changes::run(&mut bench).await,
            "warm" => warm::run(&mut bench).await,
            _ => rival::run(&mut bench).await,
        };
        // The others are worth seeing all the same.
        if let Err(error) = ran {
            bench.skip(format!("{case} could not be measured: {error:#}"));
        }
    }
    let version = bench.server.version().await?;
    Ok(Report {
        machine: Machine::this(),
        load_before,
        load_after: load(),
        server: version,
        is_short: options.short,
        figures: bench.figures,
        skipped: bench.skipped,
    })
}

impl Bench {
    /// Takes in a figure, and says it at once to whoever waits.
    fn note(&mut self, figure: Figure) {
        eprintln!("  {}", figure.line());
        self.figures.push(figure);
    }

    fn skip(&mut self, sentence: String) {
        eprintln!("  {sentence}");
        self.skipped.push(sentence);
    }
}

/// How many processes wanted a core in the last minute, on average.
fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}
