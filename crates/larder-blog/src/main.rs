//! `blog`: Larder's running demonstration. A page asks a backend, which asks a posts service that
//! needs two seconds; the cache in between makes them a few milliseconds.

mod backend;
mod command;
mod error;
mod health;
mod http_client;
mod page;
mod post_id;
mod posts;
mod replies;
mod run;
mod server;
mod settings;

use std::{
    io::{IsTerminal, stderr},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{command::Command, error::BlogError, settings::Settings};

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    match start(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blog: {}", error.with_causes());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn start(command: Command) -> Result<(), BlogError> {
    let settings = Settings::read()?;
    let levels = EnvFilter::try_new(&settings.log)
        .map_err(|error| BlogError::LogLevels { text: settings.log.clone(), source: error })?;
    tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_target(false)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
    command.run(settings).await
}
