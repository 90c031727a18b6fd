//! Rival: bentocache, with memory and Redis and a bus, asked the same as Larder by the same lines.
//!
//! It is installed by npm into a temporary folder. Where that cannot be, the report says so.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{
    Bench,
    crowd::crowd,
    fleet::{Fleet, all, number},
    report::{Bar, Figure, Unit},
    samples::median,
};
use crate::gateway::server::find_program;

const INSTANCES: usize = 3;
const INSTALL: Duration = Duration::from_secs(180);
const NAME: &str = "bentocache";
const AHEAD: Bar = Bar::TimesAtMost(1.0);

pub(super) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let rival = match Rival::install().await {
        Ok(rival) => rival,
        Err(error) => {
            bench.skip(format!("the rival is left out: {error:#}"));
            return Ok(());
        }
    };
    let (rounds, keys) = if bench.is_short { (2, 300) } else { (5, 1000) };
    let url = bench.server.url();
    let mut ours = Fleet::of_larder(INSTANCES, &url, "rival").await?;
    ours.first().tell(&format!("settle {INSTANCES}")).await?;
    let port = bench.server.port().to_string();
    let program = rival.folder.path().join("rival.mjs");
    let program = program.to_str().context("a folder whose name is no text")?;
    let mut theirs = Fleet::start(INSTANCES, &rival.node, &[program, &port]).await?;
    let (mut our, mut their) = (Seen::default(), Seen::default());
    for round in 0..rounds {
        our.take(&mut ours, round, keys).await?;
        their.take(&mut theirs, round, keys).await?;
    }

    let cases = [
        ("memory hit (getOrFetch)", &our.hits, &their.hits),
        ("L2 hit of 2 kB, p50", &our.below, &their.below),
        ("a purge of a key, until it is gone in the two others", &our.gone, &their.gone),
        ("300 readers of a cold key: last after the origin's last", &our.last, &their.last),
    ];
    for (label, our, their) in cases {
        let label = format!("beside {}: {label}", rival.version);
        let figure = Figure::of_rounds("rival", label, our, (NAME, their)).context("no rounds")?;
        bench.note(figure.bar(AHEAD));
    }
    let label = format!("beside {}: 300 readers of a cold key, fetches", rival.version);
    let fetches = Figure::new("rival", label, Unit::Count, median(our.fetches)?);
    bench.note(fetches.beside(NAME, median(their.fetches)?).bar(AHEAD));
    Ok(())
}

/// Round by round; times in ns.
#[derive(Default)]
struct Seen {
    hits: Vec<f64>,
    below: Vec<f64>,
    gone: Vec<f64>,
    fetches: Vec<f64>,
    last: Vec<f64>,
}

impl Seen {
    async fn take(&mut self, fleet: &mut Fleet, round: usize, keys: usize) -> anyhow::Result<()> {
        fleet.first().tell(&format!("put post-{round} {keys}")).await?;
        let read = fleet.second().tell(&format!("read post-{round} {keys}")).await?;
        ensure!(number(&read, "fetches")? == 0.0, "not all was found below: {read}");
        self.below.push(number(&read, "p50")?);
        let key = format!("post-{round}:0");
        let hits = fleet.second().tell(&format!("hits {key} 20000")).await?;
        self.hits.push(number(&hits, "each")?);
        let mut gone = Vec::new();
        for purged in 0..10 {
            let key = format!("post-{round}:{purged}");
            fleet.tell_all(&format!("hits {key} 1")).await?;
            let said = (format!("purge {key}"), format!("gone {key}"));
            let (purge, others) = fleet.tell_first_and_others(&said.0, &said.1).await?;
            gone.push(all(&others, "at", f64::max)? - number(&purge, "at")?);
            // What is under way to the others is over.
            sleep(Duration::from_millis(20)).await;
        }
        self.gone.push(median(gone)?);
        let (fetches, last) = crowd(fleet, round).await?;
        self.fetches.push(fetches);
        self.last.push(last);
        Ok(())
    }
}

struct Rival {
    node: PathBuf,
    folder: TempDir,
    version: String,
}

impl Rival {
    async fn install() -> anyhow::Result<Rival> {
        let node = find_program("node").context("there is no node here")?;
        let npm = find_program("npm").context("there is no npm here")?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("rival.mjs"), include_str!("rival.mjs"))?;
        // Else npm looks for a project further up.
        std::fs::write(folder.path().join("package.json"), "{\"private\":true}")?;
        let mut command = Command::new(npm);
        command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
        command.args(["--loglevel=error", "bentocache@1", "ioredis@5"]);
        command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        let installed = timeout(INSTALL, command.output()).await;
        let output = installed.context("npm takes too long")??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = said.lines().next().unwrap_or_default();
        ensure!(output.status.success(), "npm cannot install {NAME}: {reason}");
        let manifest = folder.path().join("node_modules/bentocache/package.json");
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
        let version = format!("{NAME} {}", manifest["version"].as_str().unwrap_or("?"));
        Ok(Rival { node, folder, version })
    }
}
