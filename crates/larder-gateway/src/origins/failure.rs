//! Failure: what went wrong at an address, as one of a few kinds.

use http::StatusCode;

use super::config::RetryConfig;
use crate::upstream::UpstreamError;

/// What an address did instead of answering as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The connection ended before an answer began.
    Reset,
    /// No answer began in time.
    Timeout,
    /// What came cannot be understood.
    Protocol,
    /// 502, 503 or 504; or another status for which requests are sent elsewhere.
    Status,
    /// The answer's body broke off, or paused for too long.
    Body,
}

impl Failure {
    /// All of them, as they are called in the figures.
    pub const ALL: [(Failure, &str); 6] = [
        (Failure::Connect, "connect"),
        (Failure::Reset, "reset"),
        (Failure::Timeout, "timeout"),
        (Failure::Protocol, "protocol"),
        (Failure::Status, "status"),
        (Failure::Body, "body"),
    ];

    /// `None`: that is not the address' fault.
    pub(super) fn of_error(error: &UpstreamError) -> Option<Failure> {
        match error {
            UpstreamError::Busy { .. }
            | UpstreamError::WaitTimeout { .. }
            | UpstreamError::TooManyStreams { .. }
            | UpstreamError::NoUpgrade { .. }
            | UpstreamError::Request { .. } => None,
            UpstreamError::Closed { .. } => Some(Failure::Reset),
            UpstreamError::Timeout { .. } => Some(Failure::Timeout),
            error if error.is_before_sending() => Some(Failure::Connect),
            _ => Some(Failure::Protocol),
        }
    }

    /// A 500 is one path's fault as often as the whole address'. It counts where it is said to.
    pub(super) fn of_status(status: StatusCode, retry: &RetryConfig) -> Option<Failure> {
        let is_one = matches!(status.as_u16(), 502..=504) || retry.on.status(status);
        is_one.then_some(Failure::Status)
    }

    /// Nothing came at all: whoever goes there may wait for long.
    pub(super) fn is_silence(self) -> bool {
        matches!(self, Failure::Connect | Failure::Timeout)
    }

    /// For the log.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Failure::Connect => "no connection",
            Failure::Reset => "connections that end without an answer",
            Failure::Timeout => "no answer in time",
            Failure::Protocol => "answers that cannot be understood",
            Failure::Status => "5xx",
            Failure::Body => "answers that break off",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}
