//! Note: what the service of a request learns that its line in the access log tells.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Among a request's extensions while there is an access log. Clones are the same note.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    client: OnceLock<IpAddr>,
    upstream: OnceLock<Arc<str>>,
    origin_micros: AtomicU64,
}

/// No origin was asked.
const NOT_ASKED: u64 = u64::MAX;

impl Default for Noted {
    fn default() -> Self {
        Noted {
            client: OnceLock::new(),
            upstream: OnceLock::new(),
            origin_micros: AtomicU64::new(NOT_ASKED),
        }
    }
}

impl Note {
    /// Who asks, as far as that is believed. The first word counts.
    pub(crate) fn client(&self, client: IpAddr) {
        self.0.client.set(client).ok();
    }

    /// The service that the request is for. The first word counts.
    pub(crate) fn upstream(&self, name: &Arc<str>) {
        self.0.upstream.set(Arc::clone(name)).ok();
    }

    /// How long the origin took to begin its answer.
    pub(crate) fn origin_took(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(NOT_ASKED - 1);
        self.0.origin_micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn said_client(&self) -> Option<IpAddr> {
        self.0.client.get().copied()
    }

    pub(super) fn said_upstream(&self) -> Option<&str> {
        self.0.upstream.get().map(|name| &**name)
    }

    pub(super) fn said_origin(&self) -> Option<Duration> {
        let micros = self.0.origin_micros.load(Ordering::Relaxed);
        (micros != NOT_ASKED).then(|| Duration::from_micros(micros))
    }
}
