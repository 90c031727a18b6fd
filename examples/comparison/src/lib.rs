//! What the three services have in common: the posts service that they ask, and how they are started.

use std::{env, io, sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::net::TcpListener;

/// A post as JSON; `None`: there is no such post.
pub type Post = Option<Bytes>;

/// The posts service. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Origin {
    client: reqwest::Client,
    url: Arc<str>,
}

/// Why the posts service said neither what a post is nor that there is none. One failure is many readers' own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the posts service does not answer: {0}")]
pub struct OriginError(Arc<reqwest::Error>);

impl From<reqwest::Error> for OriginError {
    fn from(error: reqwest::Error) -> Self {
        OriginError(Arc::new(error))
    }
}

impl Origin {
    /// The one at `ORIGIN`, as `http://127.0.0.1:8001`.
    pub fn from_environment() -> Origin {
        let url = env::var("ORIGIN").unwrap_or_else(|_| "http://127.0.0.1:8001".to_owned());
        Origin { client: reqwest::Client::new(), url: url.into() }
    }

    /// Asks for a post.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or answers with anything but a post or a 404.
    pub async fn post(&self, id: u64) -> Result<Post, OriginError> {
        let response = self.client.get(format!("{}/posts/{id}", self.url)).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(response.error_for_status()?.bytes().await?))
    }
}

/// What readers are told.
pub fn answer(post: Result<Post, impl std::error::Error>) -> Response {
    match post {
        Ok(Some(post)) => post.into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// So many seconds, of which each lasts `SECOND_MS` milliseconds: tests wait for no hours.
pub fn secs(seconds: u32) -> Duration {
    let second = env::var("SECOND_MS").ok().and_then(|millis| millis.parse().ok()).unwrap_or(1000);
    Duration::from_millis(second) * seconds
}

/// Serves on a port of its own, and says which.
///
/// # Errors
///
/// There is no port left.
pub async fn serve(router: Router) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await
}
