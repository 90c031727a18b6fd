//! Sent: how many crowds there were, so that whoever looks at a peak of requests sees what it was.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::figures::{Family, Figures, Kind};

/// Counts crowds. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrowdsSent(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    crowds: AtomicU64,
    requests: AtomicU64,
}

impl CrowdsSent {
    pub(super) fn count(&self, requests: usize) {
        self.0.crowds.fetch_add(1, Relaxed);
        self.0.requests.fetch_add(requests as u64, Relaxed);
    }
}

impl Figures for CrowdsSent {
    fn families(&self) -> Vec<Family> {
        let family = |name, help, count: &AtomicU64| Family {
            name,
            help,
            kind: Kind::Counter,
            label: "",
            samples: vec![("".into(), count.load(Relaxed) as f64)],
        };
        vec![
            family(
                "admin_crowds",
                "Crowds of requests that were sent for whoever watches",
                &self.0.crowds,
            ),
            family(
                "admin_crowd_requests",
                "Requests of those crowds, answered or not",
                &self.0.requests,
            ),
        ]
    }
}
