//! Managed: a cache with its value type forgotten, which is all that administration needs. Each method
//! is the cache's own of the same name.

#[cfg(feature = "http")]
use larder::http::HttpCache;
use larder::{Cache, Stats};

pub(crate) trait Managed: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    fn keys(&self, most: usize) -> Vec<String>;
    fn remove(&self, key: &str) -> bool;
    fn soft_remove(&self, key: &str) -> bool;
    fn clear(&self) -> usize;
    fn soft_clear(&self);
    fn purge_prefix(&self, prefix: &str) -> usize;
    fn soft_purge_prefix(&self, prefix: &str) -> usize;
    fn purge_tag(&self, tag: &str);
    fn soft_purge_tag(&self, tag: &str);
}

impl<V: Clone + Send + Sync + 'static> Managed for Cache<V> {
    fn name(&self) -> &str {
        Cache::name(self)
    }

    fn stats(&self) -> Stats {
        Cache::stats(self)
    }

    fn keys(&self, most: usize) -> Vec<String> {
        Cache::keys(self, most)
    }

    fn remove(&self, key: &str) -> bool {
        Cache::remove(self, key)
    }

    fn soft_remove(&self, key: &str) -> bool {
        Cache::soft_remove(self, key)
    }

    fn clear(&self) -> usize {
        Cache::clear(self)
    }

    fn soft_clear(&self) {
        Cache::soft_clear(self);
    }

    fn purge_prefix(&self, prefix: &str) -> usize {
        Cache::purge_prefix(self, prefix)
    }

    fn soft_purge_prefix(&self, prefix: &str) -> usize {
        Cache::soft_purge_prefix(self, prefix)
    }

    fn purge_tag(&self, tag: &str) {
        Cache::purge_tag(self, tag);
    }

    fn soft_purge_tag(&self, tag: &str) {
        Cache::soft_purge_tag(self, tag);
    }
}

/// By URI, in any spelling.
#[cfg(feature = "http")]
impl Managed for HttpCache {
    fn name(&self) -> &str {
        self.cache().name()
    }

    fn stats(&self) -> Stats {
        self.cache().stats()
    }

    fn keys(&self, most: usize) -> Vec<String> {
        self.cache().keys(most)
    }

    fn remove(&self, key: &str) -> bool {
        HttpCache::remove(self, key)
    }

    fn soft_remove(&self, key: &str) -> bool {
        HttpCache::soft_remove(self, key)
    }

    fn clear(&self) -> usize {
        self.cache().clear()
    }

    fn soft_clear(&self) {
        self.cache().soft_clear();
    }

    fn purge_prefix(&self, prefix: &str) -> usize {
        HttpCache::purge_prefix(self, prefix)
    }

    fn soft_purge_prefix(&self, prefix: &str) -> usize {
        HttpCache::soft_purge_prefix(self, prefix)
    }

    fn purge_tag(&self, tag: &str) {
        self.cache().purge_tag(tag);
    }

    fn soft_purge_tag(&self, tag: &str) {
        self.cache().soft_purge_tag(tag);
    }
}
