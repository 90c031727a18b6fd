//! Terminal: a real one (tmux), and what stands on its screen.

use std::{
    process::{Command, Output},
    time::Duration,
};

use larder_test_support::{eventually::within, program};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal of its own server. Dropping it ends both.
pub(crate) struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// The command with these arguments, on a screen of so many columns and rows.
    pub(crate) async fn running(width: u16, height: u16, arguments: &[&str]) -> Terminal {
        Terminal::of(width, height, &[&[env!("CARGO_BIN_EXE_larder")], arguments].concat()).await
    }

    /// Any command.
    pub(crate) async fn of(width: u16, height: u16, words: &[&str]) -> Terminal {
        let terminal = Terminal { folder: tempfile::tempdir().unwrap() };
        let [width, height] = [width, height].map(|size| size.to_string());
        let size = ["new-session", "-d", "-s", "top", "-x", &width, "-y", &height];
        let mut command = terminal.command(&size);
        program::run(command.args(words)).await;
        terminal
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.folder.path().join("tmux")).args(["-f", "/dev/null"]);
        // Its server hands on what it has itself.
        command.env("TERM", "xterm-256color").args(arguments);
        command
    }

    /// What stands on the screen. None once the program has ended.
    pub(crate) async fn screen(&self) -> Option<String> {
        let mut command = self.command(&["capture-pane", "-p", "-t", "top"]);
        let Output { status, stdout, .. } = program::output(&mut command).await;
        status.success().then(|| String::from_utf8_lossy(&stdout).into_owned())
    }

    pub(crate) async fn shows(&self, words: &str) -> String {
        within(PATIENCE, words, async || {
            self.screen().await.filter(|screen| screen.contains(words))
        })
        .await
    }

    pub(crate) async fn resize(&self, width: u16, height: u16) {
        let [width, height] = [width, height].map(|size| size.to_string());
        let size = ["resize-window", "-t", "top", "-x", &width, "-y", &height];
        program::run(&mut self.command(&size)).await;
    }

    pub(crate) async fn press(&self, key: &str) {
        program::run(&mut self.command(&["send-keys", "-t", "top", key])).await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.command(&["kill-server"]).output().ok();
    }
}
