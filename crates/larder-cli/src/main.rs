//! `larder`: the cache before any HTTP service.

mod serve;

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    match start(command).await {
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

async fn start(command: Command) -> Result<(), ServeError> {
    let What::Serve(serve) = command.what;
    let levels = EnvFilter::try_new(&serve.log)
        .map_err(|source| ServeError::LogLevels { text: serve.log.clone(), source })?;
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_target(false)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    serve.run().await
}
