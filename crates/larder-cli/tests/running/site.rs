//! Site: a gateway by a file, started by a path that may lead elsewhere later, and the processes that take its place.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    eventually, free_port,
    larder::Larder,
    origin::{Origin, ok},
};

pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) larder: Larder,
    /// The processes that have taken over, the last one last.
    successors: Vec<Orphan>,
    pub(crate) address: SocketAddr,
}

/// A process that is nobody's child: it ends when this is dropped.
struct Orphan(Pid);

impl Drop for Orphan {
    fn drop(&mut self) {
        let began = Instant::now();
        while is_there(self.0) {
            let signal =
                if began.elapsed() < Duration::from_secs(2) { Signal::TERM } else { Signal::KILL };
            kill_process(self.0, signal).ok();
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether it runs; one that has ended and is not buried yet does not.
pub(crate) fn is_there(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// Of a service whose answers may be kept for a minute.
pub(crate) async fn service() -> Origin {
    Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await
}

/// What every file here begins with: a service, and one listener at `address` in `[server]`, which goes on with `more`.
pub(crate) fn file(origin: SocketAddr, address: SocketAddr, more: &str) -> String {
    format!(
        "[upstream.app]\nurl = \"http://{origin}\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n\
         [server]\nlisten = \"{address}\"\n{more}",
        free_port()
    )
}

impl Site {
    pub(crate) async fn with(origin: &Origin, more: &str) -> Site {
        Site::with_variables(origin, more, &[]).await
    }

    pub(crate) async fn with_variables(
        origin: &Origin,
        more: &str,
        variables: &[(&str, &str)],
    ) -> Site {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = tempfile::tempdir().unwrap();
        Site::by(folder, address, &file(origin.address, address, more), variables).await
    }

    pub(crate) async fn by(
        folder: TempDir,
        address: SocketAddr,
        text: &str,
        variables: &[(&str, &str)],
    ) -> Site {
        fs::write(folder.path().join("larder.toml"), text).unwrap();
        let program = folder.path().join("larder");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), &program).unwrap();
        let mut command = Command::new(&program);
        command.arg("serve").env_clear().envs(variables.iter().copied());
        command.env("PATH", "/usr/bin:/bin").current_dir(folder.path());
        let larder = Larder::by(&mut command).await;
        Site { folder, larder, successors: Vec::new(), address }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a script where the program was.
    pub(crate) fn replace_program(&self, script: &str) {
        let new = self.path("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("larder")).unwrap();
    }

    /// Puts the program back.
    pub(crate) fn restore_program(&self) {
        fs::remove_file(self.path("larder")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), self.path("larder")).unwrap();
    }

    /// The process that counts.
    pub(crate) fn pid(&self) -> Pid {
        let first = Pid::from_raw(self.larder.process.id().cast_signed()).unwrap();
        self.successors.last().map_or(first, |Orphan(pid)| *pid)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// How often the log of all processes has these words.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.larder.log().matches(words).count()
    }

    /// Waits until it has them more often than `before`.
    pub(crate) async fn told_again(&self, words: &str, before: usize) {
        eventually(words, async || (self.count(words) > before).then_some(())).await;
    }

    /// The number in the last line of the log that has it before these words.
    pub(crate) fn last_process(&self, words: &str) -> Option<Pid> {
        let log = self.larder.log();
        let line = log.lines().rev().find(|line| line.contains(words))?;
        let (before, _) = line.split_once(words)?;
        let number = before.trim_end().rsplit(' ').next()?.parse().ok()?;
        Pid::from_raw(number)
    }

    /// Has the process that counts replaced by the one that lies there now. Which one it was.
    pub(crate) async fn upgrade(&mut self) -> Pid {
        const TAKEN: &str = " has taken over, this one drains";
        let (before, old) = (self.count(TAKEN), self.pid());
        self.signal(Signal::USR2);
        self.told_again(TAKEN, before).await;
        let new = self.last_process(TAKEN).unwrap();
        assert_ne!(new, old);
        self.successors.push(Orphan(new));
        old
    }

    /// Waits for the end of a process.
    pub(crate) async fn gone(&mut self, pid: Pid) {
        eventually("the end of a process", async || {
            // The first one is a child, and is there until somebody asks.
            self.larder.process.ended();
            (!is_there(pid)).then_some(())
        })
        .await;
    }
}

pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
