//! A cache an application can trust with its slowest call: many readers of one key share one fetch,
//! memory stays inside a bound in bytes, and a purge is a purge.
//!
//! ```
//! use larder::Cache;
//! use std::time::Duration;
//!
//! let cache = Cache::<String>::builder().ttl(Duration::from_secs(300)).build();
//! cache.insert("greeting", "good morning".to_owned());
//! assert_eq!(cache.get("greeting").as_deref(), Some("good morning"));
//! cache.clear();
//! assert_eq!(cache.get("greeting"), None);
//! ```
//!
//! Around a slow call:
//!
//! ```
//! # use larder::Cache;
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # async fn ask_the_database(id: u64) -> std::io::Result<String> { Ok("a post".to_owned()) }
//! let posts = Cache::<String>::builder()
//!     .stale_while_revalidate(Duration::from_secs(60))
//!     .stale_if_error(Duration::from_secs(3600))
//!     .build();
//! let post = posts.try_get_or_fetch("/posts/1", || ask_the_database(1)).await;
//! assert_eq!(post.unwrap(), "a post");
//! # }
//! ```
//!
//! or, with [`#[cached]`](macro@cached), in one line above the function.
//!
//! # What an entry is good for
//!
//! ```text
//! age 0            ttl              ttl + while-revalidate   ttl + if-error
//!  ├──── fresh ─────┼─ served at once, ──────┼─ served if the ───┼── expired
//!                      refreshed behind         origin fails
//! ```
//!
//! Both windows are counted from the end of the TTL, and both are empty unless set. A *soft* purge
//! opens them at once; a *hard* one leaves nothing.
//!
//! # What happens
//!
//! On a **hit**: the key is hashed, one shard's read lock is taken, the entry is found and marked as
//! used, its age is compared with its lifetime and the number of the last purge with its own, and the
//! value is cloned. Nothing is moved, nothing is allocated, nobody is waited for. A *stale* hit starts
//! a refresh besides, as does one of an entry that is aging ([`Builder::refresh_ahead`]), unless the
//! last one of its key failed just now.
//!
//! On a **miss** ([`Cache::answer`] and its kin):
//!
//! 1. a failure that is remembered ([`Builder::negative_ttl`], [`Builder::negative_ttl_for`]) is the answer;
//! 2. the reader joins the key's *flight*. The first to join leads, everybody else follows;
//! 3. the leader looks once more, because another flight may have landed in between, and starts its
//!    fetch as a task of the cache: a reader that leaves disturbs nobody. Where there is a tier below memory
//!    ([`Builder::lower`]), that is asked first, and what is fetched is written there behind the readers' backs;
//! 4. the fetch waits its turn ([`Builder::max_concurrent_fetches`]), unless another fetch asks for it,
//!    runs at most its limit ([`Builder::hard_timeout`]), and its value is stored, unless a purge came in
//!    between;
//! 5. all who wait are woken and share the very same value, or the very same error; except those who
//!    asked after a purge that the fetch began before: they fetch anew;
//! 6. if it failed, or takes longer than [`Builder::soft_timeout`], a reader with a stale entry at
//!    hand is given that.
//!
//! # What a fetch sees of its reader
//!
//! A fetch runs as a task of the cache, for it may outlive its reader and serves others as well. So of what belongs
//! to the reader's task it sees what it is given, and no more:
//!
//! - **Task-locals** are the reader's, and are not set in the fetch. Read them before, and move what the fetch
//!   needs into it. What changes the value has to be in the key, or one user is given another's.
//! - **Spans**: with the feature `tracing` a fetch runs in the span of the reader that needs it first, which is open
//!   until the fetch has ended. A refresh behind a reader's back has a span of its own, `refresh`, that
//!   [follows from](https://docs.rs/tracing/latest/tracing/struct.Span.html#method.follows_from) its reader's:
//!   that one is not held open for it. Without the feature a fetch is in no span.
//! - **What it spawns** is a task of its own: it goes on when the fetch is given up (a `JoinSet` in the fetch ends
//!   it), has none of the fetch's context either, and what it asks of a cache is not known to be the fetch's
//!   ([`Builder::max_concurrent_fetches`]).
//!
//! ```
//! # use larder::Cache;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! tokio::task_local! {
//!     static TENANT: String;
//! }
//!
//! async fn greeting(cache: &Cache<String>) -> String {
//!     let tenant = TENANT.get();
//!     let key = format!("greeting:{tenant}");
//!     cache.get_or_fetch(key, async move || {
//!         assert!(TENANT.try_with(|_| ()).is_err(), "it is the reader's");
//!         format!("good morning, {tenant}")
//!     })
//!     .await
//! }
//!
//! let cache = Cache::<String>::builder().build();
//! let greeted = TENANT.scope("acme".to_owned(), greeting(&cache)).await;
//! assert_eq!(greeted, "good morning, acme");
//! # }
//! ```
//!
//! In tests on Tokio's paused time, [`Clock::other`] has entries age with it.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `http` | `larder::http`: a cache of responses before any service that answers HTTP requests |
//! | `compress` | with `http`: stored text in content codings as well, `zstd`, `br` and `gzip` (`Policy::compress`) |
//! | `redis` | `larder::redis`: a tier below memory that several processes share, on a server of Redis or Valkey; `Builder::shared` and `codec::Postcard` |
//! | `tracing` | fetches run in the spans of their readers |
//!
//! Without them 25 crates are built at most, tokio and this one included.
//!
//! # Coming from elsewhere
//!
//! | | fastapi-cache | cashews | moka | FusionCache | here |
//! | --- | --- | --- | --- | --- | --- |
//! | cache a function | `@cache(expire=…)` | `@cache(ttl=…)` | – | – | [`#[cached]`](macro@cached) |
//! | cache a method | key builder | `key="{self.id}"` | – | – | [`#[cached]`](macro@cached) with `cache = self.posts` |
//! | purge what a function returned | `namespace` | `tags=…` | – | – | [`#[cached]`](macro@cached) with `static POSTS`, then [`Cache::purge_tag`] |
//! | keep no `None` | – | `condition=NOT_NONE` | `optionally_get_with` | – | always; `negative_ttl = "5s"` keeps it |
//! | get or make | – | `get_or_set` | `try_get_with` | `GetOrSetAsync` | [`Cache::try_get_or_fetch`] |
//! | one fetch per key | – | `lock=True` | always | always | always |
//! | many keys, one fetch | – | – | – | – | [`Cache::try_get_many_or_fetch`] (a DataLoader's batch, Caffeine's `getAll`) |
//! | serve stale, refresh behind | – | `early`, `soft` | – | eager refresh | [`Builder::stale_while_revalidate`], [`Builder::refresh_ahead`] |
//! | serve stale on error | – | `failover` | – | fail-safe | [`Builder::stale_if_error`] |
//! | remember failures, by error | – | – | – | – | [`Builder::negative_ttl_for`] |
//! | a failure that names its cause | – | – | `Arc<E>` | the exception | [`FetchError`], which `?` takes, and [`Event::FetchFailed`] |
//! | the caller's span in the fetch | – | – | – | activities | feature `tracing` |
//! | time that tests move | – | – | – | – | [`ManualClock`], [`Clock::other`] for Tokio's |
//! | soft and hard timeouts | – | – | – | yes | [`Builder::soft_timeout`], [`Builder::hard_timeout`] |
//! | fetch whatever is stored | – | – | – | – | [`Cache::refresh`] (Caffeine's `refresh`) |
//! | from threads, without a runtime | – | – | `sync::Cache::get_with` | `GetOrSet` | [`Cache::get_or_insert_with`] |
//! | wishes of one call | – | – | – | entry options | [`Cache::read`]: [`max_age`](Read::max_age), [`soft_timeout`](Read::soft_timeout) |
//! | ask whether it has changed | – | – | – | conditional refresh | [`Read::fetch_with`], [`Previous::not_modified`] |
//! | purge by tag | `namespace` | tags | – | tags | [`Cache::purge_tag`], or with a receipt [`Cache::purge`] |
//! | a bound in bytes | – | – | weigher | – | always, by [`Weigh`], which types derive |
//! | a key of several values | `key_builder` | `"{id}:{lang}"` | a tuple | – | a tuple, kept apart ([`ToKey`]) |
//! | told of what goes | – | – | `eviction_listener` | `Events` | [`Builder::on_removed`] |
//! | is it there | – | `exists` | `contains_key` | – | [`Cache::contains_key`] |
//! | all keys | – | `scan` | `iter` | – | [`Cache::keys`] |
//! | get and remove | – | – | `remove` | – | [`Cache::take`] |
//! | change what is there | – | `incr` | `and_compute_with` | – | [`Cache::compute`] |
//! | remove by a closure | – | – | `invalidate_entries_if` | – | [`Cache::retain_local`] |
//! | sliding expiry | – | – | `time_to_idle` | – | [`Builder::time_to_idle`] |
//! | a new lifetime | – | `expire` | – | – | [`Cache::touch`] |
//!
//! # When not to cache
//!
//! - Data that must never be a moment old: a balance before a payment.
//! - Answers meant for one user, unless the user is in the key and there is room for all of them.
//! - What changes more often than it is read: every fetch is then a miss with extra work.
//! - Key spaces without end (search texts, every query parameter there is): nothing is asked twice.

