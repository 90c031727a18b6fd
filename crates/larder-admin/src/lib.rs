//! The admin API of Larder's caches, as one axum router any application can mount.
//!
//! ```
//! use larder::Cache;
//! use larder_admin::Admin;
//!
//! let posts = Cache::<String>::builder().name("posts").build();
//! let router: axum::Router = Admin::new().cache(&posts).router();
//! ```
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | a page that says what there is |
//! | `GET /livez` | 200 `ok` while the process answers |
//! | `GET /readyz` | 200 `ready`; 503 once it is told to stop |
//! | `GET /metrics` | the counters of every cache as OpenMetrics text |
//! | `GET /v1/stats` | the counters of every cache |
//! | `GET /v1/events` | the same as server-sent events: one at once, then one a second |
//! | `POST /v1/purge` | `{"tags":["…"]}`, `{"keys":["…"]}`, `{"prefix":"…"}` or `{"all":true}`, with `"mode":"soft"` (the default: entries become stale) or `"hard"` (they are gone); answers `{"purged":2,"mode":"soft"}`, the number of entries, or `null` where a single step purges them uncounted (tags) |
//!
//! The answer to a purge of keys says of each how many entries that were:
//! `"keys":[{"key":"/a","purged":0,"did_you_mean":["http://localhost:8080/a"]}]`. Where that is none, up to
//! three stored keys that may have been meant are named, as far as they are among the first few thousand; so
//! are beginnings for a prefix that is that of nothing.
//!
//! With the feature `http`, a cache of HTTP responses ([`Admin::http_cache`]) takes keys and prefixes
//! as URIs in any spelling: `HTTP://Example.org:80/a` is what is stored as `http://example.org/a`.
//!
//! With the feature `log`, the module `log` is a process's log, which nobody waits for.
//!
//! Errors are `application/problem+json` (RFC 9457).
//!
//! **Serve it on a loopback address only**: there is no log-in. A page in a browser on the same
//! machine is kept out unless its origin was allowed, and so is one that points a foreign name at
//! this address ([`Admin::allow_origin`], [`Admin::allow_host`]). No cookie is read or set.

mod admin;
mod events;
mod guard;
mod index;
#[cfg(feature = "log")]
pub mod log;
mod managed;
pub mod metrics;
mod nearest;
mod problem;
mod purge;

pub use admin::Admin;
pub use problem::Problem;
