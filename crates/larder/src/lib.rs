//! A cache for anything slow: many readers of one key share one fetch, and memory stays inside a
//! bound in bytes.
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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # async fn ask_the_database() -> std::io::Result<String> { Ok("a post".to_owned()) }
//! let posts = Cache::<String>::builder().build();
//! let post = posts.try_get_or_fetch("/posts/1", ask_the_database).await;
//! assert_eq!(post.unwrap(), "a post");
//! # }
//! ```
//!
//! # What happens
//!
//! On a **hit**: the key is hashed, one shard's read lock is taken, the entry is found and marked as
//! used, its age is compared with its lifetime, and the value is cloned. Nothing is moved, nothing is
//! allocated, nobody is waited for.
//!
//! On a **miss** (`get_or_fetch` and its kin):
//!
//! 1. the reader joins the key's *flight*. The first to join leads, everybody else follows;
//! 2. the leader looks once more, because another flight may have landed in between;
//! 3. the leader runs its fetch, stores the result unless the key was purged meanwhile, and lands;
//! 4. followers are woken and share the very same result, or the very same error. An error is shared
//!    with those who waited for it and with nobody later;
//! 5. a leader that is dropped unfinished hands its duty to a follower.
//!
//! # When not to cache
//!
//! Data that must never be a moment old, answers meant for one user, and key spaces without end
//! (every request its own key) gain nothing and cost memory.

mod builder;
mod cache;
mod clock;
mod entry;
mod error;
mod flight;
mod key;
mod stats;
mod tier;
mod weigh;

pub use builder::Builder;
pub use cache::{Answer, AnswerSource, Cache, Storage};
pub use clock::{Clock, ManualClock, Moment};
pub use entry::Fetched;
pub use error::FetchError;
pub use key::CacheKey;
pub use larder_policy::{cache_status, freshness, reason};
pub use stats::Stats;
pub use weigh::Weigh;
