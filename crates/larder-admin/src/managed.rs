//! Managed: a cache with its value type forgotten, which is all that administration needs. Each method
//! is the cache's own of the same name; `purge` is `purge_within` where a time is given.

use std::time::Duration;

use futures_util::future::BoxFuture;
#[cfg(feature = "http")]
use larder::http::HttpCache;
use larder::{
    Cache, Purge, PurgeError, Receipt, Stats,
    lower::{Forget, Forgotten, Health, LowerError},
};

pub(crate) trait Managed: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    fn keys(&self, most: usize) -> Vec<String>;
    fn lower_health(&self) -> Option<Health>;
    fn outbox_failure(&self) -> Option<String>;
    fn forget_reader<'a>(
        &'a self,
        name: &'a str,
        whom: Forget,
    ) -> BoxFuture<'a, Result<Forgotten, LowerError>>;
    fn purge(
        &self,
        purge: Purge,
        within: Option<Duration>,
    ) -> BoxFuture<'_, Result<Receipt, PurgeError>>;
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

    fn lower_health(&self) -> Option<Health> {
        Cache::lower_health(self)
    }

    fn outbox_failure(&self) -> Option<String> {
        Cache::outbox_failure(self)
    }

    fn forget_reader<'a>(
        &'a self,
        name: &'a str,
        whom: Forget,
    ) -> BoxFuture<'a, Result<Forgotten, LowerError>> {
        Box::pin(Cache::forget_reader(self, name, whom))
    }

    fn purge(
        &self,
        purge: Purge,
        within: Option<Duration>,
    ) -> BoxFuture<'_, Result<Receipt, PurgeError>> {
        match within {
            Some(within) => Box::pin(Cache::purge_within(self, purge, within)),
            None => Box::pin(Cache::purge(self, purge)),
        }
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

    fn lower_health(&self) -> Option<Health> {
        self.cache().lower_health()
    }

    fn outbox_failure(&self) -> Option<String> {
        self.cache().outbox_failure()
    }

    fn forget_reader<'a>(
        &'a self,
        name: &'a str,
        whom: Forget,
    ) -> BoxFuture<'a, Result<Forgotten, LowerError>> {
        Box::pin(self.cache().forget_reader(name, whom))
    }

    fn purge(
        &self,
        purge: Purge,
        within: Option<Duration>,
    ) -> BoxFuture<'_, Result<Receipt, PurgeError>> {
        match within {
            Some(within) => Box::pin(HttpCache::purge_within(self, purge, within)),
            None => Box::pin(HttpCache::purge(self, purge)),
        }
    }
}
