//! Errors a fetch can end with.

use std::{fmt, sync::Arc, time::Duration};

/// Why no value could be had.
///
/// The error of one fetch reaches everybody who waited for it, hence the `Arc`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FetchError<E> {
    /// The fetch itself said no. This, a timeout and a panic may also have been a moment ago, if the
    /// cache was built with a negative TTL.
    #[error("the fetch failed")]
    Failed(#[source] Arc<E>),
    /// The fetch took longer than the cache's hard timeout, waiting for its turn included.
    #[error("the fetch took longer than {limit:?}")]
    Timeout {
        /// The hard timeout.
        limit: Duration,
    },
    /// The fetch panicked, or what turns its result into an entry.
    #[error("the fetch of this key panicked")]
    Panicked,
    /// So many keys are being fetched, or wait for it, that one more is not begun
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)).
    #[error("too many fetches are under way")]
    TooMany,
    /// The fetch asked for its own key, directly or through the fetches of other keys: it would have
    /// waited for itself. The fetch is told, and may do without.
    #[error("the fetch of this key needs its own result")]
    Recursive,
    /// Another reader's fetch of this key ended without anything that could be shared, when the one fetch of
    /// this call had begun without the key ([`Cache::try_get_many_or_fetch`](crate::Cache::try_get_many_or_fetch)).
    /// Seldom; asking again fetches it.
    #[error("the fetch of this key that was waited for ended without a result")]
    Abandoned,
    /// The cache was shut down.
    #[error("the cache was shut down")]
    ShutDown,
}

// Derived code would ask for `E: Clone`, which an `Arc` does not need.
impl<E> Clone for FetchError<E> {
    fn clone(&self) -> Self {
        match self {
            FetchError::Failed(error) => FetchError::Failed(Arc::clone(error)),
            FetchError::Timeout { limit } => FetchError::Timeout { limit: *limit },
            FetchError::Panicked => FetchError::Panicked,
            FetchError::TooMany => FetchError::TooMany,
            FetchError::Recursive => FetchError::Recursive,
            FetchError::Abandoned => FetchError::Abandoned,
            FetchError::ShutDown => FetchError::ShutDown,
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for FetchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            FetchError::Timeout { limit } => {
                f.debug_struct("Timeout").field("limit", limit).finish()
            }
            FetchError::Panicked => f.write_str("Panicked"),
            FetchError::TooMany => f.write_str("TooMany"),
            FetchError::Recursive => f.write_str("Recursive"),
            FetchError::Abandoned => f.write_str("Abandoned"),
            FetchError::ShutDown => f.write_str("ShutDown"),
        }
    }
}
