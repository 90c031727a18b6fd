//! Program: one that runs to its end, and to a good one.

use std::{
    io::Read,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::{eventually::within, process::Process};

/// A browser on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a program beside the test's own tasks, and returns what it wrote. Dropping the future ends it.
///
/// # Panics
///
/// Where there is no such program, where it takes longer than two minutes, and where it fails: with what it
/// complained of.
pub async fn run(command: &mut Command) -> Output {
    let output = output(command).await;
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {complaints}", output.status);
    output
}

/// As [`run`], however it ends.
///
/// # Panics
///
/// Where there is no such program, and where it takes longer than two minutes.
pub async fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (out, log) = (bytes(child.stdout.take()), bytes(child.stderr.take()));
    let mut process = Process::of(child);
    let status = within(PATIENCE, "the end of a program", async || process.ended()).await;
    Output { status, stdout: out.join().unwrap(), stderr: log.join().unwrap() }
}

fn bytes(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.expect("a pipe, as asked for").read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What curl writes. It shows no progress, and gives up after a minute.
///
/// # Panics
///
/// As [`run`], and where that is not UTF-8.
pub async fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60"]).args(arguments);
    String::from_utf8(run(&mut command).await.stdout).unwrap()
}
