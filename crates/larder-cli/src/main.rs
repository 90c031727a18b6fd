//! `larder`: the cache before any HTTP service.

mod admin;
mod advice;
mod ask;
mod certificates;
mod check;
mod configured;
mod crowd;
mod doubts;
mod ending;
mod entries;
mod explain;
mod files;
mod flags;
mod health;
mod hearing;
mod import;
mod inherited;
mod live;
mod memory;
mod metrics;
mod overlap;
#[cfg(test)]
mod page;
mod predecessor;
mod program;
mod progress;
mod purge;
mod purges;
mod reload;
mod restart;
mod route_metrics;
mod serve;
mod shared;
mod shell;
mod signals;
mod stats;
mod supervisor;
mod top;
mod upgrade;
mod watch;

use std::{
    env::var_os,
    ffi::OsStr,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use larder_admin::log::Log;
use larder_gateway::config;
use serde_json::json;
use tracing::Level;

use crate::{
    check::Check,
    configured::Configured,
    entries::Entries,
    explain::Explain,
    flags::ServeFlags,
    health::Health,
    import::Import,
    inherited::Inherited,
    purge::Purge,
    purges::Purges,
    reload::{Again, FilesOf},
    serve::{Given, ServeError},
    shared::Passwords,
    shell::{Completions, Man, Version},
    stats::Stats,
    top::Top,
};

/// A request that goes to the origin, and its answer, are many small pieces: allocating them is a tenth of
/// what a pass costs outside the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was logged may take this long to be written at the end: it may not be read at all.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A cache before any HTTP service: nothing in the service changes.
#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    after_help = "\
Examples:
  larder serve --upstream http://127.0.0.1:8001 --ttl 5m     answer at 127.0.0.1:8080
  larder init > larder.toml && larder check larder.toml && larder serve
  larder explain http://127.0.0.1:8080/posts/1               why it is a hit, or not
  larder top                                                 what a gateway does now"
)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Answer requests from the cache, and from the service behind it
    Serve(Box<ServeFlags>),
    /// Say whether a larder.toml can be run, and all that is wrong with it otherwise
    Check(Box<Check>),
    /// Print a larder.toml to begin with, which runs as it stands: larder init > larder.toml
    #[command(after_help = "\
Example:
  larder init > larder.toml
  larder check larder.toml")]
    Init,
    /// Print the JSON Schema of larder.toml, from which editors complete it
    #[command(after_help = "\
Example:
  larder schema > larder.schema.json")]
    Schema,
    /// Print a larder.toml made of another program's settings, and tell what could not be carried over
    Import(Import),
    /// Ask a `larder serve` with --admin whether it is ready, and exit 0 if it is
    Health(Health),
    /// Purge in a `larder serve` with --admin: by URL, tag, prefix, host or pattern
    Purge(Box<Purge>),
    /// Print what was purged in a `larder serve` with --admin, by whom, and how far each tier is with it
    Purges(Purges),
    /// Print what a `larder serve` with --admin has counted
    Stats(Stats),
    /// Print what a `larder serve` with --admin holds: what is largest, oldest, dearest or stale next
    Entries(Entries),
    /// Tell what a `larder serve` with --admin would do with a request, and why
    Explain(Box<Explain>),
    /// Show what a `larder serve` with --admin does, on a screen that goes on
    Top(Top),
    /// Print what a shell completes this command by
    Completions(Completions),
    /// Write the manual pages of this command
    Man(Man),
    /// Print which version this is
    Version(Version),
}

