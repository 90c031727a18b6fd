//! Errors a fetch can end with.

#[cfg(feature = "http")]
use std::iter::successors;
use std::{
    fmt::{self, Write},
    io,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// Why no value could be had.
///
/// The error of one fetch reaches everybody who waited for it, hence the `Arc`.
///
/// It is an [`Error`](std::error::Error) whatever `E` is, if that says what went wrong (`Debug` and `Display`):
/// `anyhow::Error`, `Box<dyn Error + Send + Sync>` and `String` are no errors themselves, and do. So `?` takes it
/// wherever it takes an error, and what it says names the cause. It has no `source()`, since not every `E` could be
/// one: [`failed`](FetchError::failed) leads to the fetch's own error, and through that to its sources.
///
/// ```
/// use larder::{Cache, FetchError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let posts = Cache::<String>::builder().build();
/// let found = posts.try_get_or_fetch("/posts/7", async || {
///     let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
///     Err::<String, _>(refused)
/// });
/// let error: FetchError<std::io::Error> = found.await.unwrap_err();
/// assert_eq!(error.to_string(), "the fetch failed: connection refused");
/// match error.failed() {
///     Some(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
///     None if error.is_timeout() => println!("try again later"),
///     None => println!("{error}"),
/// }
/// # }
/// ```
#[non_exhaustive]
pub enum FetchError<E> {
    /// The fetch itself said no. This, a timeout and a panic may also have been a moment ago, if the
    /// cache was built with a negative TTL.
    Failed(Arc<E>),
    /// The fetch took longer than the cache's hard timeout, waiting for its turn included.
    Timeout {
        /// The hard timeout.
        limit: Duration,
    },
    /// The fetch panicked, or what turns its result into an entry.
    Panicked,
    /// So many keys are being fetched, or wait for it, that one more is not begun
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)).
    TooMany,
    /// The fetch asked for its own key, directly or through the fetches of other keys: it would have
    /// waited for itself. The fetch is told, and may do without.
    Recursive,
    /// Another reader's fetch of this key ended without anything that could be shared, when the one fetch of
    /// this call had begun without the key ([`Cache::try_get_many_or_fetch`](crate::Cache::try_get_many_or_fetch)).
    /// Seldom; asking again fetches it.
    Abandoned,
    /// The cache was shut down.
    ShutDown,
}

