//! Settings of the backend.

use std::time::Duration;

use larder::redis::Redis;

use crate::settings::BaseUrl;

pub(crate) struct BackendSettings {
    pub(crate) posts_service: BaseUrl,
    pub(crate) cache_enabled: bool,
    pub(crate) cache_ttl: Duration,
    /// For the 404 of an unknown id; zero: not kept.
    pub(crate) cache_negative_ttl: Duration,
    /// How long a stale answer is still given: at once, while a new one is fetched (zero: not, until
    /// the page's switch asks for it); and if the posts service fails. Neither is if the lifetime is
    /// zero.
    pub(crate) cache_stale_while_revalidate: Duration,
    pub(crate) cache_stale_if_error: Duration,
    pub(crate) cache_max_bytes: usize,
    /// What several backends share, if they do.
    pub(crate) shared: Option<Redis>,
}
