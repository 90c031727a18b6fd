//! The service with moka, and by hand what moka leaves to its users: what may be served if the posts service fails.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use larder_comparison::{Origin, OriginError, Post, answer, secs, serve};
use moka::{Expiry, future::Cache};

#[derive(Clone)]
struct Posts {
    fresh: Cache<u64, Post>,
    /// What to serve if the posts service fails.
    last_good: Cache<u64, Post>,
    origin: Origin,
}

struct FreshFor;

impl Expiry<u64, Post> for FreshFor {
    fn expire_after_create(&self, _id: &u64, post: &Post, _at: Instant) -> Option<Duration> {
        Some(if post.is_some() { secs(60) } else { secs(5) })
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let posts = Posts {
        fresh: Cache::builder().max_capacity(10_000).expire_after(FreshFor).build(),
        last_good: Cache::builder().max_capacity(10_000).time_to_live(secs(60 + 3600)).build(),
        origin: Origin::from_environment(),
    };
    serve(Router::new().route("/posts/{id}", get(read).delete(purge)).with_state(posts)).await
}

async fn read(State(posts): State<Posts>, Path(id): Path<u64>) -> Response {
    match posts.fresh.try_get_with(id, fetch(&posts, id)).await {
        Ok(post) => answer(Ok::<_, Arc<OriginError>>(post)),
        Err(error) => answer(posts.last_good.get(&id).await.ok_or(error)),
    }
}

async fn fetch(posts: &Posts, id: u64) -> Result<Post, OriginError> {
    let post = posts.origin.post(id).await?;
    match &post {
        Some(_) => posts.last_good.insert(id, post.clone()).await,
        // What is gone is not served again if the posts service fails later.
        None => posts.last_good.invalidate(&id).await,
    }
    Ok(post)
}

async fn purge(State(posts): State<Posts>, Path(id): Path<u64>) -> StatusCode {
    posts.fresh.invalidate(&id).await;
    posts.last_good.invalidate(&id).await;
    StatusCode::NO_CONTENT
}
