//! Delay: how long the posts service takes before each query, which may change while it runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Serialize, Serializer};

/// A time in whole milliseconds, from zero. Clones are the same time.
#[derive(Clone, Debug)]
pub(crate) struct Delay(Arc<AtomicU64>);

impl Delay {
    pub(crate) fn new(delay: Duration) -> Delay {
        Delay(Arc::new(AtomicU64::new(millis(delay))))
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }

    /// Holds for requests that come from now on.
    pub(crate) fn set(&self, delay: Duration) {
        self.0.store(millis(delay), Relaxed);
    }
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

/// As the milliseconds that it is at that moment.
impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.load(Relaxed))
    }
}
