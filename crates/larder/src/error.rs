//! Errors a fetch can end with.

use std::{fmt, sync::Arc};

/// Why no value could be had.
///
/// The error of one fetch reaches everybody who waited for it, hence the `Arc`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FetchError<E> {
    /// The fetch itself said no.
    #[error("the fetch failed")]
    Failed(#[source] Arc<E>),
    /// The fetch panicked. The reader that ran it sees the panic itself; those who waited see this.
    #[error("the fetch of this key panicked")]
    Panicked,
}

// Derived code would ask for `E: Clone`, which an `Arc` does not need.
impl<E> Clone for FetchError<E> {
    fn clone(&self) -> Self {
        match self {
            FetchError::Failed(error) => FetchError::Failed(Arc::clone(error)),
            FetchError::Panicked => FetchError::Panicked,
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for FetchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            FetchError::Panicked => f.write_str("Panicked"),
        }
    }
}
