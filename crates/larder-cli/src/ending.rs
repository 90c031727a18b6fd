//! Ending: how a gateway that serves comes to its end, in order and within a time that was said.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use larder::http::HttpCache;
use larder_admin::figures::{Family, Figures};
use larder_gateway::{
    access::AccessLog,
    cdn::Cdns,
    downstream::{
        counters::{Counted, Counters},
        server::Stopped,
    },
    traces::Traces,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::gauge,
    supervisor::{Supervisor, TELL_EVERY},
};

/// A stop that takes longer says what it waits for.
const PROMPT: Duration = Duration::from_millis(300);

/// The last lines of the access log may take so long to be written once all else has ended, and so may the last spans to
/// be sent.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was told to.
    Told,
    /// This process has taken over.
    TakenOver { by: u32 },
}

/// What serves, and what it stands on.
pub(crate) struct Ending {
    pub(crate) why: Why,
    pub(crate) serving: JoinHandle<Stopped>,
    /// The admin API, and what ends it.
    pub(crate) admin: Option<(JoinHandle<Stopped>, CancellationToken)>,
    pub(crate) cache: HttpCache,
    pub(crate) cdns: Cdns,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) traces: Option<Traces>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) drain: Duration,
    pub(crate) supervisor: Supervisor,
}

impl Ending {
    /// To be called once the server has been told to stop.
    pub(crate) async fn run(mut self) {
        let end = Instant::now() + self.drain;
        if let (Why::TakenOver { .. }, Some((_, end))) = (self.why, &self.admin) {
            // Questions are for the process that has taken over.
            end.cancel();
        }
        let stopped = match timeout(PROMPT, &mut self.serving).await {
            Ok(stopped) => stopped,
            Err(_) => loop {
                let waited_for = self.waited_for(end);
                tracing::info!("{waited_for}");
                self.tell(&waited_for).await;
                if let Ok(stopped) = timeout(TELL_EVERY, &mut self.serving).await {
                    break stopped;
                }
            },
        };
        if let Ok(stopped) = stopped
            && stopped.cut > 0
        {
            let were = if stopped.cut == 1 { "connection was" } else { "connections were" };
            tracing::warn!("{} {were} cut off", stopped.cut);
        }
        if let Some((admin, end)) = self.admin {
            end.cancel();
            // It ends within its grace.
            admin.await.ok();
        }
        let cache = self.cache.cache();
        cache.shut_down(Duration::from_secs(1)).await;
        self.cdns.close();
        if let Why::TakenOver { by } = self.why {
            let left = cache.stats().lower.purges_outstanding;
            if left > 0 {
                // Those of before are in the outbox's file, which the other process has.
                tracing::warn!("{left} purges have not reached the shared tier from here");
            }
            tracing::info!("process {} ends, process {by} goes on", std::process::id());
        }
        if let Some(access_log) = &self.access_log {
            access_log.flush(LAST_REQUESTS);
        }
        if let Some(traces) = &self.traces {
            traces.flush(LAST_REQUESTS).await;
        }
    }

    fn waited_for(&self, end: Instant) -> WaitedFor {
        let counted = self.counters.iter().map(|counters| counters.read());
        let Counted { open, tunnels_open, .. } = Counted::sum(counted);
        let left = end.saturating_duration_since(Instant::now());
        let is_told = self.why == Why::Told;
        WaitedFor { connections: open, tunnels: tunnels_open, left, is_told }
    }

    async fn tell(&self, waited_for: &WaitedFor) {
        // Of this process nobody wants to know any more where another has taken over.
        if self.why == Why::Told {
            self.supervisor.stopping(&waited_for.to_string()).await;
        }
    }
}

/// What an end still waits for, and for how long at most.
struct WaitedFor {
    connections: u64,
    /// Those of them, or of their streams, that have switched protocols.
    tunnels: u64,
    left: Duration,
    is_told: bool,
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WaitedFor { connections, tunnels, left, is_told } = self;
        let begin = if *is_told { "stopping" } else { "another process has taken over" };
        let many = if *connections == 1 { "connection has" } else { "connections have" };
        let of_tunnels = match tunnels {
            0 => String::new(),
            1 => " (one has switched protocols)".to_owned(),
            more => format!(" ({more} have switched protocols)"),
        };
        let seconds = left.as_millis().div_ceil(1000);
        write!(f, "{begin}: {connections} {many}{of_tunnels} {seconds} s to end")?;
        f.write_str("; told once more, it ends at once")
    }
}

/// Whether a gateway comes to its end. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    pub(crate) fn begin(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Figures for Draining {
    fn families(&self) -> Vec<Family> {
        vec![gauge(
            "gateway_draining",
            "1 once it is told to stop, and sends requests elsewhere",
            vec![("", u64::from(self.0.load(Relaxed)))],
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_counted() {
        let told = |connections, tunnels, left| {
            let left = Duration::from_millis(left);
            WaitedFor { connections, tunnels, left, is_told: true }.to_string()
        };
        let end = "; told once more, it ends at once";
        assert_eq!(told(1, 0, 9700), format!("stopping: 1 connection has 10 s to end{end}"));
        assert_eq!(
            told(3, 1, 0),
            format!("stopping: 3 connections have (one has switched protocols) 0 s to end{end}")
        );
    }
}
