//! `larder`: the cache before any HTTP service.

mod address;
mod doubts;
mod serve;

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::serve::{Serve, ServeError};

/// A hit makes some dozen small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let refused = |source| ServeError::LogLevels { text: serve.log.clone(), source };
    // A bare word that is no level would be taken for a module's name, and all else be silent.
    for level in serve.log.split(',').map(str::trim).filter(|part| !part.contains('=')) {
        let is_level = level.parse::<LevelFilter>().is_ok() && !level.is_empty();
        is_level.then_some(()).ok_or_else(|| refused(None))?;
    }
    let levels = EnvFilter::try_new(&serve.log).map_err(|source| refused(Some(source)))?;
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_target(false)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    serve.run()
}
