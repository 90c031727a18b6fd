//! `larder serve` behind caches of others, real ones: what was purged here is not served there, from when a receipt says so.
//!
//! They need `varnishd` with varnish-modules, and nginx with ngx_cache_purge (`tools/install-test-deps`).

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod again;
mod api;
mod calls;
mod circle;
mod crash;
mod failing;
mod fleet;
mod left;
mod live;
mod outer;
mod probing;
mod rounds;
mod secrets;
mod shared;
mod site;
#[path = "../serve/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of one process stand on the rest")]
mod support;
mod tags;
mod waiting;
