//! Rules: how long answers are kept, and the two of these rules that can be changed while the backend
//! runs. The page shows them, and has a switch for each.
//!
//! Off, the cache is neither read nor filled. What it holds stays, and ages: once it is on again, what
//! is still fresh is a hit.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder::{Cache, Lifetime};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{
        posts_client::{LastCall, PostsClient},
        reply::Reply,
        settings::BackendSettings,
    },
    replies::{detail, method_not_allowed},
};

/// The window for a stale answer while a new one is fetched, where the settings give none and the
/// page's switch asks for it.
pub(crate) const WINDOW_IF_SWITCHED_ON: Duration = Duration::from_secs(60);

/// What a browser may send to [`PATH`].
pub(crate) const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::PATCH];

const PATH: &str = "/api/cache";
const MAX_BODY_BYTES: usize = 1 << 10;

#[derive(Debug)]
pub(crate) struct Rules {
    enabled: AtomicBool,
    stale_while_revalidate: AtomicBool,
    lifetime: Lifetime,
}

impl Rules {
    pub(crate) fn new(settings: &BackendSettings) -> Rules {
        let set = settings.cache_stale_while_revalidate;
        let window = if set.is_zero() { WINDOW_IF_SWITCHED_ON } else { set };
        let lifetime = Lifetime::fresh_for(settings.cache_ttl);
        // No lifetime means that every answer is to be new.
        let lifetime = if settings.cache_ttl.is_zero() {
            lifetime
        } else {
            lifetime.stale_while_revalidate(window).stale_if_error(settings.cache_stale_if_error)
        };
        let is_stale_served = !set.is_zero() && !settings.cache_ttl.is_zero();
        Rules {
            enabled: AtomicBool::new(settings.cache_enabled),
            stale_while_revalidate: AtomicBool::new(is_stale_served),
            lifetime,
        }
    }

    /// Of a post, with both windows for stale ones; the first holds only while it is switched on.
    pub(crate) fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stale_served_while_revalidating(&self) -> bool {
        self.stale_while_revalidate.load(Ordering::Relaxed)
    }
}

/// For the line of a start.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_on = self.is_stale_served_while_revalidating();
        let window = if is_on { self.lifetime.revalidate_window() } else { Duration::ZERO };
        write!(
            f,
            "remembers answers for {} s (stale ones: {} s while it asks again, {} s if that fails)",
            self.lifetime.ttl().as_secs(),
            window.as_secs(),
            self.lifetime.rescue_window().as_secs()
        )
    }
}

/// What the page is told.
#[derive(Debug, Serialize)]
struct Told {
    enabled: bool,
    ttl_seconds: u64,
    stale_while_revalidate: bool,
    /// While that is switched on.
    stale_while_revalidate_seconds: u64,
    stale_if_error_seconds: u64,
    posts_service: LastCall,
    /// With other backends: then a purge can wait for them.
    shared: bool,
}

/// What the page may ask for. What it leaves out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    enabled: Option<bool>,
    stale_while_revalidate: Option<bool>,
}

/// `GET` tells the rules, `PATCH` changes them; pages of other origins than the page's own may not.
///
/// Another page's script needs the browser's permission for a PATCH, and its preflight is refused. A
/// foreign name that is pointed here makes the request a page's own, so its `Origin` is looked at too.
pub(crate) fn router(switches: Switches) -> Router {
    let routes = get(tell).patch(change).fallback(async || {
        let mut response = method_not_allowed();
        let allow = HeaderValue::from_static("GET, HEAD, PATCH");
        response.headers_mut().insert(header::ALLOW, allow);
        response
    });
    let routes = routes.layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    Router::new().route(PATH, routes).with_state(switches)
}

/// What the page's switches show and change. Clones share it.
#[derive(Clone)]
pub(crate) struct Switches {
    pub(crate) rules: Arc<Rules>,
    pub(crate) cache: Cache<Arc<Reply>>,
    pub(crate) posts: PostsClient,
    pub(crate) is_shared: bool,
    pub(crate) page_origins: Arc<[String]>,
}

async fn tell(State(switches): State<Switches>) -> Response {
    switches.tell()
}

async fn change(
    State(switches): State<Switches>,
    headers: HeaderMap,
    change: Result<Json<Change>, JsonRejection>,
) -> Response {
    if let Some(origin) = headers.get(header::ORIGIN)
        && !switches.page_origins.iter().any(|own| own.as_bytes() == origin.as_bytes())
    {
        return detail(StatusCode::FORBIDDEN, "This page may not change the cache");
    }
    match change {
        Ok(Json(change)) => switches.change(&change),
        Err(rejection) => detail(rejection.status(), &rejection.body_text()),
    }
}

impl Switches {
    fn tell(&self) -> Response {
        let rules = &self.rules;
        let told = Told {
            enabled: rules.is_enabled(),
            ttl_seconds: rules.lifetime.ttl().as_secs(),
            stale_while_revalidate: rules.is_stale_served_while_revalidating(),
            stale_while_revalidate_seconds: rules.lifetime.revalidate_window().as_secs(),
            stale_if_error_seconds: rules.lifetime.rescue_window().as_secs(),
            posts_service: self.posts.last_call(),
            shared: self.is_shared,
        };
        ([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response()
    }

    /// All that `change` asks for, or nothing of it.
    fn change(&self, change: &Change) -> Response {
        if change.stale_while_revalidate == Some(true) && self.rules.lifetime.ttl().is_zero() {
            let why = "CACHE_TTL_SECONDS is 0: every answer is new, so none gets stale";
            return detail(StatusCode::UNPROCESSABLE_ENTITY, why);
        }
        if let Some(on) = change.stale_while_revalidate {
            self.rules.stale_while_revalidate.store(on, Ordering::Relaxed);
            self.cache.serve_stale_while_revalidate(on);
            tracing::info!("Stale while revalidate {}", if on { "ON" } else { "OFF" });
        }
        if let Some(on) = change.enabled {
            self.rules.enabled.store(on, Ordering::Relaxed);
            tracing::info!("Cache {}", if on { "ON" } else { "OFF" });
        }
        self.tell()
    }
}
