//! What the engine promises, through its public API. Clocks stand still until a test moves them,
//! origins answer when they are told to, and every behaviour runs over every shape of cache.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod backoff;
mod below;
mod below_faults;
mod below_purges;
mod cancellation;
mod coherence;
mod crowd;
mod driven;
mod dry_run;
mod ends;
mod errors;
mod events;
mod extremes;
mod flight;
mod idle;
mod key;
mod large;
mod listing;
mod many;
mod map;
mod negative;
mod nesting;
mod outbox;
mod previous;
mod purge;
mod read;
mod reentry;
mod refresh;
mod removed;
mod room;
mod stale;
mod store;
mod support;
mod threads;
mod timeouts;
