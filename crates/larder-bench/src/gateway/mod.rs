//! Gateway: `larder serve` beside its rivals and beside the limit. The servers have one core, what asks
//! them has another; they are measured in turn, in short slices, so that whatever else the machine does
//! meets all of them. Where the load's own core is the narrow one, requests per second would say nothing
//! about a server: the figure is the CPU time that a request costs it.

mod bar;
mod case;
mod certificate;
mod client;
mod contestant;
mod figure;
mod idle;
pub(crate) mod limit;
mod load;
mod memory;
pub(crate) mod origin;
mod paced;
mod report;
mod rounds;
mod server;
mod slow;
mod spread;
mod stampede;
mod svg;
mod syscalls;

use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

use self::{
    certificate::Certificate,
    client::Client,
    contestant::{Contestant, Setting, Who},
    figure::{Absent, Figure, Samples, Unit, figures},
    report::{Machine, Named, Report, Run},
    server::{Server, find_program},
};

/// Case names that need contestants of their own, or are not CPU time per request.
const OTHER_CASES: [&str; 6] = ["tls", "paced", "syscalls", "idle", "memory", "stampede"];

/// Measures the gateway beside nginx, HAProxy, Varnish and the least that is possible.
#[derive(Debug, Args)]
#[command(after_help = "\
On a machine that is busy with other things, latencies are those of its scheduler. As root, both cores
can be had for as long as it takes: chrt -f 5 larder-bench gateway --only hit-2k,paced --rounds 5")]
pub(crate) struct Options {
    /// The `larder` binary; by default the one beside this
    #[arg(long, value_name = "PATH")]
    larder: Option<PathBuf>,
    /// A couple of minutes: three rounds, fewer objects, nginx as the only rival
    #[arg(long)]
    short: bool,
    /// How often each contestant is measured in each case
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// How long each time
    #[arg(long, value_name = "MS")]
    slice_ms: Option<u64>,
    /// How many requests a second the paced case makes
    #[arg(long, value_name = "N", default_value_t = 40_000)]
    per_second: u32,
    /// Only these cases: hit-512, hit-2k, hit-16k, hit-256k, hit-1m, keys, vary, range, not-modified,
    /// pass, slow-clients, http2, tls, paced, syscalls, idle, memory, stampede
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// Write everything that was seen, round by round
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw CPU time per request
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where the servers run
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    server_core: usize,
    /// Where the load, the origin and the bench itself run
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    load_core: usize,
}

/// What a run works with, and what it has seen so far.
struct Bench {
    setting: Setting,
    run: Run,
    who: Vec<Who>,
    only: Vec<String>,
    /// Asks how often it was asked.
    origin: Client,
    figures: Vec<Figure>,
    absent: Vec<Absent>,
    skipped: Vec<String>,
    /// Gone when dropped.
    _origin_server: Server,
    _origin_folder: tempfile::TempDir,
}

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
    bench.paced(&running).await?;
    bench.syscalls(&running).await?;
    drop(running);
    bench.idle().await?;
    bench.memory().await?;
    bench.stampede().await?;
    Ok(bench.report())
}

impl Bench {
    async fn start(options: &Options) -> anyhow::Result<Bench> {
        let larder = match &options.larder {
            Some(path) => fs::canonicalize(path),
            None => std::env::current_exe().map(|path| path.with_file_name("larder")),
        }?;
        ensure!(
            larder.is_file(),
            "{} is missing: cargo build --release -p larder-cli",
            larder.display()
        );
        ensure!(find_program("wrk").is_some(), "wrk makes the load: apt-get install wrk");
        ensure!(options.server_core != options.load_core, "servers and load need a core each");
        pin(options.load_core)?;
        let open_files = raise_open_files();

        let defaults = if options.short { (3, 300) } else { (15, 500) };
        let idle_connections = if options.short { 2000 } else { 10_000 };
        let run = Run {
            is_short: options.short,
            rounds: options.rounds.unwrap_or(defaults.0).max(1),
            slice_ms: options.slice_ms.unwrap_or(defaults.1).max(100),
            paced_per_second: options.per_second.max(1),
            // The rest is for what else the bench has open.
            idle_connections: idle_connections.min(usize::try_from(open_files / 2)?),
            objects: if options.short { 20_000 } else { 200_000 },
            stampede_readers: 1000.min(usize::try_from(open_files / 2)?),
        };
        let folder = tempfile::tempdir()?;
        let program = std::env::current_exe()?;
        let mut server = Server::start(options.load_core, folder.path(), &program, &["origin"])?;
        let origin = server.lines(1)?[0].parse()?;
        let mut bench = Bench {
            setting: Setting {
                larder,
                core: options.server_core,
                origin,
                answers: Vec::new(),
                open_files,
                certificate: Certificate::make(folder.path())?,
            },
            run,
            who: Vec::new(),
            only: options.only.clone(),
            origin: Client::connect(origin).await?,
            figures: Vec::new(),
            absent: Vec::new(),
            skipped: Vec::new(),
            _origin_server: server,
            _origin_folder: folder,
        };
        for case in case::all(1, 0) {
            if !bench.setting.answers.contains(&case.answer) {
                bench.setting.answers.push(case.answer);
            }
        }
        bench.choose_contestants();
        Ok(bench)
    }

