//! Tracer: decides which requests are traced, and takes their spans. It waits for nothing.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderMap;
use larder::http::{FlightName, Phases};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    config::{Parents, TraceCounts, TracesConfig},
    context::Parent,
    export::Exporter,
    ids::{Place, SpanId, TraceId},
    span::{Anchor, Span},
};
use crate::sample::{Drawn, Sample};

thread_local! {
    static COUNTDOWN: Cell<Option<Drawn>> = const { Cell::new(None) };
}

/// The traces of a process. Clones are the same.
#[derive(Clone)]
pub struct Traces(Arc<Shared>);

struct Shared {
    sample: Sample,
    parents: Parents,
    spans: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    /// What sends them. Taken by whoever waits for its end.
    exporting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct Counts {
    requests: AtomicU64,
    no_room: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) waiting: AtomicU64,
}

impl Traces {
    /// Begins to send, on the runtime that this is called on. `None`: this program can trace nothing
    /// ([`IS_BUILT`](super::IS_BUILT)).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(config: TracesConfig) -> Option<Traces> {
        let (spans, waiting) = mpsc::channel(config.buffer.max(1));
        let (counts, stop) = (Arc::<Counts>::default(), CancellationToken::new());
        let (sample, parents) = (Sample::of(config.sample, &COUNTDOWN), config.parents);
        let exporter = Exporter::new(config, waiting, Arc::clone(&counts), stop.clone());
        let exporting = Mutex::new(Some(tokio::spawn(exporter.run())));
        Some(Traces(Arc::new(Shared { sample, parents, spans, counts, stop, exporting })))
    }

    /// The counts now.
    pub fn counts(&self) -> TraceCounts {
        let Counts { requests, no_room, sent, refused, waiting } = &*self.0.counts;
        TraceCounts {
            requests: requests.load(Relaxed),
            sent: sent.load(Relaxed),
            no_room: no_room.load(Relaxed),
            refused: refused.load(Relaxed),
            waiting: waiting.load(Relaxed),
        }
    }

    /// Sends what waits, and nothing more after that: until all is sent, it is refused, or `within` is over.
    pub async fn flush(&self, within: Duration) {
        self.0.stop.cancel();
        let exporting = self.0.exporting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporting) = exporting
            && timeout(within, exporting).await.is_err()
        {
            tracing::warn!("the last spans were not taken in time");
        }
    }

    /// Whether the word of whoever sends a request counts that it is a part of a trace. `is_believed`: it is believed
    /// about those behind it.
    pub(crate) fn honours(&self, is_believed: bool) -> bool {
        match self.0.parents {
            Parents::Trusted => is_believed,
            Parents::All => true,
            Parents::None => false,
        }
    }

    /// Whether a line of `traceparent` says that its trace is told. `None`: it says nothing.
    pub(crate) fn is_told(line: &[u8]) -> Option<bool> {
        Parent::read(line).map(|parent| parent.is_sampled)
    }

    /// Whether the next request of this thread that comes without a word about that is traced.
    pub(crate) fn is_due(&self) -> bool {
        self.0.sample.is_due()
    }

    /// Such a request was answered, and is not.
    pub(crate) fn pass_over(&self) {
        self.0.sample.take();
    }

    /// Whether a request with these fields is traced; it is counted by that.
    pub(crate) fn begin(&self, headers: &HeaderMap, is_believed: bool) -> Option<Traced> {
        let parent = if self.honours(is_believed) { Parent::of(headers) } else { None };
        let is_traced = match parent {
            Some(parent) => parent.is_sampled,
            None => self.0.sample.take(),
        };
        is_traced.then(|| {
            self.0.counts.requests.fetch_add(1, Relaxed);
            Traced::new(self.clone(), parent)
        })
    }

    pub(super) fn tell(&self, span: Span) {
        let Counts { no_room, waiting, .. } = &*self.0.counts;
        waiting.fetch_add(1, Relaxed);
        if self.0.spans.try_send(span).is_err() {
            waiting.fetch_sub(1, Relaxed);
            no_room.fetch_add(1, Relaxed);
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.counts()).finish()
    }
}

/// A request that is traced: the names of its spans, which others are told before the spans are. Clones are the same.
#[derive(Clone)]
pub(crate) struct Traced(pub(super) Arc<Request>);

pub(super) struct Request {
    pub(super) traces: Traces,
    pub(super) anchor: Anchor,
    /// Of the request itself.
    pub(super) place: Place,
    /// Whoever has sent it.
    pub(super) parent: Option<SpanId>,
    /// Of the flight that it leads, if it does.
    pub(super) flight: SpanId,
    /// Of what is asked behind its reader's back, if anything is: a trace of its own.
    pub(super) behind: Place,
    /// Something was.
    pub(super) behind_is_taken: AtomicBool,
    pub(super) phases: Phases,
}

impl Traced {
    fn new(traces: Traces, parent: Option<Parent>) -> Traced {
        let trace = parent.map_or_else(TraceId::new, |parent| parent.place.trace);
        let place = Place { trace, span: SpanId::new() };
        let flight = SpanId::new();
        let behind = Place { trace: TraceId::new(), span: SpanId::new() };
        let names = [Place { trace, span: flight }, behind].map(|at| FlightName(at.in_one()));
        let [name, name_behind] = names;
        Traced(Arc::new(Request {
            traces,
            anchor: Anchor::now(),
            place,
            parent: parent.map(|parent| parent.place.span),
            flight,
            behind,
            behind_is_taken: AtomicBool::new(false),
            phases: Phases::new(name, name_behind),
        }))
    }
}
