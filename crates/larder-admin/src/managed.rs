//! Managed: a cache with its value type forgotten, which is all that administration needs. Each method
//! is the cache's own of the same name; `purge` is `purge_within` where a time is given.

use std::time::Duration;

use futures_util::future::BoxFuture;
#[cfg(feature = "http")]
use larder::http::HttpCache;
use larder::{
    Cache, GoneKey, Purge, PurgeError, Receipt, Scope, Stats, TierReceipt,
    listing::{Held, ListQuery, Listed, ListedTags, Touched},
    lower::{Forget, Forgotten, Health, LowerError},
};

use crate::{
    held::{Beginning, VariantView},
    key_routes::KeyRoutes,
};

pub(crate) trait Managed: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    fn keys(&self, most: usize) -> Vec<String>;
    fn lower_health(&self) -> Option<Health>;
    fn list(&self, query: &ListQuery, routes: &dyn KeyRoutes, only: Only<'_>) -> Listed;
    fn list_tags(&self, most: usize) -> ListedTags;
    /// With the responses that it has, where they are known.
    fn held(&self, key: &str, routes: &dyn KeyRoutes) -> Option<(Held, Vec<VariantView>)>;
    /// The beginning of a response's body.
    fn body(&self, key: &str, variant: usize, most: usize) -> Option<Beginning>;
    fn would_touch(&self, scopes: &[Scope]) -> Touched;
    fn gone(&self, key: &str) -> Option<GoneKey>;
    fn gone_keys(&self, prefix: &str, most: usize) -> Vec<GoneKey>;
    fn gone_left_out(&self) -> u64;
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
    /// Once all purges so far hold in the shared tier, or that has taken so long. `None`: there is none.
    fn purges_held(&self, within: Duration) -> BoxFuture<'_, Option<TierReceipt>>;
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

    fn list(&self, query: &ListQuery, routes: &dyn KeyRoutes, only: Only<'_>) -> Listed {
        match only.is_all() {
            true => Cache::list(self, query),
            false => self.list_where(query, |key| only.has(routes, key)),
        }
    }

    fn list_tags(&self, most: usize) -> ListedTags {
        Cache::list_tags(self, most)
    }

    fn held(&self, key: &str, _: &dyn KeyRoutes) -> Option<(Held, Vec<VariantView>)> {
        Cache::held(self, key).map(|held| (held, Vec::new()))
    }

    fn body(&self, _: &str, _: usize, _: usize) -> Option<Beginning> {
        None
    }

    fn would_touch(&self, scopes: &[Scope]) -> Touched {
        Cache::would_touch(self, scopes)
    }

    fn gone(&self, key: &str) -> Option<GoneKey> {
        Cache::gone(self, key)
    }

    fn gone_keys(&self, prefix: &str, most: usize) -> Vec<GoneKey> {
        Cache::gone_keys(self, prefix, most)
    }

    fn gone_left_out(&self) -> u64 {
        Cache::gone_left_out(self)
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

    fn purges_held(&self, within: Duration) -> BoxFuture<'_, Option<TierReceipt>> {
        Box::pin(Cache::purges_held(self, within))
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

    fn list(&self, query: &ListQuery, routes: &dyn KeyRoutes, only: Only<'_>) -> Listed {
        let rules = |key: &str| routes.rules_of(key);
        let is_wanted = |key: &str| only.has(routes, key);
        match only.is_all() {
            true => HttpCache::list(self, query, Some(&rules), None),
            false => HttpCache::list(self, query, Some(&rules), Some(&is_wanted)),
        }
    }

    fn list_tags(&self, most: usize) -> ListedTags {
        HttpCache::list_tags(self, most)
    }

    fn held(&self, key: &str, routes: &dyn KeyRoutes) -> Option<(Held, Vec<VariantView>)> {
        let held = HttpCache::held(self, key, Some(&|key| routes.rules_of(key)))?;
        Some((held.held, held.variants.into_iter().map(VariantView::of).collect()))
    }

    fn body(&self, key: &str, variant: usize, most: usize) -> Option<Beginning> {
        self.beginning_of_body(key, variant, most).map(Beginning::of)
    }

    fn would_touch(&self, scopes: &[Scope]) -> Touched {
        HttpCache::would_touch(self, scopes)
    }

    fn gone(&self, key: &str) -> Option<GoneKey> {
        HttpCache::gone(self, key)
    }

    fn gone_keys(&self, prefix: &str, most: usize) -> Vec<GoneKey> {
        self.cache().gone_keys(prefix, most)
    }

    fn gone_left_out(&self) -> u64 {
        self.cache().gone_left_out()
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

    fn purges_held(&self, within: Duration) -> BoxFuture<'_, Option<TierReceipt>> {
        Box::pin(self.cache().purges_held(within))
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

/// Which entries are listed, beside what a purge could name. Everything by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Only<'a> {
    /// Keys in which this stands somewhere, letter for letter.
    pub(crate) contains: Option<&'a str>,
    /// Those of this route.
    pub(crate) route: Option<&'a str>,
}

impl Only<'_> {
    fn is_all(self) -> bool {
        self.contains.is_none() && self.route.is_none()
    }

    fn has(self, routes: &dyn KeyRoutes, key: &str) -> bool {
        // To find a key's route takes longer than to look through it.
        let is_of = |route: &str| routes.route_of(key).is_some_and(|of| *of == *route);
        self.contains.is_none_or(|part| key.contains(part)) && self.route.is_none_or(is_of)
    }
}
