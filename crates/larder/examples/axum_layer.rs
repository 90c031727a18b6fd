//! In a web service: one layer before all handlers, which say in their answers what may be kept.
//! `cargo run -p larder --features http --example axum_layer`, then twice:
//! `curl -i localhost:3001/posts/1`, and after `curl -X PUT localhost:3001/posts/1` once more.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL},
    response::IntoResponse,
    routing::{get, post},
};
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

async fn show(Path(id): Path<u32>) -> impl IntoResponse {
    // Slow, as such things are.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kept = "max-age=60, stale-while-revalidate=600, stale-if-error=3600";
    let tags = format!("posts, post-{id}");
    ([(CACHE_CONTROL, kept.to_owned()), (CACHE_TAG, tags)], format!("post {id}\n"))
}

/// The layer sees that this changes `/posts/{id}`, and forgets what it kept of it.
async fn change(Path(_): Path<u32>) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// What else shows the post only its tag knows.
async fn forget(State(cache): State<HttpCache>, Path(tag): Path<String>) -> StatusCode {
    cache.cache().purge_tag(&tag);
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = Cache::<Variants>::builder().name("posts").max_bytes(64 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let service = Router::new()
        .route("/posts/{id}", get(show).put(change))
        .layer(cache.layer())
        // Behind the layer's back: nobody needs a cached purge.
        .route("/purge/{tag}", post(forget).with_state(cache));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    println!("http://localhost:3001/posts/1");
    axum::serve(listener, service).await
}
