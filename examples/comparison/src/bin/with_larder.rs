//! The service with larder.

use std::io;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use larder::{Cache, Fetched};
use larder_comparison::{Origin, OriginError, Post, answer, secs, serve};

#[derive(Clone)]
struct Posts {
    cache: Cache<Post>,
    origin: Origin,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let cache = Cache::builder().ttl(secs(60)).stale_if_error(secs(3600)).build();
    let posts = Posts { cache, origin: Origin::from_environment() };
    serve(Router::new().route("/posts/{id}", get(read).delete(purge)).with_state(posts)).await
}

async fn read(State(Posts { cache, origin }): State<Posts>, Path(id): Path<u64>) -> Response {
    let fetch = move || async move {
        let post = origin.post(id).await?;
        let is_found = post.is_some();
        let fetched = Fetched::new(post);
        Ok::<_, OriginError>(if is_found { fetched } else { fetched.ttl(secs(5)) })
    };
    answer(cache.try_get_or_fetch(id, fetch).await)
}

async fn purge(State(Posts { cache, .. }): State<Posts>, Path(id): Path<u64>) -> StatusCode {
    cache.remove(id);
    StatusCode::NO_CONTENT
}
