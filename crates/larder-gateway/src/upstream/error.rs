//! Errors an origin makes, and what its reader is told of them.

use std::{error::Error, io, time::Duration};

use larder::http::policy::proxy_status::ProxyError;

use super::{origin::Origin, tls};
use crate::problem::Problem;

/// What readers are told where the origin is busy: about as long as others wait.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why no answer came from an origin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Its name could not be resolved.
    #[error("the name of {origin} could not be resolved")]
    Name {
        /// Which one.
        origin: Origin,
        /// What the resolver said.
        source: io::Error,
    },
    /// It refused the connection, or nothing leads there.
    #[error("no connection to {origin}")]
    Connect {
        /// Which one.
        origin: Origin,
        /// What the system said.
        source: io::Error,
    },
    /// No connection in time.
    #[error("no connection to {origin} within {limit:?}")]
    ConnectTimeout {
        /// Which one.
        origin: Origin,
        /// [`connect_timeout`](super::UpstreamConfig::connect_timeout), or what was left of the whole.
        limit: Duration,
    },
    /// TLS did not come about.
    #[error("no TLS with {origin}: {what}")]
    Tls {
        /// Which one.
        origin: Origin,
        /// What is wrong, and the way out.
        what: String,
        /// What TLS says.
        source: io::Error,
    },
    /// It was to be spoken to in HTTP/2, and does not want that.
    #[error("{origin} does not agree to HTTP/2: leave protocol at \"auto\", or say \"http1\"")]
    NoHttp2 {
        /// Which one.
        origin: Origin,
    },
    /// The connection came about, and then no HTTP/2.
    #[error("{origin} does not begin to speak HTTP/2")]
    Http2 {
        /// Which one.
        origin: Origin,
        /// What was noticed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// All connections are in use, and so many requests wait for one that this one may not.
    #[error("{waiting} requests wait for a connection to {origin} already")]
    Busy {
        /// Which one.
        origin: Origin,
        /// [`max_waiting`](super::UpstreamConfig::max_waiting).
        waiting: usize,
    },
    /// All connections were in use for too long.
    #[error("no connection to {origin} became free within {limit:?}")]
    WaitTimeout {
        /// Which one.
        origin: Origin,
        /// [`wait_timeout`](super::UpstreamConfig::wait_timeout).
        limit: Duration,
    },
    /// The answer is a stream without an end, and so many are open that this one may not be.
    #[error("{max} streams of {origin} are open already")]
    TooManyStreams {
        /// Which one.
        origin: Origin,
        /// [`max_streams`](super::UpstreamConfig::max_streams).
        max: usize,
    },
    /// The connection ended before the answer began.
    #[error("{origin} closed the connection instead of answering")]
    Closed {
        /// Which one.
        origin: Origin,
        /// What was noticed.
        source: Box<dyn Error + Send + Sync>,
        /// So had a kept connection before it, and the request was sent twice.
        was_repeated: bool,
    },
    /// The origin gave the request up.
    #[error("{origin} reset the request's stream instead of answering")]
    Reset {
        /// Which one.
        origin: Origin,
        /// How it said so.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The origin has not looked at the request, however often it was sent.
    #[error("{origin} refused the request's stream {times} times")]
    Refused {
        /// Which one.
        origin: Origin,
        /// How often it was sent.
        times: u32,
    },
    /// No answer began in time.
    #[error("{origin} sent no response head within {limit:?}")]
    Timeout {
        /// Which one.
        origin: Origin,
        /// [`first_byte_timeout`](super::UpstreamConfig::first_byte_timeout), or what was left of the whole.
        limit: Duration,
    },
    /// Interim answers came one after the other instead of the final one.
    #[error("{origin} sent more than {max} interim answers")]
    Interims {
        /// Which one.
        origin: Origin,
        /// So many are read.
        max: u32,
    },
    /// The answer's head is larger than allowed.
    #[error(
        "the response head of {origin} has more than {max_bytes} bytes, or more than {max_fields} fields"
    )]
    HeadTooLarge {
        /// Which one.
        origin: Origin,
        /// [`max_head_bytes`](super::UpstreamConfig::max_head_bytes).
        max_bytes: usize,
        /// [`max_fields`](super::UpstreamConfig::max_fields).
        max_fields: usize,
    },
    /// What came is not HTTP.
    #[error("{origin} did not answer in HTTP")]
    Protocol {
        /// Which one.
        origin: Origin,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer's content is in a transfer coding other than `chunked`, or in several
    /// (RFC 9112 §6.1).
    #[error("{origin} answered in a transfer coding that is not understood")]
    TransferCoding {
        /// Which one.
        origin: Origin,
    },
    /// The origin switched protocols, which was not asked for.
    #[error("{origin} switched protocols unasked")]
    Switched {
        /// Which one.
        origin: Origin,
    },
    /// A connection was to go on in another protocol, and the origin is spoken to in HTTP/2.
    #[error("{origin} is spoken to in HTTP/2, so no connection can go on in another protocol")]
    NoUpgrade {
        /// Which one.
        origin: Origin,
    },
    /// The body of the request ended in an error, so the origin was left in the middle of it.
    #[error("the request for {origin} broke off")]
    Request {
        /// Which one.
        origin: Origin,
        /// What the request's body said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl UpstreamError {
    /// Whether the origin has certainly seen nothing of the request.
    pub fn is_before_sending(&self) -> bool {
        matches!(
            self,
            UpstreamError::Name { .. }
                | UpstreamError::Connect { .. }
                | UpstreamError::ConnectTimeout { .. }
                | UpstreamError::Tls { .. }
                | UpstreamError::NoHttp2 { .. }
                | UpstreamError::NoUpgrade { .. }
                | UpstreamError::Http2 { .. }
                | UpstreamError::Refused { .. }
                | UpstreamError::Busy { .. }
                | UpstreamError::WaitTimeout { .. }
        )
    }

    /// The error's type in `Proxy-Status` (RFC 9209 §2.3), with the status that goes with it.
    pub fn proxy_error(&self) -> ProxyError {
        match self {
            UpstreamError::Name { .. } => ProxyError::DnsError,
            UpstreamError::Connect { source, .. } => match source.kind() {
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    ProxyError::DestinationIpUnroutable
                }
                io::ErrorKind::TimedOut => ProxyError::ConnectionTimeout,
                _ => ProxyError::ConnectionRefused,
            },
            UpstreamError::ConnectTimeout { .. } => ProxyError::ConnectionTimeout,
            UpstreamError::Tls { source, .. } => match tls::fault(source) {
                Some(fault) if tls::is_about_certificate(fault) => ProxyError::TlsCertificateError,
                Some(rustls::Error::AlertReceived(_)) => ProxyError::TlsAlertReceived,
                _ => ProxyError::TlsProtocolError,
            },
            UpstreamError::NoHttp2 { .. } => ProxyError::TlsProtocolError,
            UpstreamError::Http2 { .. } => ProxyError::HttpProtocolError,
            UpstreamError::Busy { .. }
            | UpstreamError::WaitTimeout { .. }
            | UpstreamError::TooManyStreams { .. } => ProxyError::ConnectionLimitReached,
            UpstreamError::Closed { .. }
            | UpstreamError::Reset { .. }
            | UpstreamError::Refused { .. } => ProxyError::ConnectionTerminated,
            UpstreamError::Timeout { .. } => ProxyError::HttpResponseTimeout,
            UpstreamError::HeadTooLarge { .. } => ProxyError::HttpResponseHeaderSectionSize,
            UpstreamError::Protocol { .. } | UpstreamError::Interims { .. } => {
                ProxyError::HttpProtocolError
            }
            UpstreamError::TransferCoding { .. } => ProxyError::HttpResponseTransferCoding,
            UpstreamError::Switched { .. } | UpstreamError::NoUpgrade { .. } => {
                ProxyError::HttpUpgradeFailed
            }
            UpstreamError::Request { .. } => ProxyError::HttpRequestError,
        }
    }

    /// What the reader is told. Where the origin is stays inside.
    pub fn to_problem(&self) -> Problem {
        let (title, detail) = match self {
            UpstreamError::Name { .. } | UpstreamError::Connect { .. } => {
                ("Origin unreachable", "no connection to the origin")
            }
            UpstreamError::ConnectTimeout { .. } => {
                ("Origin unreachable", "no connection to the origin in time")
            }
            UpstreamError::Tls { .. }
            | UpstreamError::NoHttp2 { .. }
            | UpstreamError::Http2 { .. } => {
                ("Origin unreachable", "no connection to the origin that is safe and understood")
            }
            UpstreamError::Busy { .. } | UpstreamError::WaitTimeout { .. } => {
                ("Origin busy", "all connections to the origin are in use")
            }
            UpstreamError::TooManyStreams { .. } => ("Origin busy", "too many streams are open"),
            UpstreamError::Closed { .. } => {
                ("Origin failed", "the origin closed the connection instead of answering")
            }
            UpstreamError::Reset { .. } | UpstreamError::Refused { .. } => {
                ("Origin failed", "the origin gave the request up instead of answering")
            }
            UpstreamError::Timeout { .. } => ("Origin slow", "the origin did not answer in time"),
            UpstreamError::HeadTooLarge { .. } => (
                "Origin failed",
                "the head of the origin's answer is too large, or has too many fields",
            ),
            UpstreamError::Protocol { .. } => ("Origin failed", "the origin's answer is malformed"),
            UpstreamError::Interims { .. } => (
                "Origin failed",
                "the origin sent interim answers one after the other instead of a final one",
            ),
            UpstreamError::TransferCoding { .. } => (
                "Origin failed",
                "the origin's answer is in a transfer coding that is not understood",
            ),
            UpstreamError::Switched { .. } => {
                ("Origin failed", "the origin switched protocols unasked")
            }
            UpstreamError::NoUpgrade { .. } => (
                "Protocol not offered",
                "the origin is spoken to in HTTP/2, so no connection can go on in another protocol",
            ),
            UpstreamError::Request { .. } => ("Request broke off", "the request's body broke off"),
        };
        let error = self.proxy_error();
        let problem = Problem::new(error.status(), title, detail, error);
        match self {
            UpstreamError::Busy { .. }
            | UpstreamError::WaitTimeout { .. }
            | UpstreamError::TooManyStreams { .. } => problem.retry_after(RETRY_AFTER),
            _ => problem,
        }
    }
}

/// Why an answer's body ended before its end. Each of these means that what came is incomplete: it
/// may neither be stored nor passed on as whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamBodyError {
    /// The connection ended in the middle, or what came is not a body.
    #[error("the answer of {origin} broke off")]
    Incomplete {
        /// Which one.
        origin: Origin,
        /// What was noticed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nothing came for too long.
    #[error("the answer of {origin} paused for more than {limit:?}")]
    IdleTimeout {
        /// Which one.
        origin: Origin,
        /// [`idle_body_timeout`](super::UpstreamConfig::idle_body_timeout).
        limit: Duration,
    },
    /// The whole took too long.
    #[error("the answer of {origin} took more than {limit:?}")]
    WholeTimeout {
        /// Which one.
        origin: Origin,
        /// [`whole_timeout`](super::UpstreamConfig::whole_timeout).
        limit: Duration,
    },
}