impl<E> FetchError<E> {
    /// The fetch's own error, if that is why. All else is the cache's.
    pub fn failed(&self) -> Option<&E> {
        match self {
            FetchError::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the fetch took longer than the cache's hard timeout
    /// ([`Builder::hard_timeout`](crate::Builder::hard_timeout)). What an `E` says of timeouts of its own does not
    /// count.
    pub fn is_timeout(&self) -> bool {
        matches!(self, FetchError::Timeout { .. })
    }
}

/// The cause is asked for all that it has to say (`{:#}`), for there is no `source()` to tell the rest: of an
/// `anyhow::Error` that is the whole chain.
impl<E: fmt::Display> fmt::Display for FetchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Failed(error) => write!(f, "the fetch failed: {error:#}"),
            FetchError::Timeout { limit } => write!(f, "the fetch took longer than {limit:?}"),
            FetchError::Panicked => f.write_str("the fetch of this key panicked"),
            FetchError::TooMany => f.write_str("too many fetches are under way"),
            FetchError::Recursive => f.write_str("the fetch of this key needs its own result"),
            FetchError::Abandoned => {
                f.write_str("the fetch of this key that was waited for ended without a result")
            }
            FetchError::ShutDown => f.write_str("the cache was shut down"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for FetchError<E> {}

/// For functions that return an [`io::Result`]: the kind is that of the fetch's own error, `TimedOut`, or `Other`.
impl From<FetchError<io::Error>> for io::Error {
    fn from(error: FetchError<io::Error>) -> Self {
        let kind = match &error {
            FetchError::Failed(error) => error.kind(),
            FetchError::Timeout { .. } => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
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

/// A `Result` by any name. [`#[cached]`](macro@crate::cached) asks it for the types that an alias, as
/// `anyhow::Result<T>` or `std::fmt::Result`, does not write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is called `Result`, and is none",
    label = "no `Result<T, E>`, nor an alias of one"
)]
pub trait Fallible {
    /// What there is if all goes well.
    type Value;
    /// What there is if not.
    type Error;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;
}

/// Tells [`#[cached]`](macro@crate::cached) of an `Option` or a `Result` that goes by another name: a macro sees names
/// only, and would remember `None` and errors like values.
#[derive(Debug)]
pub struct Disguised<T>(PhantomData<T>);

impl<T> Disguised<Option<T>> {
    /// `T` is one.
    pub const IS_ONE: bool = true;
}

impl<T, E> Disguised<Result<T, E>> {
    /// `T` is one.
    pub const IS_ONE: bool = true;
}

/// What [`Disguised`] says of all other types: an associated constant of its own goes before that of a trait.
pub trait Undisguised {
    /// `T` is none.
    const IS_ONE: bool = false;
}

impl<T> Undisguised for Disguised<T> {}

/// As much of an error as an event tells, in bytes. Its text may hold what a client has sent.
const MAX_TEXT_BYTES: usize = 512;

/// What `error` says, cut where it is long. It is the caller's code, so it is asked under no lock, and may
/// panic.
pub(crate) fn text_of(error: &dyn fmt::Display) -> Arc<str> {
    let written = catch_unwind(AssertUnwindSafe(|| {
        let mut text = Text { written: String::new(), is_cut: false };
        // What it has said before it failed is told.
        _ = write!(text, "{error:#}");
        text
    }));
    match written {
        Ok(Text { written, is_cut: false }) => written.into(),
        Ok(Text { written, is_cut: true }) => (written + "…").into(),
        Err(_) => "an error whose text panics".into(),
    }
}

/// Takes what there is room for, and nothing after that.
struct Text {
    written: String,
    is_cut: bool,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let room = MAX_TEXT_BYTES - self.written.len();
        let fits = &text[..text.floor_char_boundary(room)];
        self.written.push_str(fits);
        self.is_cut = fits.len() < text.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// An error and what caused it, down to the first cause.
#[cfg(feature = "http")]
pub(crate) struct WithSources<'a>(pub(crate) &'a dyn std::error::Error);

#[cfg(feature = "http")]
impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WithSources(error) = self;
        write!(f, "{error}")?;
        let mut sources = successors(error.source(), |source| source.source());
        sources.try_for_each(|source| write!(f, ": {source}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes on, whatever it is told.
    struct Stubborn;

    impl fmt::Display for Stubborn {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..1_000_000).for_each(|_| _ = f.write_str("né"));
            Ok(())
        }
    }

    struct Panics;

    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("it cannot be told")
        }
    }

    #[test]
    fn the_text_of_an_error_is_whole_or_cut_between_two_characters() {
        assert_eq!(&*text_of(&"down"), "down");
        assert_eq!(&*text_of(&""), "");
        let whole = "é".repeat(MAX_TEXT_BYTES / 2);
        assert_eq!(&*text_of(&whole), whole);
        assert_eq!(*text_of(&format!("a{whole}")), format!("a{}…", &whole[..MAX_TEXT_BYTES - 2]));
        assert_eq!(text_of(&Stubborn).len(), MAX_TEXT_BYTES - 1 + "…".len());
        assert_eq!(&*text_of(&Panics), "an error whose text panics");
    }

    #[cfg(feature = "http")]
    #[test]
    fn an_error_with_its_sources_is_told_down_to_the_first_cause() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Step(&'static str, #[source] Option<Box<Step>>);

        let step = |text, source: Option<Step>| Step(text, source.map(Box::new));
        let error = step("no answer", Some(step("no connection", Some(step("refused", None)))));
        assert_eq!(&*text_of(&WithSources(&error)), "no answer: no connection: refused");
        assert_eq!(&*text_of(&WithSources(&step("refused", None))), "refused");
    }
}
