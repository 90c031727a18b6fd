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
//! | `GET /` | the console, with the feature `console` and where it was built; otherwise a page that says what there is |
//! | `GET /livez` | 200 `ok` while the process answers |
//! | `GET /readyz` | 200 `ready`, and a further line for a shared tier that does not answer; 503 once it is told to stop |
//! | `GET /metrics` | the counters of every cache as OpenMetrics text, and the [`figures`] of what is beside them |
//! | `GET /v1/stats` | the counters of every cache, and the hit ratio of all requests, [of which each that cost the service nothing is a hit](routes::Requests::hit_ratio); `null` before the first |
//! | `GET /v1/events` | the same as server-sent events: one at once, then one a second; and purges as they go on, where a [`trail`] remembers them |
//! | `GET /v1/routes?order=requests&limit=50&after=…` | what the requests of each route have come to, and what is stored for it, where something here has [`routes`]: the most first, by `requests`, `misses`, `origin_seconds`, `bytes` or `name`; at most 1000 at once, and `next` is what to go on [after](routes) |
//! | `POST /v1/purge` | `{"tags":["…"]}`, `{"keys":["…"]}`, `{"prefix":"…"}`, `{"glob":"…*…"}` ([`Glob`](larder::Glob)) or `{"all":true}`, with `"mode":"soft"` (the default: entries become stale) or `"hard"` (they are gone), and `"wait"` for the outermost tier that must have answered (`"memory"`, the default, or `"shared"`), for `"timeout_ms"` at most (1 to 60000; usually as the cache's [settings](larder::lower::Settings::purge_wait) say); answers `{"purged":2,"mode":"soft","receipts":[…]}`: the number of entries, or `null` where a single step purges them uncounted (tags), and a [`Receipt`](larder::Receipt) for each name and cache |
//! | `GET /v1/entries`, `GET /v1/entry`, `GET /v1/entry/body`, `GET /v1/tags`, `GET /v1/copies` | what the caches hold, page by page in an order; one entry and the responses that it has; the tags of all of it; which parameters multiply it |
//! | `GET /v1/gone` | which keys went of late, why, when and by which purge |
//! | `GET /v1/history` | what happened in each second of the last hour; `/v1/events?only=second` tells it as it happens |
//! | `GET /v1/stage`, `POST /v1/stage/crowd`, `…/break_shared`, `…/slow_origin` | acts for whoever watches: many requests at once, and faults that can be taken back. Where something here offers a [`stage`] ([`Admin::stage`]) |
//! | `GET /openapi.json` | all of it described to programs (OpenAPI 3.1) |
//! | `GET /v1/purges/{id}`, `GET /v1/purges?since=TIME` | what was purged under that name, or since then and by whom, and how far each tier is: where a [`trail`] remembers it ([`Admin::trail`]). The answer to a purge has its name, `id`, then, and `"wait":"cdn"` waits for CDNs |
//! | `GET /v1/explain?url=…&method=…&header=name:value`, `POST /v1/explain` with `{"url":"…","method":"GET","headers":[["name","value"]],"policy":"…"}` | what would become of that request now, and why ([`explain`]): its key, what each tier holds, the verdict, what is stored that nearly fits; by the text of another configuration as well. Nothing changes by it. Where something here explains ([`Admin::explain_with`]) |
//! | `GET /v1/requests/{id}` | what has become of the request whose answer had this id in `Larder-Request` |
//!
//! A tier in a receipt has one of these states: `applied` (with `by` and `of`: it holds for so many of so many),
//! `lapsed` (the same, and those `missing` have not heard from the tier for so long that they can no longer serve what
//! is older), `queued`, `sent`, `confirmed`, or `failed` (with a `reason`). A tier below memory purges a pattern as the prefix up
//! to its first star; its line then says `"what":"prefix …"`.
//!
//! The answer to a purge of keys says of each how many entries that were:
//! `"keys":[{"key":"/a","purged":0,"did_you_mean":["http://localhost:8080/a"]}]`. Where that is none, up to
//! three stored keys that may have been meant are named, as far as they are among the first few thousand; so
//! are beginnings for a prefix that is that of nothing.
//!
//! A purge with `"dry_run":true` changes nothing and says how many entries and bytes it would touch:
//! `{"dry_run":true,"would":{"entries":2,"bytes":512},"dated":"…"}`. Whoever may read may ask for it.
//!
//! A soft purge with `"refresh":true` has what it marked stale asked for again, what was read most first, where something
//! here can ([`Admin::refresh_with`]): the answer then has `"refresh":{"queued":2,"left_out":0}`.
//!
//! With the feature `http`, a cache of HTTP responses (`Admin::http_cache`) takes keys and prefixes
//! as URIs in any spelling: `HTTP://Example.org:80/a` is what is stored as `http://example.org/a`.
//!
//! What becomes of a tier that processes share is for the log: [`watch`].
//!
//! With the feature `log`, the module `log` is a process's log. No task waits for it to be written.
//!
//! Errors are `application/problem+json` (RFC 9457).
//!
//! **Serve it on a loopback address only**, unless tokens are asked for ([`Admin::read_token`],
//! [`Admin::write_token`]). `/livez` and `/readyz` need none. A page in a browser on the same
//! machine is kept out unless its origin was allowed, and so is one that points a foreign name at
//! this address ([`Admin::allow_origin`], [`Admin::allow_host`]). No cookie is read or set.

pub mod access;
mod admin;
mod assets;
mod console;
mod copies;
mod cursor;
mod distributions;
mod entries;
mod entry;
mod events;
pub mod explain;
pub mod figures;
mod forecast;
mod forget;
mod gone;
mod guard;
mod health;
mod held;
mod history;
mod index;
pub mod instances;
mod key_routes;
#[cfg(feature = "log")]
pub mod log;
mod managed;
mod metrics;
mod nearest;
mod object;
mod openapi;
#[cfg(feature = "redis")]
pub mod over_redis;
mod problem;
mod purge;
mod purges;
mod question;
mod receipt;
mod refresh;
pub mod routes;
mod settling;
mod snapshots;
pub mod stage;
mod stats;
mod tags;
mod totals;
pub mod trail;
pub mod walks;
pub mod watch;
pub mod way;
pub mod written;

pub use admin::Admin;
pub use entry::Tokens;
pub use key_routes::KeyRoutes;
pub use problem::Problem;
pub use receipt::ReceiptView;
pub use refresh::{Refresh, Refreshed};
