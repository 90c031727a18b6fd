//! `larder completions`, `larder man` and `larder version`: what a package puts beside the program.

use std::{env::consts, fs, io, path::PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

/// Prints a script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Writes manual pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 they are written, 1 they are not.

Examples:
  larder man | man -l -                            the page of the command itself
  larder man ~/.local/share/man/man1               that, and one for each of its parts")]
pub(crate) struct Man {
    /// The folder for all of them. Without one, the first page is printed
    folder: Option<PathBuf>,
}

/// Prints which version this is.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  larder version --json | jq -r .version")]
pub(crate) struct Version {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A page that was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManError {
    #[error("cannot make the page")]
    Render(#[source] io::Error),
    #[error("cannot write to {}", folder.display())]
    Write { folder: PathBuf, source: io::Error },
}

impl Completions {
    /// The script.
    pub(crate) fn run(self, mut command: Command) -> String {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "larder", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

impl Man {
    /// What is to be printed.
    pub(crate) fn run(self, command: Command) -> Result<String, ManError> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(ManError::Render)?;
            return Ok(String::from_utf8_lossy(&page).into_owned());
        };
        let written = fs::create_dir_all(&folder).and_then(|()| {
            clap_mangen::generate_to(command.disable_help_subcommand(true), &folder)
        });
        written.map_err(|source| ManError::Write { folder: folder.clone(), source })?;
        Ok(String::new())
    }
}

impl Version {
    /// What is to be printed.
    pub(crate) fn run(self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match self.json {
            true => {
                let said = json!({ "name": "larder", "version": version, "os": consts::OS, "arch": consts::ARCH });
                format!("{said}\n")
            }
            false => format!("larder {version}\n"),
        }
    }
}