mod answer;
mod builder;
mod cache;
mod claim;
mod clock;
pub mod codec;
mod engine;
mod entry;
mod error;
mod gone;
#[cfg(feature = "http")]
pub mod http;
#[cfg(all(test, shuttle))]
mod interleavings;
#[doc(hidden)]
mod jitter;
pub mod journal;
mod key;
pub mod listing;
mod needs;
mod pulse;
mod purge;
mod rules;
pub mod seat;
mod shape;
#[cfg(all(test, not(shuttle)))]
mod simulation;
mod span;
mod stats;
mod sweeper;
mod sync;
mod tier;
mod turns;
mod weigh;

pub use answer::{Answer, AnswerSource, EntryView, Failure, FailureSource, Storage};
pub use builder::{BuildError, Builder};
pub use cache::{
    Cache, Previous, Read,
    dry_run::{DryRead, ReadBelow, ReadStep, RefreshOutlook},
    map::{Compute, Computed, Contended},
};
pub use claim::{Instance, KeysOf, Told};
pub use clock::{Clock, ManualClock, Moment};
pub use entry::Fetched;
pub use error::{Disguised, Fallible, FetchError, Undisguised};
pub use gone::{GoneCause, GoneKey, GoneLimits, GonePurge};
pub use key::{CacheKey, KeyPart, ToKey, ZeroPadded};
pub use larder_macros::{Weigh, cached};
#[cfg(feature = "http")]
pub use larder_policy::cache_status;
pub use larder_policy::{
    freshness::{self, Freshness, Lifetime},
    reason::{self, Reason},
};
pub use purge::{
    Asked, Doubt, Glob, GlobError, MadePurge, Mode, OnDisk, Purge, PurgeError, PurgeFollower,
    Receipt, Replication, Scope, Tier, TierReceipt, TierState, tags::TagKey,
};
pub use shape::KeyShape;
pub use stats::{Bucket, Event, Events, LowerStats, Observed, Stats, Times};
#[cfg(feature = "redis")]
pub use tier::redis;
pub use tier::{
    lower,
    memory::{Eviction, RemovalCause},
};
pub use weigh::Weigh;

/// What the README shows runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
