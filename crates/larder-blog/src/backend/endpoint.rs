//! Endpoint: what the backend can ask the posts service for.

use crate::post_id::PostId;

#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Posts,
    Post(PostId),
}

impl Endpoint {
    /// The path at the posts service, which is the cache key as well.
    pub(crate) fn path(&self) -> String {
        match self {
            Endpoint::Posts => "/posts".to_owned(),
            Endpoint::Post(id) => format!("/posts/{id}"),
        }
    }

    /// With what its answer is purged: `posts`, and for one post `post:1` as well.
    pub(crate) fn tags(&self) -> Vec<String> {
        let posts = "posts".to_owned();
        match self {
            Endpoint::Posts => vec![posts],
            Endpoint::Post(id) => vec![posts, format!("post:{id}")],
        }
    }
}

/// Whether the backend has this path.
pub(crate) fn is_path(path: &str) -> bool {
    path == "/api/posts" || path.strip_prefix("/api/posts/").is_some_and(|id| !id.contains('/'))
}
