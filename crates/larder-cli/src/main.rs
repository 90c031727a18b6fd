//! `larder`: the cache before any HTTP service.

mod files;
mod metrics;
mod serve;
mod signals;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use larder_admin::log::Log;
use tracing::Level;

use crate::serve::{Serve, ServeError};

/// A hit makes some dozen small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was logged may take so long to be written at the end: nobody may be reading it.
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
    Serve(Serve),
}

fn main() -> ExitCode {
    let command = Command::parse();
    match start(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(command: Command) -> Result<(), ServeError> {
    let What::Serve(serve) = command.what;
    let log = Log::start(&serve.log, Level::INFO).map_err(ServeError::Start)?;
    let served = serve.run(&log);
    log.flush(LAST_LINES);
    served
}
