//! Gateway: `larder serve` beside its rivals and beside the limit. The servers have one core, what asks
//! them has another; they are measured in turn, in short slices, so that whatever else the machine does
//! meets all of them. Where the load's own core is the narrow one, requests per second would say nothing
//! about a server: the figure is the CPU time that a request costs it.

mod bar;
mod bench;
mod case;
mod certificate;
mod client;
mod contestant;
mod echo;
mod figure;
mod idle;
pub(crate) mod limit;
mod load;
mod memory;
mod options;
pub(crate) mod origin;
mod paced;
mod report;
mod rounds;
pub(crate) mod server;
mod slow;
mod stampede;
mod svg;
mod syscalls;

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};

pub(crate) use self::options::Options;
use self::{bench::Bench, report::Report};

/// Case names that need contestants of their own, or are not CPU time per request.
const OTHER_CASES: [&str; 8] =
    ["tls", "origin-tls", "origin-http2", "paced", "syscalls", "idle", "memory", "stampede"];

/// Measures, writes the files that were asked for, and gives the text to print.
pub(crate) async fn measure(options: &Options) -> anyhow::Result<String> {
    // Everything that was started is stopped by being dropped.
    let report = tokio::select! {
        report = run(options) => report?,
        stopped = told_to_stop() => { stopped?; bail!("stopped") }
    };
    if let Some(file) = &options.json {
        write(file, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(file) = &options.svg {
        write(file, &svg::chart(&report.figures))?;
    }
    Ok(report.text())
}

/// The order of steps.
async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut bench = Bench::start(options).await?;
    let (keys, slow_clients) = if options.short { (10_000, 100) } else { (100_000, 500) };
    let cases: Vec<_> =
        case::all(keys, slow_clients).into_iter().filter(|case| bench.wants(case.id)).collect();
    let others = OTHER_CASES.into_iter().any(|case| bench.wants(case));
    ensure!(!cases.is_empty() || others, "no case is called {}", options.only.join(" or "));

    let mut running = bench.start_all()?;
    for case in &cases {
        bench.cpu_per_request(&mut running, case).await?;
    }
    bench.tls().await?;
    bench.other_links().await?;
    bench.paced(&running).await?;
    bench.syscalls(&running).await?;
    drop(running);
    bench.idle().await?;
    bench.memory().await?;
    bench.stampede().await?;
    Ok(bench.report())
}

pub(crate) async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
