//! `blog`: Larder's running demonstration. A page asks a backend, which asks a posts service that
//! needs two seconds; the cache in between makes them a few milliseconds.

mod backend;
mod command;
mod crowd;
mod door;
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
mod signals;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use larder_admin::log::Log;
use tracing::Level;

use crate::{command::Command, error::BlogError, settings::Settings};

/// What was logged may take this long to be written at the end: it may not be read at all.
const LAST_LINES: Duration = Duration::from_millis(200);

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
    let levels = settings.log.parse();
    let levels =
        levels.map_err(|source| BlogError::LogLevels { text: settings.log.clone(), source })?;
    // What is said of a load is the demonstration: none of it is left out.
    let log = Log::start(&levels, Level::WARN).map_err(BlogError::Log)?;
    let ended = command.run(settings).await;
    log.flush(LAST_LINES);
    ended
}
