//! Span: in which of `tracing`'s spans a fetch runs, for it may be on another task than its reader. Without the
//! feature `tracing` this does nothing.

#[cfg(feature = "tracing")]
use tracing::{Instrument, Span, info_span, instrument::Instrumented};

/// The span of a fetch.
pub(crate) struct FetchSpan(#[cfg(feature = "tracing")] Span);

/// A future in a span.
#[cfg(feature = "tracing")]
pub(crate) type InSpan<F> = Instrumented<F>;
#[cfg(not(feature = "tracing"))]
pub(crate) type InSpan<F> = F;

#[cfg(feature = "tracing")]
impl FetchSpan {
    /// The fetch of a reader that waits for it runs in the reader's own span, as if the reader had called it. To
    /// be asked for where the reader is.
    ///
    /// The span is open until the fetch has ended, also if its reader has left.
    pub(crate) fn of_reader() -> Self {
        FetchSpan(Span::current())
    }

    /// The fetch of a refresh runs in a span of its own, `refresh`. That follows from the span of the reader who
    /// caused it, and is not its child: the reader has its answer, and its span would otherwise be open for as
    /// long as the refresh takes.
    pub(crate) fn behind_reader(cache: &str) -> Self {
        // Made now, while the reader's span is certainly open.
        let span = info_span!(parent: None, "refresh", cache.name = cache);
        span.follows_from(Span::current());
        FetchSpan(span)
    }

    /// Calls what makes the fetch's future, in the span.
    pub(crate) fn call<F>(&self, fetch: impl FnOnce() -> F) -> F {
        self.0.in_scope(fetch)
    }

    /// Puts that future into the span.
    pub(crate) fn around<F: Future>(self, fetching: F) -> InSpan<F> {
        fetching.instrument(self.0)
    }
}

#[cfg(not(feature = "tracing"))]
impl FetchSpan {
    pub(crate) fn of_reader() -> Self {
        FetchSpan()
    }

    pub(crate) fn behind_reader(_cache: &str) -> Self {
        FetchSpan()
    }

    pub(crate) fn call<F>(&self, fetch: impl FnOnce() -> F) -> F {
        fetch()
    }

    pub(crate) fn around<F: Future>(self, fetching: F) -> InSpan<F> {
        fetching
    }
}
