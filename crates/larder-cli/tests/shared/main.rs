//! `larder serve --shared` from outside: several processes over one Redis, real both, and all that goes wrong between.
//!
//! They need `redis-server` and `redis-sentinel` (`tools/install-test-deps`). What storms do takes its time, which is
//! said to each; what is asserted is counted, or compared with what was measured before the storm.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod changes;
mod crowd;
mod failover;
mod faults;
mod fleet;
mod instances;
mod neighbours;
mod outbox;
mod own_writes;
mod purges;
mod stand_in;
mod stopped;
mod storm;
#[path = "../serve/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of one process stand on the rest")]
mod support;
mod versions;
