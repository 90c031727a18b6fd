//! Key routes: what a server that has routes knows of a key. A cache knows keys alone.

use std::sync::Arc;

#[cfg(feature = "http")]
use larder::http::Policy;

/// Says which route a key belongs to, for what is told of entries ([`Admin::key_routes`](crate::Admin::key_routes)).
///
/// A key tells the URI, and neither method nor fields: what is told is the route of a plain GET.
pub trait KeyRoutes: Send + Sync {
    /// The route, in the words of its file. `None`: it is not known. Asked for every entry where entries of one route are
    /// wanted, so it must not wait.
    fn route_of(&self, key: &str) -> Option<Arc<str>>;

    /// Its rules, by which what is stored is judged. `None`: the cache's own.
    #[cfg(feature = "http")]
    fn rules_of(&self, key: &str) -> Option<Arc<Policy>> {
        _ = key;
        None
    }
}

/// Where there are no routes.
pub(crate) struct NoRoutes;

impl KeyRoutes for NoRoutes {
    fn route_of(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}
