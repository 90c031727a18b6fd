//! Span: in which of `tracing`'s spans a fetch runs, for it may be on another task than its reader. Without the
//! feature `tracing` this does nothing.

#[cfg(feature = "tracing")]
pub(crate) use spans::{behind_reader, of_reader};

#[cfg(feature = "tracing")]
mod spans {
    use tracing::{Instrument, Span, info_span, instrument::Instrumented};

    /// A function without arguments, by itself. `FnOnce() -> Fut` needs a name for `Fut`, which would then be a part
    /// of the types below, and have to be `'static` as they are.
    pub(crate) trait Fetch {
        type Future;

        fn call(self) -> Self::Future;
    }

    impl<F: FnOnce() -> Fut, Fut> Fetch for F {
        type Future = Fut;

        fn call(self) -> Fut {
            self()
        }
    }

    /// The fetch of a reader that waits for it runs in the reader's own span, as if the reader had called it. To
    /// be asked for where the reader is.
    ///
    /// The span is open until the fetch has ended, also if its reader has left.
    pub(crate) fn of_reader<F: Fetch>(
        fetch: F,
    ) -> impl FnOnce() -> Instrumented<F::Future> + use<F> {
        within(Span::current(), fetch)
    }

    /// The fetch of a refresh runs in a span of its own, `refresh`. That follows from the span of the reader who
    /// caused it, and is not its child: the reader has its answer, and its span would otherwise be open for as
    /// long as the refresh takes.
    pub(crate) fn behind_reader<F: Fetch>(
        cache: &str,
        fetch: F,
    ) -> impl FnOnce() -> Instrumented<F::Future> + use<F> {
        // Made now, while the reader's span is certainly open.
        let span = info_span!(parent: None, "refresh", cache.name = cache);
        span.follows_from(Span::current());
        within(span, fetch)
    }

    fn within<F: Fetch>(span: Span, fetch: F) -> impl FnOnce() -> Instrumented<F::Future> + use<F> {
        move || span.in_scope(|| fetch.call()).instrument(span)
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn of_reader<F>(fetch: F) -> F {
    fetch
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn behind_reader<F>(_cache: &str, fetch: F) -> F {
    fetch
}
