//! Managed: a cache with its value type forgotten, which is all that administration needs. Each method
//! is the cache's own of the same name.

use futures_util::future::BoxFuture;
#[cfg(feature = "http")]
use larder::http::HttpCache;
use larder::{Cache, Purge, PurgeError, Receipt, Stats};

pub(crate) trait Managed: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    fn keys(&self, most: usize) -> Vec<String>;
    fn purge(&self, purge: Purge) -> BoxFuture<'_, Result<Receipt, PurgeError>>;
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

    fn purge(&self, purge: Purge) -> BoxFuture<'_, Result<Receipt, PurgeError>> {
        Box::pin(Cache::purge(self, purge))
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

    fn purge(&self, purge: Purge) -> BoxFuture<'_, Result<Receipt, PurgeError>> {
        Box::pin(HttpCache::purge(self, purge))
    }
}
