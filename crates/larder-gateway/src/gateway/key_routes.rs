//! Key routes: which route what is stored belongs to, as far as its key tells.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use larder::http::Policy;
use larder_admin::KeyRoutes;

use super::Gateway;
use crate::routes::Way;

impl KeyRoutes for Gateway {
    fn route_of(&self, key: &str) -> Option<Arc<str>> {
        self.by_key(key, |way| Arc::clone(&way.name.words))
    }

    fn rules_of(&self, key: &str) -> Option<Arc<Policy>> {
        self.by_key(key, |way| Arc::clone(&way.policy))
    }
}

impl Gateway {
    /// What `of` makes of the way of a plain GET of this key. The key of a QUERY goes on after its URI, as one whose fields
    /// are part of it does.
    fn by_key<T>(&self, key: &str, of: impl FnOnce(&Way) -> T) -> Option<T> {
        let uri = key.split(' ').next().unwrap_or(key);
        let uri: Uri = uri.parse().ok()?;
        let settings = self.common.settings.load();
        let way = settings.ways.way(&Method::GET, &uri, &HeaderMap::new());
        way.ok().map(of)
    }
}
