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
    cache: OnceLock<Verdict>,
    origin_micros: AtomicU64,
}

/// What the request was to the cache, in its own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `hit`, or why the request went forward (`uri-miss`, `stale`, `bypass` and so on).
    pub(crate) word: &'static str,
    /// Larder's own word, where it says more.
    pub(crate) reason: &'static str,
}

impl Verdict {
    pub(crate) const HIT: Verdict = Verdict { word: "hit", reason: "hit" };

    /// Which tier has answered, if one has.
    pub(super) fn tier(self) -> &'static str {
        match (self.word, self.reason) {
            ("hit", "shared") => "shared",
            ("hit", _) => "memory",
            _ => "",
        }
    }
}

/// No origin was asked.
const NOT_ASKED: u64 = u64::MAX;

impl Default for Noted {
    fn default() -> Self {
        Noted {
            client: OnceLock::new(),
            upstream: OnceLock::new(),
            cache: OnceLock::new(),
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

    /// What it was to the cache. The first word counts.
    pub(crate) fn verdict(&self, verdict: Verdict) {
        self.0.cache.set(verdict).ok();
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

    pub(super) fn said_verdict(&self) -> Verdict {
        self.0.cache.get().copied().unwrap_or_default()
    }

    pub(super) fn said_origin(&self) -> Option<Duration> {
        let micros = self.0.origin_micros.load(Ordering::Relaxed);
        (micros != NOT_ASKED).then(|| Duration::from_micros(micros))
    }
}
