//! `larder`: the cache before any HTTP service.

mod address;
mod advice;
mod amount;
mod doubts;
mod files;
mod health;
mod metrics;
mod serve;
mod shared;
mod signals;

use std::{env::var_os, ffi::OsStr, process::ExitCode, time::Duration};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};
use larder_admin::log::Log;
use tracing::Level;

use crate::{
    health::Health,
    serve::{Serve, ServeError},
    shared::Password,
};

/// A request that goes to the origin, and its answer, are many small pieces: allocating them is a tenth of
/// what a pass costs outside the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was logged may take this long to be written at the end: it may not be read at all.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A cache before any HTTP service: nothing in the service changes.
#[derive(Debug, Parser)]
#[command(name = "larder", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Answer requests from the cache, and from the service behind it
    Serve(Box<Serve>),
    /// Ask a `larder serve` with --admin whether it is ready, and exit 0 if it is
    Health(Health),
}

fn main() -> ExitCode {
    let matches = empty_counts_as_unset(Command::command()).try_get_matches();
    let matches = matches.unwrap_or_else(|error| with_tip(error).exit());
    let command = Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let serve_matches = matches.subcommand_matches("serve");
    let source = serve_matches.and_then(|matches| matches.value_source("shared"));
    match command.what {
        What::Serve(mut serve) => {
            serve.shared.is_url_typed = source == Some(ValueSource::CommandLine);
            ended(start(*serve).map_err(|error| (error.exit_code(), error)))
        }
        What::Health(health) => ended(health.run().map_err(|error| (error.exit_code(), error))),
    }
}

/// Where a container says that a flag is missing, a variable is what its owner can set.
fn with_tip(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::MissingRequiredArgument {
        let tip =
            "each flag can come from the environment as well: --upstream from LARDER_UPSTREAM";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
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

/// Says on standard error why it failed, and gives the exit code that goes with it.
fn ended(result: Result<(), (u8, impl std::error::Error)>) -> ExitCode {
    let Err((code, error)) = result else { return ExitCode::SUCCESS };
    eprintln!("larder: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::from(code)
}

fn start(serve: Serve) -> Result<(), ServeError> {
    let log = Log::start(&serve.log, Level::INFO).map_err(ServeError::Start)?;
    let served = serve.run(&log, Password::of_environment());
    log.flush(LAST_LINES);
    served
}
