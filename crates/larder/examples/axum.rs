//! In a web service: one cache in the state, one line in the handler.
//! `cargo run -p larder --example axum`, then twice: `curl -i localhost:3001/posts/1`

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use larder::Cache;

type Posts = Cache<Arc<str>>;

async fn post(State(posts): State<Posts>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let post = posts.try_get_or_fetch(format!("/posts/{id}"), move || ask_the_database(id)).await;
    post.map(|post| post.to_string()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

async fn ask_the_database(id: u32) -> Result<Arc<str>, std::io::Error> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(format!("post {id}\n").into())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let posts = Posts::builder()
        .name("posts")
        .stale_while_revalidate(Duration::from_secs(60))
        .stale_if_error(Duration::from_secs(3600))
        .build();
    let service = Router::new().route("/posts/{id}", get(post)).with_state(posts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    println!("http://localhost:3001/posts/1");
    axum::serve(listener, service).await
}
