//! CDN: caches outside that others run. They are one more follower of the purge log, told what has gone by their own API.

pub mod driver;
pub mod drivers;
pub mod outgoing;
