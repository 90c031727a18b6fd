//! Syscalls: how often a server enters the kernel for a hit, as strace counts it.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::{case::Case, load, server::Server};

const GRACE: Duration = Duration::from_secs(10);

/// Waiting for events is not counted: how many requests share a wait is a matter of how fast they come.
pub(crate) async fn per_hit(
    server: &Server,
    case: &Case,
    address: SocketAddr,
    slice: Duration,
) -> anyhow::Result<f64> {
    let summary = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command.args(["--summary-only", "--follow-forks", "--output"]).arg(summary.path());
    // A process that only helped at the start has ended.
    let alive = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
    let pids: Vec<_> = server.pids().iter().filter(alive).collect();
    for pid in &pids {
        command.args(["--attach", &pid.to_string()]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start strace (Debian's package strace)")?;
    let mut said = BufReader::new(child.stderr.take().context("strace has no output")?).lines();
    for _ in &pids {
        let line = timeout(GRACE, said.next_line()).await.context("strace does not attach")??;
        let line = line.context("strace has ended")?;
        ensure!(line.contains("attached"), "{line}");
    }
    let requests = load::run(case, address, slice).await?;
    let pid =
        child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("strace has ended")?;
    kill_process(pid, Signal::INT)?;
    // What it says must be read to its end, or it could wait for a reader.
    while let Ok(Ok(Some(_))) = timeout(GRACE, said.next_line()).await {}
    timeout(GRACE, child.wait()).await.context("strace does not end")??;
    let summary = std::fs::read_to_string(summary.path())?;
    let counted = without_waits(&summary);
    let counted = counted.with_context(|| format!("strace counted nothing: {}", summary.trim()))?;
    Ok(counted as f64 / requests as f64)
}

/// Of lines like `60.00    0.040000           1     40000        12 recvfrom`, errors being optional.
fn without_waits(summary: &str) -> Option<u64> {
    let lines = summary.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let calls = words.get(3)?.parse::<u64>().ok()?;
        Some((*words.last()?, calls))
    });
    let is_wait = |name: &str| {
        name.starts_with("epoll_wait") || name.starts_with("epoll_pwait") || name == "poll"
    };
    let (total, rest): (Vec<_>, Vec<_>) = lines.partition(|(name, _)| *name == "total");
    let waits = rest.iter().filter(|(name, _)| is_wait(name)).map(|(_, calls)| calls);
    total.first()?.1.checked_sub(waits.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_events_are_not_counted() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 50.00    0.040000           1     40000           sendto
 10.00    0.010000           9       500           epoll_wait
 40.00    0.030000           1     40010        10 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.080000           0     80510        10 total
";
        assert_eq!(without_waits(summary), Some(80010));
        assert_eq!(without_waits(""), None);
    }
}
