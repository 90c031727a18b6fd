//! Memory: what the process takes and may take, as the system tells it, and the watch that keeps one below the other.
//!
//! What is measured is the resident set. It is what the system counts against a container, and what it ends a process for;
//! no sum of the process' own has all of it in it (connections, tasks, what the allocator keeps).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use larder::http::HttpCache;
use larder_gateway::pressure::{Level, Pressure, Room, look_again};
use tokio::time::sleep;

/// Where nothing could be read, it is tried so much later again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const STATUS: &str = "/proc/self/status";
/// Where the limits of containers are: those of cgroups in their second version, and in their first.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"];

/// What the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryBound {
    /// That was said.
    Said(ByteSize),
    /// That is the limit of its container.
    OfContainer(ByteSize),
}

impl MemoryBound {
    /// What was said, or what its container has. None: there is no bound, or the system does not tell what is taken.
    pub(crate) fn of(said: Option<ByteSize>) -> Option<MemoryBound> {
        let bound = said
            .map(MemoryBound::Said)
            .or_else(|| container_limit().map(MemoryBound::OfContainer))?;
        if resident().is_none() {
            if let MemoryBound::Said(_) = bound {
                tracing::warn!("memory.process holds nothing back: {STATUS} cannot be read here");
            }
            return None;
        }
        match bound {
            MemoryBound::Said(size) => tracing::info!("the process may take {size} of memory"),
            MemoryBound::OfContainer(size) => {
                tracing::info!("the process may take {size} of memory, as its container may");
            }
        }
        Some(bound)
    }

    fn bytes(self) -> u64 {
        let (MemoryBound::Said(size) | MemoryBound::OfContainer(size)) = self;
        size.as_u64()
    }
}

/// Looks again and again what the process takes, tells `pressure`, and gives `cache` the room that there is for it, for as
/// long as it is polled.
pub(crate) async fn watch(bound: MemoryBound, cache: HttpCache, pressure: Pressure) {
    let at_best = cache.cache().stats().max_bytes.unwrap_or(u64::MAX);
    let mut room = Room::new(usize::try_from(at_best).unwrap_or(usize::MAX));
    let mut before = Level::Calm;
    loop {
        let mut later = LOOK_AGAIN;
        if let Some(taken) = resident() {
            later = look_again(taken, bound.bytes());
            let level = pressure.measured(taken, bound.bytes());
            tell(before, level, taken, bound.bytes());
            before = level;
            let stored = usize::try_from(cache.cache().stats().bytes).unwrap_or(usize::MAX);
            let held = stored.saturating_add(cache.arriving_bytes());
            if let Some(bytes) = room.next(held, taken, bound.bytes()) {
                cache.resize(bytes);
            }
        }
        sleep(later).await;
    }
}

/// Only on the way up, and at the end of it: between, it may go back and forth.
fn tell(before: Level, level: Level, taken: u64, bound: u64) {
    let (taken, bound) = (ByteSize::b(taken), ByteSize::b(bound));
    match (before, level) {
        (Level::Calm, Level::Tight) => {
            tracing::info!("the process takes {taken} of {bound}: the cache shrinks");
        }
        (Level::Calm | Level::Tight, Level::Full) => tracing::warn!(
            "the process takes {taken} of {bound}: only what is stored is answered until it takes less"
        ),
        _ => {}
    }
}

/// What of the process lies in memory, in bytes.
fn resident() -> Option<u64> {
    resident_of(&fs::read_to_string(STATUS).ok()?)
}

/// ◇ `proc_pid_status(5)`.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit of its cgroup and those above it.
fn container_limit() -> Option<ByteSize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = limit_files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok());
    limits.filter_map(|text| limit_of(&text)).min().map(ByteSize::b)
}

/// ◇ Where the limits stand that hold for a process of these cgroups (`cgroups(7)`). A container sees its own group as the
/// root, whatever it is called outside.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let [second, first] = CGROUPS;
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, name) = match controllers {
            "" => (second, "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (first, "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        let is_below =
            group.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let group = if is_below { group } else { Path::new("") };
        files.extend(group.ancestors().map(|group| Path::new(root).join(group).join(name)));
    }
    files
}

/// ◇ A limit in bytes. `max`, and what the first version writes for none (nearly 2^63), are no limit.
fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resident_stands_in_the_status() {
        let status = "Name:\tlarder\nVmHWM:\t   99999 kB\nVmRSS:\t   12345 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(resident_of(status), Some(12345 * 1024));
        for wrong in ["", "VmRSS:\n", "VmRSS:\tmany kB\n", "VmRSS:\t12\n"] {
            assert_eq!(resident_of(wrong), None, "{wrong:?}");
        }
        assert!(resident().is_some_and(|bytes| bytes > 100_000), "on Linux there is one");
    }

    #[test]
    fn limits_of_all_groups_above_are_looked_at() {
        let files = |groups| {
            let files = limit_files(groups);
            files.iter().map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            files("0::/system.slice/larder.service\n"),
            [
                "/sys/fs/cgroup/system.slice/larder.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("5:cpu:/\n4:hugetlb,memory:/docker/1\n"),
            [
                "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        // Moved into a namespace from elsewhere.
        assert_eq!(files("0::/../other\n"), ["/sys/fs/cgroup/memory.max"]);
        assert!(files("").is_empty() && files("nonsense\n").is_empty());
    }

    #[test]
    fn no_limit_is_none() {
        for (text, limit) in [
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("", None),
            ("536870912\n", Some(512 << 20)),
            ("0\n", Some(0)),
        ] {
            assert_eq!(limit_of(text), limit, "{text:?}");
        }
    }
}
