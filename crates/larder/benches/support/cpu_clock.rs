//! The calling thread's own time: what others do on a busy machine's processors is not in it.

use std::time::{Duration, Instant};

/// Time this thread has run so far. Only differences mean anything. Where there is no such clock,
/// time as it passes for all.
#[cfg(target_os = "linux")]
pub(crate) fn cpu_time(_start: Instant) -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn cpu_time(start: Instant) -> Duration {
    start.elapsed()
}
