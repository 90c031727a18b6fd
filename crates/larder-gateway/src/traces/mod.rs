//! Traces: spans of single requests, for a collector that takes OTLP over HTTP.
//!
//! ```text
//! request ─▶ [sample, context: is it one?] ─▶ [request: what came of it] ─▶ queue, bounded ─▶ [export] ─▶ collector
//!                                                  └▶ traceparent to its origin
//! ```
//!
//! Spans are made once it is known what came of a request: of what the cache has noted of it
//! ([`Phases`](larder::http::Phases), [`Handled`](larder::http::Handled)), of its answer, and of what its origin was asked.
//! Neither a request nor an event loop ever waits for them. A plain hit that is not traced costs one look at a counter of
//! its thread.
//!
//! Of a request's fields none is told; of its target the path. With the feature `otel` switched off all of this is left
//! out, and nothing can be configured ([`IS_BUILT`]).
//!
//! The message is one, and is written here (`proto`): the crates that would write it bring a client for HTTP, a runtime
//! for it, and a registry of their own.

mod config;
#[cfg(feature = "otel")]
mod context;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod ids;
#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod origin;
#[cfg(feature = "otel")]
mod proto;
#[cfg(feature = "otel")]
mod request;
#[cfg(feature = "otel")]
mod span;
#[cfg(feature = "otel")]
mod tracer;

use http::HeaderName;

pub use self::config::{Parents, TraceCounts, TracesConfig};
#[cfg(not(feature = "otel"))]
pub use self::off::Traces;
#[cfg(feature = "otel")]
pub use self::tracer::Traces;

#[cfg(not(feature = "otel"))]
pub(crate) use self::off::{OriginSpan, ServerSpan, Traced, answered, asks_origin};
#[cfg(feature = "otel")]
pub(crate) use self::{
    origin::{OriginSpan, asks_origin},
    request::{ServerSpan, answered},
    tracer::Traced,
};

/// In it a request says of which trace it is a part (W3C Trace Context).
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whether this program can trace requests.
pub const IS_BUILT: bool = cfg!(feature = "otel");
