//! Error: why a request got no answer, or its body no end.

use std::{error::Error, sync::Arc, time::Duration};

/// An error of a body or a service that came from elsewhere.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a request got no answer. Everybody who waited for the same answer gets the same one.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The service behind the cache failed, with its own error ([`origin`](NoAnswer::origin)).
    #[error(transparent)]
    Origin(Arc<dyn Error + Send + Sync>),
    /// The body of the request broke off before it was whole, with its own error.
    #[error(transparent)]
    Request(Arc<dyn Error + Send + Sync>),
    /// As many fetches are under way, or wait for it, as may
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)).
    #[error("too many keys are being fetched")]
    TooManyFetches,
    /// No turn to ask the origin became free in time ([`Settings::turn_wait`](super::Settings::turn_wait)).
    #[error("the origin is busy: no turn to ask it became free within {waited:?}")]
    NoTurn {
        /// So long was waited.
        waited: Duration,
    },
    /// The origin sent no response head in time ([`Builder::hard_timeout`](crate::Builder::hard_timeout)).
    #[error("the origin sent no response head within {limit:?}")]
    TookTooLong {
        /// The hard timeout.
        limit: Duration,
    },
    /// The cache was shut down ([`Cache::shut_down`](crate::Cache::shut_down)): what is stored is still
    /// served, and the origin is asked no more.
    #[error("the cache was shut down")]
    ShutDown,
    /// The origin answered, and the answer was of no use: why.
    #[error("no answer from the origin: {0}")]
    Unusable(&'static str),
}

impl NoAnswer {
    pub(crate) fn of_origin(error: impl Into<BoxError>) -> Self {
        NoAnswer::Origin(Arc::from(error.into()))
    }

    pub(crate) fn of_request(error: impl Into<BoxError>) -> Self {
        NoAnswer::Request(Arc::from(error.into()))
    }

    /// The error of the service behind the cache, if it is an `E`.
    pub fn origin<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            NoAnswer::Origin(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// A body that ended before it was whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the origin's answer ended before it was whole")]
pub struct BrokenOff;
