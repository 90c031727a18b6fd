//! The lower tier on Redis, with real servers.

mod cluster;
mod coherence;
mod contract;
mod control;
mod forks;
mod leases;
mod lines;
mod log;
mod readers;
mod records;
mod replaced;
mod shared;
mod topologies;