    /// Those that are installed, and in the short form only those that Larder is compared with first.
    fn choose_contestants(&mut self) {
        for who in Who::ALL {
            if self.run.is_short && matches!(who, Who::Haproxy | Who::Varnish) {
                continue;
            }
            match contestant::installed(who) {
                Ok(_) => self.who.push(who),
                Err(package) => {
                    self.skip(format!(
                        "{} is not installed: apt-get install {package}",
                        who.name()
                    ));
                }
            }
        }
    }

    /// A rival that does not start is left out; without Larder and the limit there is nothing to compare.
    fn start_all(&mut self) -> anyhow::Result<Vec<Contestant>> {
        let mut running = Vec::new();
        for who in self.who.clone() {
            match Contestant::start(who, &self.setting) {
                Ok(contestant) => running.push(contestant),
                Err(why) if matches!(who, Who::Limit | Who::Larder) => return Err(why),
                Err(why) => {
                    self.who.retain(|other| *other != who);
                    self.leave_out("all cases", who, &why);
                }
            }
        }
        Ok(running)
    }

    fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }

    fn slice(&self) -> Duration {
        Duration::from_millis(self.run.slice_ms)
    }

    /// Nobody answers in the open and over TLS at one address, so all are started once more.
    async fn tls(&mut self) -> anyhow::Result<()> {
        if !self.wants("tls") {
            return Ok(());
        }
        let case = case::over_tls();
        let mut running = Vec::new();
        for who in self.who.clone().into_iter().filter(|who| case.has(*who)) {
            match Contestant::start_over_tls(who, &self.setting) {
                Ok(contestant) => running.push(contestant),
                Err(why) => self.leave_out(case.id, who, &why),
            }
        }
        self.cpu_per_request(&mut running, &case).await
    }

    /// Takes in what was seen, and says it at once to whoever waits.
    fn note(&mut self, case: &str, label: &str, unit: Unit, seen: Vec<Samples>) {
        let figures = figures(case, label, unit, seen);
        let said = figures
            .iter()
            .map(|figure| format!("{} {}", figure.who.name(), unit.show(figure.spread.median)));
        if !figures.is_empty() {
            say(&format!("{label}: {}", said.collect::<Vec<_>>().join(", ")));
        }
        self.figures.extend(figures);
    }

    fn skip(&mut self, sentence: String) {
        say(&sentence);
        self.skipped.push(sentence);
    }

    fn leave_out(&mut self, case: &str, who: Who, why: &anyhow::Error) {
        say(&format!("{case}, without {}: {why:#}", who.name()));
        self.absent.push(Absent { case: case.to_owned(), who, why: format!("{why:#}") });
    }

    fn report(self) -> Report {
        let contestants = self
            .who
            .iter()
            .map(|who| Named { who: *who, version: contestant::version(*who, &self.setting) });
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let named = |name| processors.lines().filter_map(move |line| line.strip_prefix(name));
        Report {
            machine: Machine {
                processor: named("model name")
                    .next()
                    .unwrap_or("?")
                    .trim_start_matches([' ', '\t', ':'])
                    .to_owned(),
                cores: named("processor").count(),
                kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
                date: httpdate::fmt_http_date(std::time::SystemTime::now()),
            },
            run: self.run,
            contestants: contestants.collect(),
            verdicts: bar::verdicts(&self.figures),
            skipped: self.skipped,
            absent: self.absent,
            figures: self.figures,
        }
    }
}

/// All that the bench starts inherits it.
fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core}"))
}

/// Each connection is an open file, here and in every server. The limit that holds from now on.
fn raise_open_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A lower limit makes for fewer connections, which the report says.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20).min(1 << 20)
}

async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// In place of the round that was under way.
fn say(sentence: &str) {
    let start = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{start}{sentence}");
}

/// The round that is under way, for whoever waits.
fn progress(label: &str, round: usize, rounds: usize) {
    if stderr().is_terminal() {
        eprint!("\r{label}: {round} of {rounds}");
        // Nothing depends on it.
        stderr().flush().ok();
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
