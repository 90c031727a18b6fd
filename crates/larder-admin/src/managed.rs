//! Managed: a cache with its value type forgotten, which is all that administration needs.

use larder::{Cache, Stats};

pub(crate) trait Managed: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    /// True if something was there.
    fn remove(&self, key: &str) -> bool;
    /// How many entries that was.
    fn clear(&self) -> usize;
}

impl<V: Clone + Send + Sync + 'static> Managed for Cache<V> {
    fn name(&self) -> &str {
        Cache::name(self)
    }

    fn stats(&self) -> Stats {
        Cache::stats(self)
    }

    fn remove(&self, key: &str) -> bool {
        Cache::remove(self, key)
    }

    fn clear(&self) -> usize {
        Cache::clear(self)
    }
}
