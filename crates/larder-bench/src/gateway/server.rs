//! Server: a process on a core of its own, what it has used, and its end by process id.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

const START: Duration = Duration::from_secs(15);
/// What a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

pub(crate) struct Server {
    child: Child,
    /// The process that was started, and what it has started itself.
    pids: Vec<u32>,
    log: PathBuf,
}

/// CPU time by thread, in nanoseconds.
pub(crate) struct CpuTimes(HashMap<String, u64>);

impl Server {
    /// Its log is a file in the folder, and so is what it says (`OUTPUT`).
    pub(crate) fn start(
        core: usize,
        folder: &Path,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> anyhow::Result<Server> {
        let log = folder.join("log");
        let child = Command::new("setpriv")
            // It ends with the bench, however that ends.
            .args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &core.to_string()])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("output"))?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot run setpriv and taskset (Debian's package util-linux)")?;
        let pids = vec![child.id()];
        Ok(Server { child, pids, log })
    }

    /// Returns once all addresses accept connections.
    pub(crate) fn wait_until_up(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let began = Instant::now();
        for address in addresses {
            while TcpStream::connect(address).is_err() {
                self.still_runs(began)?;
                sleep(STEP);
            }
        }
        self.pids = with_descendants(self.child.id())?;
        Ok(())
    }

    /// The first lines of what it says.
    pub(crate) fn lines(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let began = Instant::now();
        loop {
            let said = fs::read_to_string(self.log.with_file_name("output"))?;
            let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let lines: Vec<_> = whole.take(count).map(|line| line.trim().to_owned()).collect();
            if lines.len() == count {
                return Ok(lines);
            }
            self.still_runs(began)?;
            sleep(STEP);
        }
    }

    fn still_runs(&mut self, began: Instant) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        if ended.is_none() && began.elapsed() < START {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().take(5).collect::<Vec<_>>();
        bail!("did not come up: {}", last.into_iter().rev().collect::<Vec<_>>().join(" | "))
    }

    pub(crate) fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// To the nanosecond, other than the ticks of `/proc/PID/stat`.
    pub(crate) fn cpu_times(&self) -> CpuTimes {
        let mut times = HashMap::new();
        for pid in &self.pids {
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for thread in threads.flatten() {
                let path = thread.path().join("schedstat");
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let run = text.split_whitespace().next().and_then(|run| run.parse().ok());
                times.insert(path.to_string_lossy().into_owned(), run.unwrap_or_default());
            }
        }
        CpuTimes(times)
    }

    /// Resident memory of all its processes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let resident = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        self.pids.iter().filter_map(resident).sum::<u64>() * 1024
    }
}

impl CpuTimes {
    /// What was used since then. Threads that have ended meanwhile do not count.
    pub(crate) fn since(&self, earlier: &CpuTimes) -> u64 {
        let used = |(thread, now): (&String, &u64)| {
            now.saturating_sub(earlier.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(used).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it has started later is found as well.
        let mut pids = with_descendants(self.child.id()).unwrap_or_default();
        pids.extend(&self.pids);
        signal(self.child.id(), Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                // Its id is free for others now; those of its children may live on for a moment.
                pids.retain(|pid| {
                    *pid != self.child.id() && parent_of(*pid) == Some(self.child.id())
                });
                break;
            }
            sleep(STEP);
        }
        pids.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        // It is gone already, or was killed just now.
        self.child.wait().ok();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        kill_process(pid, signal).ok();
    }
}

/// A process, and all that it and they have started.
fn with_descendants(first: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) {
            parents.extend(parent_of(pid).map(|parent| (pid, parent)));
        }
    }
    let mut found = vec![first];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets, and may hold blanks and brackets.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// A port that was free just now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Debian keeps servers where a user's PATH does not lead.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_came_later_count_from_nothing() {
        let times = |times: &[(&str, u64)]| {
            CpuTimes(times.iter().map(|(thread, time)| ((*thread).to_owned(), *time)).collect())
        };
        let (before, after) = (times(&[("a", 5), ("gone", 9)]), times(&[("a", 7), ("b", 3)]));
        assert_eq!(after.since(&before), 5);
    }

    #[test]
    fn a_server_is_gone_once_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let shell = find_program("sh").unwrap();
        let script = ["-c", "sleep 60 & echo up; wait"];
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let core = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap();
        let mut server = Server::start(core, folder.path(), &shell, &script).unwrap();
        server.lines(1).unwrap();
        let pids = with_descendants(server.child.id()).unwrap();
        assert_eq!(pids.len(), 2);
        drop(server);
        assert!(!Path::new(&format!("/proc/{}", pids[0])).exists());
    }
}
