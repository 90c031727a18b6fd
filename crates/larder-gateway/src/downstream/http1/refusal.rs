//! Refusal: a request that no service ever sees, and what its sender is told.

use http::StatusCode;

use larder::http::policy::proxy_status::ProxyError;

use crate::problem::Problem;

/// Why a request is refused. After each the connection is closed: where the next request begins can
/// no longer be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not HTTP, or HTTP that two readers could read differently. The text says what.
    Malformed(&'static str),
    /// The request line is longer than allowed.
    TargetTooLong,
    /// The head is larger than allowed.
    HeadTooLarge,
    /// More header fields than allowed.
    TooManyFields,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// A transfer coding other than `chunked` (RFC 9112 §6.1).
    TransferCoding,
    /// `CONNECT`: this is no tunnel (RFC 9110 §9.3.6).
    Tunnel,
    /// An extended CONNECT for another protocol than WebSocket (RFC 9220 §3).
    Protocol,
    /// A target of another scheme than the connection's (RFC 9110 §7.4).
    Misdirected,
    /// A host that another certificate is for than the one its reader was shown (RFC 9110 §15.5.20).
    OtherHost,
    /// An `Expect` other than `100-continue` (RFC 9110 §10.1.1).
    Expectation,
    /// There is more content than allowed.
    ContentTooLarge,
    /// The head or the body did not arrive within its limit.
    Slow,
}

impl Refusal {
    pub(crate) fn to_problem(self) -> Problem {
        let (status, title, detail) = self.parts();
        Problem::new(status, title, detail, ProxyError::HttpRequestError)
    }

    /// What it is counted as: one of the texts below or in the code, never a client's.
    pub(crate) fn reason(self) -> &'static str {
        self.parts().2
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Refusal::Malformed(detail) => (StatusCode::BAD_REQUEST, "Malformed request", detail),
            Refusal::TargetTooLong => {
                (StatusCode::URI_TOO_LONG, "Request line too long", "the request line is too long")
            }
            Refusal::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request head too large",
                "the header fields are too large",
            ),
            Refusal::TooManyFields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request head too large",
                "there are too many header fields",
            ),
            Refusal::Version => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "HTTP version not supported",
                "this connection speaks HTTP/1.1 and HTTP/1.0",
            ),
            Refusal::TransferCoding => (
                StatusCode::NOT_IMPLEMENTED,
                "Transfer coding not implemented",
                "the only transfer coding that is understood is chunked",
            ),
            Refusal::Tunnel => {
                (StatusCode::NOT_IMPLEMENTED, "Method not implemented", "CONNECT is not offered")
            }
            Refusal::Protocol => (
                StatusCode::NOT_IMPLEMENTED,
                "Protocol not implemented",
                "the only protocol beside HTTP that is offered is websocket",
            ),
            Refusal::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "Misdirected request",
                "the target's scheme is not that of this connection",
            ),
            Refusal::OtherHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "Misdirected request",
                "the target's host has another certificate than this connection was opened with",
            ),
            Refusal::Expectation => (
                StatusCode::EXPECTATION_FAILED,
                "Expectation failed",
                "the only expectation that is understood is 100-continue",
            ),
            Refusal::ContentTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Content too large",
                "the content is larger than allowed",
            ),
            Refusal::Slow => {
                (StatusCode::REQUEST_TIMEOUT, "Request timeout", "the request took too long")
            }
        }
    }
}
