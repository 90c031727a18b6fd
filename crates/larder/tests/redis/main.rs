//! The lower tier on Redis, with real servers.

mod coherence;
mod contract;
mod control;
mod forks;
mod log;
mod readers;
