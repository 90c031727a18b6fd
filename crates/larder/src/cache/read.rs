//! Read: one look-up with wishes of its own. They go along, as one small value, through the steps that all take.

use std::{fmt, future::Future, time::Duration};

use super::{Cache, Library, Next, Previous, negative::Failed};
use crate::{
    answer::{Answer, Failure},
    engine::look::{ANY_AGE, MaxAge, Seen},
    entry::Fetched,
    error::FetchError,
    key::CacheKey,
    turns::Fetch,
};

/// What a reader takes for an answer.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wants {
    /// A value, however long it waits for it. Others' failures mean nothing to it, and it is never one
    /// too many.
    Value,
    /// A value, or the reason why there is none.
    Answer,
}

impl Wants {
    /// What a failure is to a reader: an answer perhaps.
    pub(super) fn as_error<E: fmt::Display + Send + Sync + 'static>(
        self,
        failed: Failed,
    ) -> Option<FetchError<E>> {
        match self {
            Wants::Value => None,
            Wants::Answer => failed.into_error(),
        }
    }
}

/// What one call asks for beyond what the cache's settings say.
#[derive(Clone, Copy)]
pub(super) struct ReadOptions {
    pub(super) wants: Wants,
    /// In place of the cache's.
    pub(super) soft_timeout: Option<Duration>,
    pub(super) max_age: MaxAge,
    /// Only a fetch with this number, or a later one, will do, and nothing that is stored.
    pub(super) since: Option<u64>,
    /// It blocks its thread, and fetches there.
    pub(super) blocks: bool,
}

impl ReadOptions {
    pub(super) const fn of(wants: Wants) -> Self {
        ReadOptions { wants, soft_timeout: None, max_age: ANY_AGE, since: None, blocks: false }
    }

    /// Whether what a flight has brought will do: it was fetched now, or was so old below.
    pub(super) fn takes(&self, age_below: Option<Duration>) -> bool {
        match age_below {
            None => true,
            Some(age) => self.since.is_none() && age <= self.max_age,
        }
    }
}

/// A look-up with wishes of its own: [`Cache::read`] begins it, [`fetch`](Read::fetch) or another of its kind
/// does it. Without any wish it is [`Cache::try_get_or_fetch`].
///
/// ```
/// # use larder::Cache;
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # async fn ask_the_bank(account: u32) -> Result<i64, String> { Ok(100) }
/// let balances = Cache::<i64>::builder_with_weigher(|_| 0).ttl(Duration::from_secs(300)).build();
/// // Five minutes are fine for the overview. Before a payment it must be nearly new.
/// let balance = balances.read("account 7").max_age(Duration::from_secs(5)).fetch(|| ask_the_bank(7)).await;
/// assert_eq!(balance.unwrap(), 100);
/// # }
/// ```
#[must_use = "nothing is read until it is given a fetch"]
pub struct Read<'c, 'k, V> {
    cache: &'c Cache<V>,
    key: CacheKey<'k>,
    options: ReadOptions,
    is_forced: bool,
}

impl<'c, 'k, V: Clone + Send + Sync + 'static> Read<'c, 'k, V> {
    pub(super) fn new(cache: &'c Cache<V>, key: CacheKey<'k>) -> Self {
        Read { cache, key, options: ReadOptions::of(Wants::Answer), is_forced: false }
    }

    /// Waits at most this long for a fetch where something stale would do, in place of
    /// [`Builder::soft_timeout`](crate::Builder::soft_timeout). The fetch goes on, and its value is stored.
    pub fn soft_timeout(mut self, limit: Duration) -> Self {
        self.options.soft_timeout = Some(limit);
        self
    }

    /// What is older than `max_age` counts as stale for this call, as in a request with `Cache-Control:
    /// max-age` (RFC 9111 §5.2.1.1): it is fetched before the call returns, also where it could be served
    /// while it is refreshed. If the fetch fails or takes too long, it still serves within the cache's window
    /// for that ([`Builder::stale_if_error`](crate::Builder::stale_if_error)), which then begins at `max_age`;
    /// without such a window, nothing older than `max_age` is returned.
    ///
    /// A value's age counts from the end of its fetch. So a fetch that is under way brings something new
    /// enough for everybody who waits for it, however long ago it began. What comes from a tier below memory
    /// is as old as it is there, and is held to the same.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.options.max_age = max_age;
        self
    }

    /// Fetches whatever is stored, here and below, and whatever failure is remembered.
    ///
    /// Only a fetch that began after this call will do, since an earlier one may have read what has changed
    /// meanwhile. If an earlier fetch of the key is under way, this one begins when that has ended; all who
    /// force one in between share it. So a key is never fetched twice at once, however many do so.
    ///
    /// If it brings a value, that is stored in place of the old one; one that is not to be stored, or cannot
    /// be, removes the old one. If it fails, what is stored stays. See [`Cache::refresh`].
    pub fn force_refresh(mut self) -> Self {
        self.is_forced = true;
        self
    }

    /// The value: the stored one if it will do, or what `fetch` brings.
    ///
    /// Dropping the returned future leaves a fetch that has begun alone: its value is stored.
    ///
    /// # Errors
    ///
    /// As [`Cache::try_get_or_fetch`].
    pub async fn fetch<T, E, F, Fut>(self, fetch: F) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        match self.go(|_: &_, _: &_| fetch()).await {
            Ok(answer) => Ok(answer.value),
            Err(failure) => Err(failure.error),
        }
    }

    /// As [`fetch`](Read::fetch), and tells how the value came about.
    ///
    /// # Errors
    ///
    /// As [`Cache::answer`].
    pub async fn answer<T, E, F, Fut>(self, fetch: F) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.go(|_: &_, _: &_| fetch()).await
    }

    /// As [`fetch`](Read::fetch), for a fetch that can do with the value that it is to replace: it asks the
    /// origin whether that has changed, and where it has not, renews it. See [`Previous`].
    ///
    /// # Errors
    ///
    /// As [`Cache::try_get_or_fetch`].
    pub async fn fetch_with<T, E, F, Fut>(self, fetch: F) -> Result<V, FetchError<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(Option<Previous<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        match self.answer_with(fetch).await {
            Ok(answer) => Ok(answer.value),
            Err(failure) => Err(failure.error),
        }
    }

    /// As [`fetch_with`](Read::fetch_with), and tells how the value came about.
    ///
    /// # Errors
    ///
    /// As [`Cache::answer`].
    pub async fn answer_with<T, E, F, Fut>(self, fetch: F) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(Option<Previous<V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.go(|library: &Library<V>, key: &str| fetch(library.previous(key))).await
    }

    async fn go<T, E, F, Fut>(mut self, fetch: F) -> Result<Answer<V>, Failure<E>>
    where
        T: Into<Fetched<V>> + Send,
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(&Library<V>, &str) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        // Here, where the call begins: the future may have been made long ago.
        self.options.since = self.is_forced.then(Fetch::next_number);
        let filling = match self.cache.go_on(self.key, Seen::Nothing, fetch, self.options) {
            Next::Served(answer) => return Ok(answer),
            Next::Fill(filling) => filling,
        };
        filling.await.map(|answer| *answer)
    }
}
