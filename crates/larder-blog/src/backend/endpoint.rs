//! Endpoint: what the backend can ask the posts service for.

use crate::post_id::PostId;

#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    Posts,
    Post(PostId),
}

/// What requests have in common that the console tells together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Posts,
    Post,
}

impl Route {
    pub(crate) const ALL: [Route; 2] = [Route::Posts, Route::Post];

    /// As the console shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Route::Posts => "/api/posts",
            Route::Post => "/api/posts/{id}",
        }
    }

    /// To which an entry belongs that is stored under this key.
    pub(crate) fn of_key(key: &str) -> Route {
        if key == Endpoint::Posts.path() { Route::Posts } else { Route::Post }
    }
}

impl Endpoint {
    pub(crate) fn route(&self) -> Route {
        match self {
            Endpoint::Posts => Route::Posts,
            Endpoint::Post(_) => Route::Post,
        }
    }

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
