//! The cache before a service that answers HTTP requests, as its readers and its origin see it.
//! Clocks stand still until a test moves them, and the origin answers when it is told to.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod allocation;
mod apart;
mod arriving;
mod below;
mod coherence;
#[cfg(feature = "compress")]
mod compression;
mod conditions;
mod dry_run;
mod fast_hit;
mod flight;
mod hit;
mod layer;
mod listing;
mod methods;
mod no_vary_search;
mod not_before;
mod phases;
mod poison;
mod purge;
mod range;
mod readers;
mod removed;
mod rules;
mod said;
mod spelling;
mod stale;
mod storm;
mod support;
mod turns;
mod validate;
mod vary;
