//! The service with cached, and by hand what its macro cannot do at once: `result_fallback` and `sync_writes` exclude
//! each other, so what may be served if the posts service fails lies in a store of its own.

use std::{io, sync::LazyLock, time::Instant};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use cached::{Cached, ConcurrentCached, Expires, ShardedLruTtlCache, macros::cached};
use larder_comparison::{Origin, OriginError, Post, answer, secs, serve};

#[derive(Clone)]
struct Fetched {
    post: Post,
    fresh_until: Instant,
}

impl Expires for Fetched {
    fn is_expired(&self) -> bool {
        Instant::now() >= self.fresh_until
    }
}

/// What to serve if the posts service fails.
static LAST_GOOD: LazyLock<ShardedLruTtlCache<u64, Post>> = LazyLock::new(|| {
    let builder = ShardedLruTtlCache::builder().max_size(10_000).ttl(secs(60 + 3600));
    builder.build().expect("a size and a time to live that are not zero")
});

#[cached(
    max_size = 10_000,
    expires = true,
    sync_writes = "by_key",
    key = "u64",
    convert = { id }
)]
async fn fetch(origin: &Origin, id: u64) -> Result<Fetched, OriginError> {
    let post = origin.post(id).await?;
    match &post {
        Some(_) => drop(LAST_GOOD.cache_set(id, post.clone())),
        // What is gone is not served again if the posts service fails later.
        None => drop(LAST_GOOD.cache_remove(&id)),
    }
    let fresh_for = if post.is_some() { secs(60) } else { secs(5) };
    Ok(Fetched { post, fresh_until: Instant::now() + fresh_for })
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let origin = Origin::from_environment();
    serve(Router::new().route("/posts/{id}", get(read).delete(purge)).with_state(origin)).await
}

async fn read(State(origin): State<Origin>, Path(id): Path<u64>) -> Response {
    match fetch(&origin, id).await {
        Ok(fetched) => answer(Ok::<_, OriginError>(fetched.post)),
        Err(error) => answer(LAST_GOOD.cache_get(&id).ok().flatten().ok_or(error)),
    }
}

async fn purge(Path(id): Path<u64>) -> StatusCode {
    drop(FETCH.write().await.cache_remove(&id));
    drop(LAST_GOOD.cache_remove(&id));
    StatusCode::NO_CONTENT
}
