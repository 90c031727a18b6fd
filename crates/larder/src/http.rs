//! A shared HTTP cache (RFC 9111) before any tower service: an application's own handlers, or a
//! gateway's origin.
//!
//! ```
//! use axum::{Router, http::header::CACHE_CONTROL, routing::get};
//! use larder::{
//!     Cache,
//!     http::{HttpCache, Policy, Variants},
//! };
//! # use axum::{body::Body, http::Request};
//! # use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = Cache::<Variants>::builder().max_bytes(64 << 20).build();
//! let cache = HttpCache::new(store, Policy::guarded());
//! let mut app = Router::new()
//!     .route("/posts", get(async || ([(CACHE_CONTROL, "max-age=60")], "all posts")))
//!     .layer(cache.layer());
//!
//! for says in ["Larder;fwd=uri-miss;", "Larder;hit;"] {
//!     let request = Request::get("/posts").header("host", "example.org").body(Body::empty());
//!     let answer = app.call(request.unwrap()).await.unwrap();
//!     let status = answer.headers()["cache-status"].to_str().unwrap().to_owned();
//!     assert!(status.starts_with(says));
//!     // A body is stored once it is here: this one is read to its end.
//!     axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
//! }
//! # }
//! ```
//!
//! Every answer tells in `Cache-Status` (RFC 9211) what the cache did, and why.
//!
//! # What happens
//!
//! On a **hit**:
//!
//! 1. the request's URI is written as all equivalent ones are: that is the key;
//! 2. the key's variants are taken out of the store, purges considered;
//! 3. [`decide`](policy::reuse::decide) says which of them may answer, from what was digested when it
//!    was stored; no stored field is parsed;
//! 4. the reader's own conditions and range are applied, the fields are copied, `Age`, `Cache-Status` and
//!    `Server-Timing` are added, and the body is shared with the store, however long it is. Nobody is
//!    waited for. A *stale* hit (RFC 5861) starts a refresh besides.
//!
//! Who holds the request's bytes in a buffer may ask [`HttpCache::fast_hit`] first: it answers plain hits by
//! the same rules, without making a request of them, and allocates nothing.
//!
//! On a **miss**:
//!
//! 1. the reader joins the key's *flight*: one for each variant that is known of. Requests that look
//!    personal (credentials, and in `guarded` cookies) have flights of their own, one for the same
//!    credentials, or one for all once their answers have turned out to be for all. The first to join leads;
//! 2. the leader looks once more, because another flight may have landed, or a purge have come; where there is a
//!    [tier below memory](crate::Builder::lower_http), it asks there, once, and decides over what both have. What
//!    answers the request there is handed on as what arrives is, below, and nobody's origin is asked. Else the leader
//!    takes its turn, and sends its request on as a task of the cache: with our validators if there is something to
//!    validate, for the rest if there is a part, without the reader's range and conditions if the whole is
//!    wanted. Those it applies itself then, to whatever comes; where a key's answers have not been stored for
//!    long, they go to the origin (RFC 9110 §13.2.1). Fields that would make the origin answer another request
//!    go only if they are a [part of the key](Policy::key_fields). When all have left who wait for the head of
//!    the answer, the request is given up;
//! 3. [`storability`](policy::response::storability) judges the head of the answer. What may not be stored
//!    goes to the leader's reader and to nobody else, and that is remembered for a while;
//! 4. what may be stored is announced: whoever waits is answered from the body that arrives, as it
//!    arrives;
//! 5. once it is whole it is stored, unless a purge came in between. What breaks off, or is not as long
//!    as it said, is an error for its readers and is never stored. What grows too large, or finds no room, reaches
//!    its readers through a window and is not stored.
//!
//! Readers of one body do not wait for each other: the origin is read as fast as the fastest of them reads, and the
//! others go on from what is kept for them while there is room
//! ([`Settings::max_arriving_bytes`]). Where there is none, a reader that stands still gets an error
//! ([`CutOff`]) instead of the rest. A server that holds bytes of a [`Body`] while its reader takes nothing waits for
//! its [`Loan`] as well.
//!
//! A **follower**, who waits for another's flight:
//!
//! 1. is answered from what was announced, if that fits: the variant is its own, it asked after no purge
//!    that the fetch began before, and its own `Cache-Control` has nothing against it;
//! 2. if it is another variant, joins those who want the same;
//! 3. if the answer was for one reader only, or may not be reused without asking, goes on alone, at once, as
//!    all the others do;
//! 4. if the origin failed, gets the same error, or something stale that may stand in. Errors are not
//!    remembered: who comes later asks again.
//!
//! A request that spells its **URI** otherwise than all equivalent ones are written in the key (`EXAMPLE.org`,
//! `example.org:80`, `/%7Efoo`) is answered from what is stored, and brings nothing into the store: the origin
//! sees what the reader wrote, and may answer that spelling otherwise. What it fetches is its reader's alone.
//!
//! A **purge**: by key ([`HttpCache::remove`]: a URI in any spelling) or prefix, and through the
//! [`Cache`](crate::Cache) it was made of by tag (`Surrogate-Key`, `Cache-Tag`, `xkey`) or of all, hard or
//! soft. Once it is acknowledged, nobody
//! who asks afterwards is given what it named: not by a fetch under way, not by a body that is arriving,
//! not by a confirmation on its way. Readers who asked before may still be given it.
//!
//! **Unsafe methods** pass, once, and are never repeated. Where they succeed, what is stored for their
//! URI, `Location` and `Content-Location` goes, with its answers to QUERY, and so do the named groups
//! (RFC 9111 §4.4, RFC 9875), also if the reader has left meanwhile. Whatever passes and gets no answer within
//! the [`hard_timeout`](crate::Builder::hard_timeout), counted from the last of its content, is given up; and
//! if it is unsafe, what is stored for its URI goes: what it has changed nobody knows.
//!
//! # Who waits for whom
//!
//! Readers of a key wait for one answer because they may have it (RFC 9111 §4: what may be reused may be shared
//! by those who wait). Whether they may, its head tells. One that they may not have (`private`, `no-store`,
//! `Set-Cookie` in `guarded`; no freshness at all, or none that is left when it comes) costs the first crowd of
//! its key one wait in vain: each reader then asks for itself, all at once. That is remembered for two minutes
//! ([`Policy::hit_for_miss`](policy::settings::Policy::hit_for_miss)), and said anew by each such answer: later
//! readers ask at once, and wait as long as without a cache. An origin that says how long its answers are fresh
//! (or a [`default_ttl`](Policy::default_ttl)) has one request for each crowd, the first included.
//!
//! As many requests may wait for the origin at once as there are *turns*
//! ([`max_concurrent_fetches`](crate::Builder::max_concurrent_fetches)). No path may hold more than three for
//! each one that is free, no [`Client`] more than seven, no host more than fifteen: with 1024 turns, a path that
//! hangs takes 768 at most, a client 896, a host 960, and where several hang each has less. Further ones wait, up
//! to [`Settings::turn_wait`], and then are a [`NoAnswer::NoTurn`]: 503. A body that is stored keeps its turn until it is
//! here; one that passes to its reader gives it back with its head, however long it stays open. Requests that
//! pass have turns of their own ([`Settings::max_passing`]).
//!
//! # Rules
//!
//! An [`HttpCache`] keeps responses, and has rules for requests that bring none along. A server whose paths have
//! rules of their own puts them into its requests ([`Rules`]): one cache, one bound of memory, one purge for all of
//! them. A request's rules say what is stored of its answer, how its readers wait for each other, and whether
//! something stored may answer it, also if that was stored by other rules.
//!
//! # What `guarded` refuses
//!
//! [`Policy::guarded`], the default, does not share what looks personal although the standard would
//! share it: answers with `Set-Cookie` ([`Policy::set_cookie`] may store them without); answers to requests
//! with `Cookie`, unless they say `public` or `s-maxage` (or the policy says that cookies do not matter);
//! answers without any freshness information; errors that are about the one request (400, 405, 413 and
//! their like), and redirects of a URI to itself. It offers no entity tag of one variant for another, and
//! sends no field on that would make the origin answer another request. [`Policy::standard`] is RFC 9111 to
//! the letter, but that neither stores an error that its request may have caused (a large head, an odd
//! field), nor a stream without an end. The reason of each refusal is the `detail` in `Cache-Status`.
//!
//! # Compression
//!
//! With `Policy::compress` (feature `compress`) stored text is kept in content codings as well: `zstd`, `br` and `gzip`
//! ([`Coding`](policy::coding::Coding)). The first hit that would be answered better by a form that is not there is
//! answered without, and has it made behind its back, once for all; [`HttpCache::compression`] counts. A form lies in
//! the entry of its response, counts in its weight and goes with it. It has an entity tag of its own, which no origin
//! sees ([`coded`](policy::coded)); what is not stored is never compressed, and so nothing that is one reader's.
//!
//! # When not to use it
//!
//! - Before handlers whose answers say nothing about caching: nothing is stored, and a
//!   [`default_ttl`](Policy::default_ttl) is a promise that somebody has to keep.
//! - For answers that depend on what no field of the request tells (the peer's address, the time of day):
//!   say `private` or `no-store` there, or put the layer before other routes only.
//! - For large files: [`Settings::max_body_bytes`]. They pass, one request each.
//! - Before streams that never end: server-sent events are passed on, each reader's own; of others nobody
//!   knows before [`Settings::max_arriving_time`] is over. Say `no-store` there.

