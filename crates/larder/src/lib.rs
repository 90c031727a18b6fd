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
//! 1. a failure that is remembered ([`Builder::negative_ttl`]) is the answer;
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
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `http` | `larder::http`: a cache of responses before any service that answers HTTP requests |
//!
//! Without it 25 crates are built at most, tokio and this one included.
//!
//! # Coming from elsewhere
//!
//! | | fastapi-cache | cashews | moka | FusionCache | here |
//! | --- | --- | --- | --- | --- | --- |
//! | cache a function | `@cache(expire=…)` | `@cache(ttl=…)` | – | – | [`#[cached]`](macro@cached) |
//! | get or make | – | `get_or_set` | `try_get_with` | `GetOrSetAsync` | [`Cache::try_get_or_fetch`] |
//! | one fetch per key | – | `lock=True` | always | always | always |
//! | many keys, one fetch | – | – | – | – | [`Cache::try_get_many_or_fetch`] (a DataLoader's batch, Caffeine's `getAll`) |
//! | serve stale, refresh behind | – | `early`, `soft` | – | eager refresh | [`Builder::stale_while_revalidate`], [`Builder::refresh_ahead`] |
//! | serve stale on error | – | `failover` | – | fail-safe | [`Builder::stale_if_error`] |
//! | soft and hard timeouts | – | – | – | yes | [`Builder::soft_timeout`], [`Builder::hard_timeout`] |
//! | fetch whatever is stored | – | – | – | – | [`Cache::refresh`] (Caffeine's `refresh`) |
//! | from threads, without a runtime | – | – | `sync::Cache::get_with` | `GetOrSet` | [`Cache::get_or_insert_with`] |
//! | wishes of one call | – | – | – | entry options | [`Cache::read`]: [`max_age`](Read::max_age), [`soft_timeout`](Read::soft_timeout) |
//! | ask whether it has changed | – | – | – | conditional refresh | [`Read::fetch_with`], [`Previous::not_modified`] |
//! | purge by tag | `namespace` | tags | – | tags | [`Cache::purge_tag`], or with a receipt [`Cache::purge`] |
//! | a bound in bytes | – | – | weigher | – | always |
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
#[cfg(feature = "http")]
pub mod http;
#[cfg(all(test, shuttle))]
mod interleavings;
mod key;
mod needs;
mod pulse;
mod purge;
mod shape;
mod stats;
mod sweeper;
mod sync;
mod tier;
mod turns;
mod weigh;

pub use answer::{Answer, AnswerSource, EntryView, Failure, FailureSource, Storage};
pub use builder::{BuildError, Builder};
pub use cache::{Cache, Previous, Read};
pub use claim::{Instance, KeysOf, Told};
pub use clock::{Clock, ManualClock, Moment};
pub use entry::Fetched;
pub use error::FetchError;
pub use key::{CacheKey, KeyPart, ZeroPadded};
pub use larder_macros::cached;
#[cfg(feature = "http")]
pub use larder_policy::cache_status;
pub use larder_policy::{
    freshness::{self, Freshness, Lifetime},
    reason::{self, Reason},
};
pub use purge::{
    Mode, Purge, PurgeError, Receipt, Scope, Tier, TierReceipt, TierState, tags::TagKey,
};
pub use shape::KeyShape;
pub use stats::{Bucket, Event, Events, LowerStats, Observed, Stats, Times};
pub use tier::{lower, memory::Eviction};
pub use weigh::Weigh;

/// What the README shows runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
