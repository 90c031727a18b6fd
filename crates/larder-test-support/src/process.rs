//! Process: a running program, what it says, and its end by process id.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{eventually::eventually, lines::Lines, memory};

/// A process that is no longer wanted may end by itself for so long.
const GRACE: Duration = Duration::from_secs(2);

/// A running process. Dropping it ends it: it is asked to, for two seconds, and then killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it says on its standard output, where that is a pipe.
    pub out: Lines,
    /// What it says on its standard error, where that is a pipe.
    pub log: Lines,
}

/// How a process ended, and all it said.
#[derive(Clone, Debug)]
pub struct Exit {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub log: String,
    /// Between the call that waited for it and the end.
    pub took: Duration,
}

impl Process {
    /// Starts a program that is asked nothing: its standard input is empty. Its output and its log go where
    /// the command says.
    ///
    /// # Panics
    ///
    /// Where there is no such program.
    pub fn start(command: &mut Command) -> Process {
        let child = command.stdin(Stdio::null()).spawn();
        Process::of(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// As [`start`](Process::start), with both of its outputs read.
    ///
    /// # Panics
    ///
    /// Where there is no such program.
    pub fn read(command: &mut Command) -> Process {
        Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// What was started otherwise. The pipes that it still has are read.
    pub fn of(mut child: Child) -> Process {
        let out = child.stdout.take().map_or_else(Lines::default, Lines::of);
        let log = child.stderr.take().map_or_else(Lines::default, Lines::of);
        Process { child, out, log }
    }

    /// By which the system knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// Where it is known to have ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process that is still there");
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// Waits until `look` finds what is waited for, which completes "waited in vain for …", while it runs.
    ///
    /// # Panics
    ///
    /// Where it ends before that, and after [`PATIENCE`](crate::eventually::PATIENCE).
    pub async fn until<T>(&mut self, what: &str, look: impl Fn(&Process) -> Option<T>) -> T {
        eventually(what, async || {
            let found = look(self);
            if found.is_none()
                && let Some(status) = self.ended()
            {
                // All it had to say is wanted in the message.
                panic!("it ended with {status} instead of {what}:\n{}", self.log.all());
            }
            found
        })
        .await
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// After [`PATIENCE`](crate::eventually::PATIENCE).
    pub async fn exit(mut self) -> Exit {
        let began = Instant::now();
        let code = eventually("the end of a process", async || self.ended()).await.code();
        let took = began.elapsed();
        Exit { code, out: self.out.all(), log: self.log.all(), took }
    }

    /// What it holds of memory, as [`memory_kib`](memory::memory_kib) says.
    pub fn memory_kib(&self, kind: &str) -> u64 {
        memory::memory_kib(self.id(), kind)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            let signal = if began.elapsed() < GRACE { Signal::TERM } else { Signal::KILL };
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shell(script: &str) -> Process {
        Process::read(Command::new("sh").args(["-c", script]))
    }

    #[tokio::test]
    async fn a_process_is_gone_once_dropped_even_if_it_does_not_want_to() {
        for script in
            ["echo up; exec sleep 60", "trap '' TERM; echo up; while :; do sleep 0.1; done"]
        {
            let mut process = shell(script);
            process
                .until("a word", |process| process.out.any(|line| line == "up").then_some(()))
                .await;
            let folder = format!("/proc/{}", process.id());
            assert!(Path::new(&folder).exists(), "{script}");
            drop(process);
            assert!(!Path::new(&folder).exists(), "{script}");
        }
    }

    #[tokio::test]
    async fn an_end_comes_with_all_that_was_said() {
        let exit = shell("echo one; echo two; echo three >&2; exit 3").exit().await;
        assert_eq!((exit.code, &*exit.out, &*exit.log), (Some(3), "one\ntwo", "three"));
    }

    #[tokio::test]
    #[should_panic(expected = "instead of a word:\nno")]
    async fn an_end_where_a_word_was_awaited_is_told_with_its_log() {
        shell("echo no >&2; exit 1").until("a word", |_| None::<()>).await;
    }
}