mod beginning;
mod below;
mod body;
mod cache;
mod compress;
mod decision;
mod dry_run;
mod error;
mod explain;
mod fast_hit;
mod fetch;
mod follow;
mod forms;
mod hit_for_miss;
mod landing;
mod layer;
mod lead;
mod list;
mod miss;
mod most_read;
mod nearest;
mod no_vary_search;
mod origin;
mod outside;
mod pass;
mod phases;
mod pump;
mod purge;
mod queries;
mod records;
mod refresh;
mod reply;
mod request;
mod respond;
mod resume;
mod serve;
mod service;
mod settings;
mod store;
mod stored;
mod tags;
mod targets;
mod turns;
mod variants;

pub use beginning::BodyBeginning;
pub use body::{
    Body,
    readers::{CutOff, Loan},
};
pub use cache::HttpCache;
pub use compress::CompressionStats;
pub use dry_run::{Below, DryRun, Held, RefreshOutlook, Standing, Step};
pub use error::{BoxError, BrokenOff, NoAnswer};
pub use explain::{Handled, ShowHandled, ShowKey, ShowTags, Verdict};
pub use fast_hit::{BorrowedRequest, HitResponse};
pub use larder_policy::{self as policy, settings::Policy};
pub use layer::{CacheLayer, CachedHandlers, Unfailing};
pub use list::{HeldResponses, HeldVariant, RulesOfKeys};
pub use most_read::Again;
pub use nearest::{Near, Nearest};
pub use phases::{FlightName, Phase, PhaseKind, Phases};
pub use request::{Bypass, GivenUp, MayTakeLong, NotBefore, Rules, StoredBy};
pub use service::{Answering, CacheService};
pub use settings::Settings;
pub use turns::Client;
pub use variants::Variants;

pub use crate::tier::memory::ClassHeld;
