//! Blocking: threads share the flights of a key with each other, and with readers that are futures.
//!
//! It is the same miss as any other, polled by the thread that waits for it. The fetch is a function that
//! brings its value at the first poll.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use larder_policy::reason::Reason;
use tokio::task::unconstrained;

use super::{
    Cache, Library,
    below::For,
    drop_before,
    miss::{AtHand, Joined},
    read::{ReadOptions, Wants},
};
use crate::{
    answer::{Answer, Failure, FailureSource},
    engine::look::{ANY_AGE, Found, Lookup, Shape},
    entry::Fetched,
    error::FetchError,
    key::CacheKey,
};

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// The value under `key`; if there is none that is fresh, the one that `make` returns, which is then
    /// stored. For threads: it blocks, and needs no runtime.
    ///
    /// Many threads that miss one key at once share one `make`, which runs on the thread that came first,
    /// and they share flights with readers that use [`get_or_fetch`](Cache::get_or_fetch) and its kin. If
    /// another's `make` or fetch fails or panics, this thread makes the value itself.
    ///
    /// ```
    /// # use larder::Cache;
    /// # use std::{sync::atomic::{AtomicU32, Ordering}, thread};
    /// let cache = Cache::<String>::builder().build();
    /// let (made, name) = (AtomicU32::new(0), "world".to_owned());
    /// thread::scope(|threads| {
    ///     for _ in 0..8 {
    ///         threads.spawn(|| {
    ///             let greeting = cache.get_or_insert_with("greeting", || {
    ///                 made.fetch_add(1, Ordering::Relaxed);
    ///                 format!("hello, {name}")
    ///             });
    ///             assert_eq!(greeting, "hello, world");
    ///         });
    ///     }
    /// });
    /// assert_eq!(made.into_inner(), 1);
    /// ```
    ///
    /// Nothing goes on behind a thread's back: a stale value is made anew, and a tier below memory is not asked
    /// (what is made within a tokio runtime is written there). `make` waits for no turn
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)) and has no time limit.
    ///
    /// In an `async` function, use [`get_or_fetch`](Cache::get_or_fetch), or call this within
    /// `spawn_blocking`. On a thread that drives a runtime it holds up all other tasks there. If the value
    /// is being fetched by one of those, nobody can end that fetch: after a second or two the thread
    /// notices, and makes the value itself ([`Stats::fetches_taken_over`](crate::Stats::fetches_taken_over)).
    ///
    /// # Panics
    ///
    /// - If its own `make` panics.
    /// - Within the `make` or fetch of `key` itself, directly or through those of other keys: there can be no
    ///   value then.
    pub fn get_or_insert_with<'k, T: Into<Fetched<V>>>(
        &self,
        key: impl Into<CacheKey<'k>>,
        make: impl FnOnce() -> T,
    ) -> V {
        match self.make(key.into(), || Ok::<T, Infallible>(make()), Wants::Value) {
            Ok(value) => value,
            Err(FetchError::Failed(never)) => match *never {},
            Err(error) => panic!("no value could be had: {error}"),
        }
    }

    /// As [`get_or_insert_with`](Cache::get_or_insert_with), for a value that may not be had.
    ///
    /// # Errors
    ///
    /// The error of `make`, shared by all who waited for it, unless something stale stands in for it
    /// ([`Builder::stale_if_error`](crate::Builder::stale_if_error)); else as
    /// [`try_get_or_fetch`](Cache::try_get_or_fetch).
    pub fn try_get_or_insert_with<
        'k,
        T: Into<Fetched<V>>,
        E: fmt::Display + Send + Sync + 'static,
    >(
        &self,
        key: impl Into<CacheKey<'k>>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<V, FetchError<E>> {
        self.make(key.into(), make, Wants::Answer)
    }

    fn make<T: Into<Fetched<V>>, E: fmt::Display + Send + Sync + 'static>(
        &self,
        key: CacheKey<'_>,
        make: impl FnOnce() -> Result<T, E>,
        wants: Wants,
    ) -> Result<V, FetchError<E>> {
        match self.look_for_thread(key.as_str()) {
            Ok(value) => {
                drop_before(make, &value);
                Ok(value)
            }
            Err((reason, at_hand)) => {
                let options = ReadOptions { blocks: true, ..ReadOptions::of(wants) };
                let answer =
                    self.library.fill_here(key.into_shared(), reason, at_hand, make, options);
                answer.map(|answer| answer.value)
            }
        }
    }

    /// What is fresh; or why there is nothing, and what is at hand. By itself, so that what it needs of the stack
    /// for large values is free again while one is made.
    fn look_for_thread(&self, key: &str) -> Result<V, (Reason, AtHand)> {
        let engine = &self.library.engine;
        let seen = match engine.find(key) {
            Found::Plain(value) => return Ok(value),
            Found::Other(seen) => seen,
        };
        match engine.look_on(key, seen, ANY_AGE) {
            Lookup::Usable { answer, shape: Shape::Fresh | Shape::Aging } => Ok(answer.value),
            Lookup::Usable { shape: Shape::Stale, .. } | Lookup::LastResort(_) => {
                Err((Reason::Expired, AtHand::Stale))
            }
            Lookup::Miss(reason) => Err((reason, AtHand::Nothing)),
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Library<V> {
    fn fill_here<T: Into<Fetched<V>>, E: fmt::Display + Send + Sync + 'static>(
        &self,
        key: Arc<str>,
        reason: Reason,
        at_hand: AtHand,
        make: impl FnOnce() -> Result<T, E>,
        options: ReadOptions,
    ) -> Result<Box<Answer<V>>, FetchError<E>> {
        let join = || self.join_here(&key, reason, make, options);
        let filled = block_on(Box::pin(self.miss(&key, at_hand, options, join)));
        filled.map_err(|failure| failure.error)
    }

    /// Joins the key's flight, or leads it to its end.
    async fn join_here<T: Into<Fetched<V>>, E: fmt::Display + Send + Sync + 'static>(
        &self,
        key: &Arc<str>,
        reason: Reason,
        make: impl FnOnce() -> Result<T, E>,
        options: ReadOptions,
    ) -> Result<Box<Answer<V>>, Failure<E>> {
        let asked = self.engine.asked_at();
        let (leader, _need) = match self.follow_or_lead(key, reason, asked, options).await {
            Joined::Lead(leader, need) => (leader, need),
            Joined::Ended(ended) => {
                drop_before(make, &ended);
                return ended;
            }
        };
        let mine = leader.follower();
        let fetch = |_: &_, _: &_| async { make() };
        // On the heap at once: large values need no large stack.
        Box::pin(self.lead(leader, fetch, options.wants, For::Thread)).await;
        match mine.landing().await {
            Some(landing) => self.share_own(landing, asked, options, reason),
            None => {
                let source = FailureSource::Fetched(reason);
                Err(Failure { error: FetchError::ShutDown, source })
            }
        }
    }
}

/// Wakes a thread that waits for one future. A thread may wait for several, each within the other, and all
/// unpark it: what was meant for another one is told by the flag.
struct Unpark {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// What `future` brings, for which this thread waits, whatever it belongs to.
fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    // On a runtime's thread the task that is blocked may have used up its budget, and would get no more.
    let mut future = pin!(unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.is_woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
