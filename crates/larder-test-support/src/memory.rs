//! Memory: what the system says a process holds.

/// In KiB, by a line of `/proc/ID/status` (proc(5)): `VmRSS` is what is resident now, `VmHWM` the most that
/// ever was.
///
/// # Panics
///
/// Where there is no such process, or the system counts nothing of that name.
pub fn memory_kib(process: u32, kind: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.expect("a process of this user");
    let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let count = line.and_then(|line| line.trim().strip_suffix("kB")).map(str::trim);
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no {kind}"))
}