fn main() -> ExitCode {
    let matches = empty_counts_as_unset(Command::command()).get_matches();
    let command = Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let says = if asks_for_json(&matches) { Says::Json } else { Says::Words };
    match command.what {
        What::Serve(flags) => {
            // First of all, while there are no threads and the path still leads here.
            let program = program::path();
            let inherited = Inherited::of_environment().map_err(ServeError::from);
            let matches = matches.subcommand_matches("serve").expect("it has led here");
            let again = Again { flags: *flags, matches: matches.clone() };
            let said = again.said().map_err(ServeError::from);
            let served = said.and_then(|said| {
                // Right after they were read: what changes from here on is noticed.
                let files_of = FilesOf::new(&said.config, &said.places);
                let configured = said.configured(Passwords::of_environment())?;
                start(configured, again, Given { inherited: inherited?, program, files_of })
            });
            says.ended(served.map_err(|error| (error.exit_code(), error)))
        }
        What::Check(check) => {
            let matches = matches.subcommand_matches("check").expect("it has led here");
            let checked = check.run(matches, Passwords::of_environment(), print);
            says.ended(checked.map_err(|error| (error.exit_code(), error)))
        }
        What::Init => printed(config::EXAMPLE.to_owned()),
        What::Schema => printed(config::schema() + "\n"),
        What::Import(import) => {
            says.ended(import.run().map(|made| imported(made, says)).map_err(|error| (2, error)))
        }
        What::Purge(purge) => {
            says.ended(purge.run().map(print).map_err(|error| (error.exit_code(), error)))
        }
        What::Purges(purges) => {
            says.ended(purges.run().map(print).map_err(|error| (error.exit_code(), error)))
        }
        What::Stats(stats) => {
            says.ended(stats.run().map(print).map_err(|error| (error.exit_code(), error)))
        }
        What::Entries(entries) => {
            says.ended(entries.run().map(print).map_err(|error| (error.exit_code(), error)))
        }
        What::Explain(explain) => {
            says.ended(explain.run().map(print).map_err(|error| (error.exit_code(), error)))
        }
        What::Top(top) => says.ended(top.run().map_err(|error| (error.exit_code(), error))),
        What::Completions(completions) => printed(completions.run(Command::command())),
        What::Man(man) => {
            says.ended(man.run(Command::command()).map(print).map_err(|error| (1, error)))
        }
        What::Version(version) => printed(version.run()),
        What::Health(health) => {
            let url = health.url();
            let asked = health.run();
            if says == Says::Json {
                print(json!({ "is_ready": asked.is_ok(), "url": url }).to_string() + "\n");
            }
            says.ended(asked.map_err(|error| (error.exit_code(), error)))
        }
    }
}

fn printed(text: String) -> ExitCode {
    print(text);
    ExitCode::SUCCESS
}

fn imported(import::Imported { toml, notes }: import::Imported, says: Says) {
    if says == Says::Json {
        return print(json!({ "toml": toml, "notes": notes }).to_string() + "\n");
    }
    for note in notes {
        eprintln!("{note}");
    }
    print(toml);
}

/// Whoever reads no more (`| head`) has enough.
fn print(text: String) {
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        tracing::debug!("not all was printed: {error}");
    }
}

/// A file of settings often names variables that it gives no value.
fn empty_counts_as_unset(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
            true => arg.env(None::<&'static str>),
            false => arg,
        })
        .mut_subcommands(empty_counts_as_unset)
}

/// For whom is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// People.
    Words,
    /// Programs.
    Json,
}

/// Whether `--json` was said, of whichever command.
fn asks_for_json(matches: &ArgMatches) -> bool {
    let is_said = |matches: &ArgMatches| {
        matches.try_get_one::<bool>("json").is_ok_and(|said| said == Some(&true))
    };
    is_said(matches) || matches.subcommand().is_some_and(|(_, matches)| asks_for_json(matches))
}

impl Says {
    /// Says on standard error why it failed, and gives the exit code that goes with it.
    fn ended(self, result: Result<(), (u8, impl std::error::Error)>) -> ExitCode {
        let Err((code, error)) = result else { return ExitCode::SUCCESS };
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        match self {
            Says::Json => {
                let said =
                    json!({ "error": error.to_string(), "because": causes, "exit_code": code });
                eprintln!("{said}");
            }
            Says::Words => {
                eprintln!("larder: {error}");
                causes.iter().for_each(|cause| eprintln!("  because: {cause}"));
            }
        }
        ExitCode::from(code)
    }
}

fn start(configured: Configured, again: Again, given: Given) -> Result<(), ServeError> {
    let log = Log::start(&configured.levels, Level::INFO).map_err(ServeError::Start)?;
    let served = configured.run(&log, again, given);
    log.flush(LAST_LINES);
    served
}
