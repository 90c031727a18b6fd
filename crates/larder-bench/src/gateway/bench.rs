//! Bench: what a run works with, and what it has seen so far.

use std::{
    fs,
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

use super::{
    bar, case,
    certificate::Certificate,
    client::Client,
    contestant::{self, Contestant, Setting, Who},
    figure::{Absent, Figure, Samples, Unit, figures},
    options::Options,
    report::{Named, Report, Run},
    server::{Server, find_program},
};
use crate::machine::Machine;

/// One run.
pub(super) struct Bench {
    pub(super) setting: Setting,
    pub(super) run: Run,
    pub(super) who: Vec<Who>,
    pub(super) only: Vec<String>,
    /// Asks how often it was asked.
    pub(super) origin: Client,
    pub(super) figures: Vec<Figure>,
    pub(super) absent: Vec<Absent>,
    pub(super) skipped: Vec<String>,
    /// Gone when dropped.
    _origin_server: Server,
    _origin_folder: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn start(options: &Options) -> anyhow::Result<Bench> {
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
        let certificate = Certificate::make(folder.path())?;
        let program = std::env::current_exe()?;
        let arguments = ["origin".as_ref(), folder.path().as_os_str()];
        let mut server = Server::start(options.load_core, folder.path(), &program, &arguments)?;
        let lines = server.lines(3)?;
        let [origin, tls_origin, http2_origin] = &lines[..] else {
            bail!("an origin says where it is")
        };
        let origin = origin.parse()?;
        let mut bench = Bench {
            setting: Setting {
                larder,
                core: options.server_core,
                origin,
                tls_origin: tls_origin.parse()?,
                http2_origin: http2_origin.parse()?,
                answers: Vec::new(),
                open_files,
                certificate,
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
    pub(super) fn start_all(&mut self) -> anyhow::Result<Vec<Contestant>> {
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

    pub(super) fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }

    pub(super) fn slice(&self) -> Duration {
        Duration::from_millis(self.run.slice_ms)
    }

    /// Takes in what was seen, and says it at once to whoever waits.
    pub(super) fn note(&mut self, case: &str, label: &str, unit: Unit, seen: Vec<Samples>) {
        let figures = figures(case, label, unit, seen);
        let said = figures
            .iter()
            .map(|figure| format!("{} {}", figure.who.name(), unit.show(figure.spread.median)));
        if !figures.is_empty() {
            say(&format!("{label}: {}", said.collect::<Vec<_>>().join(", ")));
        }
        self.figures.extend(figures);
    }

    pub(super) fn skip(&mut self, sentence: String) {
        say(&sentence);
        self.skipped.push(sentence);
    }

    pub(super) fn leave_out(&mut self, case: &str, who: Who, why: &anyhow::Error) {
        say(&format!("{case}, without {}: {why:#}", who.name()));
        self.absent.push(Absent { case: case.to_owned(), who, why: format!("{why:#}") });
    }

    pub(super) fn report(self) -> Report {
        let contestants = self
            .who
            .iter()
            .map(|who| Named { who: *who, version: contestant::version(*who, &self.setting) });
        Report {
            machine: Machine::this(),
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

/// In place of the round that was under way.
fn say(sentence: &str) {
    let start = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{start}{sentence}");
}

/// The round that is under way, for whoever waits.
pub(super) fn progress(label: &str, round: usize, rounds: usize) {
    if stderr().is_terminal() {
        eprint!("\r{label}: {round} of {rounds}");
        // Nothing depends on it.
        stderr().flush().ok();
    }
}
