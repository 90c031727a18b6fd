//! Python: the scripts that lie beside these tests, run by the system's Python with the system's packages.

use std::{path::PathBuf, process::Command};

use super::Process;

/// A script beside these tests.
pub(crate) fn script(name: &str) -> Command {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/serve/python", name].iter().collect();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script);
    command
}

/// The port that a script says first.
pub(crate) async fn port(server: &mut Process) -> u16 {
    let said = |process: &Process| process.out.text().lines().next()?.parse().ok();
    server.until("a port", said).await
}
