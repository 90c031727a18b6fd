//! `larder import`: another program's settings as a `larder.toml`, and all that could not be carried over.

mod nginx;
mod notes;
mod written;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::nginx::Wrong;
pub(crate) use self::notes::Note;

/// Makes a `larder.toml` of another program's settings.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, Subcommand)]
enum Of {
    /// Of nginx: what can be read mechanically. The rest is listed on standard error, line by line
    #[command(after_help = "\
What is closed in nginx stays closed: where Larder cannot do what nginx does, readers get 502.

Exit codes: 0 it was printed (what was not carried over is on standard error), 2 the file cannot be read.

Example:
  larder import nginx /etc/nginx/nginx.conf > larder.toml
  larder check larder.toml")]
    Nginx {
        /// nginx.conf, or one file of sites-enabled
        file: PathBuf,
        /// Print the file, and what was not carried over, as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What was made of it.
pub(crate) struct Imported {
    pub(crate) toml: String,
    pub(crate) notes: Vec<Note>,
}

impl Import {
    pub(crate) fn run(self) -> Result<Imported, Wrong> {
        match self.of {
            Of::Nginx { file, json: _ } => nginx::import(&file),
        }
    }
}
