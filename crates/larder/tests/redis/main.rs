//! The lower tier on Redis, with real servers.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod cluster;
mod coherence;
mod contract;
mod control;
mod copies;
mod forks;
mod leases;
mod lines;
mod log;
mod readers;
mod records;
mod refusals;
mod replaced;
mod shared;
mod topologies;
mod worklist;
