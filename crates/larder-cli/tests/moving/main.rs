//! `larder import nginx`: what is made of nginx's files, and whether Larder does with it what nginx did. And the pages of
//! those who come from elsewhere.
//!
//! `nginx/*.conf` are the files, `nginx/*.txt` what is made of them (written anew with `LARDER_BLESS=1`).

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod files;
mod side_by_side;
#[path = "../serve/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of one process stand on the rest")]
mod support;
mod varnish;
