//! The backend: hands the page its posts, and remembers them.

mod cors;
mod endpoint;
mod origin;
mod reply;
mod respond;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::Response,
    routing::get,
};
use http::{HeaderMap, StatusCode};
use larder::{Cache, FetchError, Fetched};
use larder_admin::Admin;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{
        endpoint::Endpoint,
        origin::{Origin, OriginError},
        reply::Reply,
        respond::Delivery,
    },
    post_id::{NoPostId, PostId},
    replies::{no_post_id, with_common_replies},
    settings::BaseUrl,
};

pub(crate) struct BackendSettings {
    pub(crate) origin: BaseUrl,
    pub(crate) cache_enabled: bool,
    pub(crate) cache_ttl: Duration,
    /// For the 404 of an unknown id; zero: not kept.
    pub(crate) cache_negative_ttl: Duration,
    pub(crate) cache_max_bytes: usize,
}

/// Clones share the cache and the connections.
#[derive(Clone)]
pub(crate) struct Backend {
    origin: Origin,
    cache: Cache<Arc<Reply>>,
    cache_enabled: bool,
    negative_ttl: Duration,
}

impl Backend {
    pub(crate) fn new(settings: BackendSettings) -> Backend {
        let cache = Cache::<Arc<Reply>>::builder()
            .name("posts")
            .ttl(settings.cache_ttl)
            .max_bytes(settings.cache_max_bytes)
            .build();
        Backend {
            origin: Origin::new(settings.origin),
            cache,
            cache_enabled: settings.cache_enabled,
            negative_ttl: settings.cache_negative_ttl,
        }
    }

    /// What the page talks to, from one of `page_origins`.
    pub(crate) fn router(&self, page_origins: &[String]) -> Router {
        let router =
            Router::new().route("/api/posts", get(posts)).route("/api/posts/{id}", get(post));
        let router = with_common_replies(router, "backend", endpoint::is_path);
        cors::allow(router.with_state(self.clone()), page_origins)
    }

    /// The console of this backend's cache.
    pub(crate) fn admin(&self, page_origins: &[String], stop: CancellationToken) -> Router {
        let admin = Admin::new().cache(&self.cache).stop_with(stop);
        let admin = page_origins.iter().try_fold(admin, |admin, origin| admin.allow_origin(origin));
        admin.expect("origins are checked when the settings are read").router()
    }

    /// One request, start to end: the cache if it may, else the posts service.
    async fn deliver(&self, endpoint: Endpoint, request: &HeaderMap) -> Response {
        let began = Instant::now();
        let key = endpoint.path();
        let delivery = if self.cache_enabled {
            let answer = self.cache.answer(&key, async || {
                tracing::info!("Cache MISS for {key}");
                self.fetch(&endpoint).await
            });
            match answer.await {
                Ok(answer) => Delivery::from_cache(answer),
                Err(FetchError::Failed(error)) => Delivery::failed(error.answer()),
                Err(_) => Delivery::failed(OriginError::BROKEN),
            }
        } else {
            match self.origin.ask(&endpoint).await {
                Ok(reply) => Delivery::past_the_cache(reply),
                Err(error) => Delivery::failed(error.answer()),
            }
        };
        delivery.log(&key, began.elapsed());
        delivery.respond(&key, request, began.elapsed())
    }

    /// Asks the posts service, and decides how long its answer is worth keeping.
    async fn fetch(&self, endpoint: &Endpoint) -> Result<Fetched<Arc<Reply>>, OriginError> {
        let reply = Arc::new(self.origin.ask(endpoint).await?);
        Ok(match (endpoint, reply.status()) {
            (_, StatusCode::OK) => Fetched::new(reply),
            (Endpoint::Post(_), StatusCode::NOT_FOUND) => {
                Fetched::new(reply).ttl(self.negative_ttl)
            }
            _ => Fetched::do_not_store(reply),
        })
    }
}

async fn posts(State(backend): State<Backend>, headers: HeaderMap) -> Response {
    backend.deliver(Endpoint::Posts, &headers).await
}

async fn post(
    State(backend): State<Backend>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    // The one thing that fails here is a path whose escapes are no UTF-8.
    let Ok(Path(id)) = id else { return no_post_id(NoPostId::NotAnInteger, "\u{FFFD}") };
    match PostId::parse(&id) {
        Ok(id) => backend.deliver(Endpoint::Post(id), &headers).await,
        Err(why) => no_post_id(why, &id),
    }
}
