//! List: what is stored, for whoever looks after a cache: nothing is counted, nothing marked as used, no value shown.

use super::Cache;
use crate::{
    engine::list::{Beyond, Selector},
    gone::{GoneKey, GoneLimits},
    key::CacheKey,
    listing::{Held, ListQuery, Listed, ListedTags, Touched},
    purge::Scope,
};

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// The first entries of an order: see [`listing`](crate::listing). What can no longer be served and has yet to go is
    /// among them.
    ///
    /// It looks at everything, in small pieces under no lock of its own, and takes as long as
    /// that does, or until [`ListQuery::until`].
    pub fn list(&self, query: &ListQuery) -> Listed {
        self.list_wanted(query, None)
    }

    /// The same of keys that `is_wanted`, which runs under no lock, once for each entry that `query` names.
    pub fn list_where(&self, query: &ListQuery, is_wanted: impl Fn(&str) -> bool) -> Listed {
        self.list_wanted(query, Some(&is_wanted))
    }

    fn list_wanted(&self, query: &ListQuery, is_wanted: Option<&dyn Fn(&str) -> bool>) -> Listed {
        let selectors: Vec<_> = query.scopes.iter().map(|scope| self.selector(scope)).collect();
        let beyond = Beyond { is_wanted, fresh_until: None };
        self.engine().list(query, &selectors, beyond)
    }

    /// What is stored under `key`, without its value.
    pub fn held<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<Held> {
        self.engine().held(key.into().as_str(), |_| ()).map(|(held, ())| held)
    }

    /// The tags of all entries: up to `most` of those on the most entries, and as many of those that weigh most. Names are
    /// those of tags that something was stored with since [`remember_tag_names`](Cache::remember_tag_names). It looks at
    /// everything, as [`list`](Cache::list) does.
    pub fn list_tags(&self, most: usize) -> ListedTags {
        self.engine().list_tags(most, None)
    }

    /// From now on the names of tags are remembered, for [`list_tags`](Cache::list_tags) and [`held`](Cache::held): entries
    /// have numbers. Up to 65,536 names, and 4 MiB of them, for as long as the cache lives. It costs whoever stores something
    /// with tags a look for each of them.
    pub fn remember_tag_names(&self) {
        self.engine().remember_tag_names();
    }

    /// How many entries that can still be served a purge of any of these would touch now. Nothing is changed. Keys are
    /// looked up; for all else it looks at everything.
    pub fn would_touch(&self, scopes: &[Scope]) -> Touched {
        let selectors = scopes.iter().map(|scope| self.selector(scope)).collect();
        self.engine().would_touch(&self.engine().any_of(selectors))
    }

    fn selector(&self, scope: &Scope) -> Selector {
        let (names, globs) = match scope {
            Scope::Key(name) | Scope::Prefix(name) => (vec![name.clone()], Vec::new()),
            Scope::Glob(glob) => (Vec::new(), vec![glob.clone()]),
            Scope::Tag(_) | Scope::Everything => (Vec::new(), Vec::new()),
        };
        self.engine().selector(scope, names, globs)
    }

    /// From now on it is remembered which keys went, why and when, within these bounds. Who says it again says nothing
    /// new. It costs whoever takes something out a copy of its key, and nobody ever waits for it: what comes too fast
    /// is left out, and [counted](Cache::gone_left_out).
    pub fn remember_gone(&self, limits: GoneLimits) {
        self.engine().remember_gone(limits);
    }

    /// What became of `key` when it last went, if that is remembered. It says nothing of what may be stored there now.
    pub fn gone<'k>(&self, key: impl Into<CacheKey<'k>>) -> Option<GoneKey> {
        self.engine().gone()?.find(key.into().as_str())
    }

    /// Up to `most` keys that went and begin with `prefix`, the newest first.
    pub fn gone_keys(&self, prefix: &str, most: usize) -> Vec<GoneKey> {
        let gone = self.engine().gone();
        gone.map(|gone| gone.newest(most, |key| key.starts_with(prefix))).unwrap_or_default()
    }

    /// How many keys went and were left out of what is remembered: others were just being written down, or more came in a
    /// second than there is room for.
    pub fn gone_left_out(&self) -> u64 {
        self.engine().gone().map_or(0, |gone| gone.left_out())
    }
}
