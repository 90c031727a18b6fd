//! What the tests of several crates stand on: processes, connections, origins, and how to wait for them.
//!
//! A development dependency, and never anything else. It uses none of the other crates: whoever tests one of them
//! has it once, and what is here says nothing about caches beyond what any reader of HTTP can see. What goes
//! wrong panics, as in the tests themselves.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`eventually`](mod@eventually) | how to wait for what comes true |
//! | [`paused`] | a clock that stands still while anything can run |
//! | [`process`] | a running program, gone when dropped; [`lines`] is what it says, [`memory`] what it holds |
//! | [`program`] | a program that runs to its end, such as curl |
//! | [`port`] | ports for those who must be told one |
//! | [`wire`] | one end of a connection; [`answer`] is what comes over it, [`cache_status`] what a cache says in it |
//! | [`origin`] | a server that plays a script on each connection |
//! | [`nginx`], [`haproxy`], [`redis`], [`sentinel`], [`prometheus`] | servers that others wrote |
//! | [`relay`] | a port before another one, that delays or holds up what is said |
//! | `certificate` | a certificate and its key, behind the feature of that name |

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

pub mod answer;
pub mod cache_status;
#[cfg(feature = "certificate")]
pub mod certificate;
pub mod eventually;
pub mod haproxy;
pub mod lines;
pub mod memory;
pub mod nginx;
pub mod origin;
pub mod paused;
pub mod port;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod redis;
pub mod relay;
pub mod sentinel;
pub mod varnish;
pub mod wire;
