//! The posts service: the slow origin of the story.

mod delay;
mod seed;
mod store;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;

use crate::{
    error::with_causes,
    post_id::PostId,
    replies::{detail, no_post_id, with_common_replies},
};
pub(crate) use delay::Delay;
pub(crate) use store::Store;

#[derive(Clone)]
struct Posts {
    store: Store,
    delay: Delay,
}

impl Posts {
    /// The work that makes this service slow. It stands for what a real one would do (joins, other
    /// services, a busy disk), and it holds no connection meanwhile.
    async fn work(&self) {
        tokio::time::sleep(self.delay.get()).await;
    }
}

/// The service's router. Each answer takes `delay`, as it is when its request comes, before its query.
pub(crate) fn router(store: Store, delay: Delay) -> Router {
    let router = Router::new().route("/posts", get(list)).route("/posts/{id}", get(find));
    with_common_replies(router, "posts-service", is_path).with_state(Posts { store, delay })
}

fn is_path(path: &str) -> bool {
    path == "/posts" || path.strip_prefix("/posts/").is_some_and(|id| !id.contains('/'))
}

async fn list(State(posts): State<Posts>) -> Response {
    posts.work().await;
    match posts.store.list().await {
        Ok(posts) => Json(posts).into_response(),
        Err(error) => database_failed(&error),
    }
}

async fn find(State(posts): State<Posts>, Path(id): Path<String>) -> Response {
    let id = match PostId::parse(&id) {
        Ok(id) => id,
        Err(why) => return no_post_id(why, &id),
    };
    posts.work().await;
    let found = match id.number() {
        Some(number) => posts.store.find(number).await,
        None => Ok(None),
    };
    match found {
        Ok(Some(post)) => Json(post).into_response(),
        Ok(None) => detail(StatusCode::NOT_FOUND, &format!("Post with ID {id} not found")),
        Err(error) => database_failed(&error),
    }
}

fn database_failed(error: &sqlx::Error) -> Response {
    tracing::error!("the database does not answer: {}", with_causes(error));
    detail(StatusCode::SERVICE_UNAVAILABLE, "Database unavailable")
}
