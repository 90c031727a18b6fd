//! Explaining: what would become of a request to the backend, for the console.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, StatusCode};
use larder::reason::Reason;
use larder_admin::{
    KeyRoutes, Problem,
    explain::{
        Explain, Explained, KeyView, KeyedBefore, LeftOutView, NextView, PartView, PastRequest,
        Question, RequestView, RouteView, RuleView, Told, Watch, time, told_of_key,
    },
    routes::RouteFigures,
};

use crate::{
    backend::{
        Backend,
        endpoint::{Endpoint, Route},
        past::Watcher,
    },
    post_id::{NoPostId, PostId},
};

/// What is asked where the cache has no answer.
const SERVICE: &str = "the posts service";

/// The backend as its console asks it.
#[derive(Clone)]
pub(crate) struct Explainer(pub(crate) Arc<Backend>);

impl Explain for Explainer {
    fn explain(&self, question: Question) -> BoxFuture<'_, Result<Explained, Problem>> {
        async move {
            let Question { method, uri, policy, .. } = question;
            if policy.is_some() {
                let detail = "policy: the blog has no configuration that another could replace";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Err(Problem::new(status, "Question not understood", detail));
            }
            let told = self.0.told_of(&method, uri.path()).await;
            let last = self.0.past.last_of(uri.path());
            let request = RequestView { method: method.to_string(), url: uri.to_string() };
            let at = time(std::time::SystemTime::now());
            Ok(Explained { at, request, told, last, with_policy: None })
        }
        .boxed()
    }

    fn request(&self, id: &str) -> Option<PastRequest> {
        self.0.past.find(id)
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        Some(Box::new(Watcher::new(Arc::clone(&self.0.past))))
    }
}

impl KeyRoutes for Explainer {
    fn route_of(&self, key: &str) -> Option<Arc<str>> {
        Some(Route::of_key(key).name().into())
    }
}

impl Backend {
    /// The steps of a request, as `router` and `deliver` take them.
    async fn told_of(&self, method: &Method, path: &str) -> Told {
        let endpoint = match endpoint_of(path) {
            Ok(endpoint) => endpoint,
            Err(why) => return refused(Reason::BypassRule, why),
        };
        let route = self.route_view(endpoint.route());
        if method != Method::GET && method != Method::HEAD {
            let why = format!("The backend answers GET and HEAD here, and no {method}.");
            return Told { route: Some(route), ..refused(Reason::Method, why) };
        }
        if !self.rules.is_enabled() {
            let next = NextView {
                asks_origin: true,
                says: format!("The next request goes to {SERVICE}, and what comes is not kept."),
            };
            let why = "The cache is switched off: the page has a switch for it.";
            return Told::without_cache(Some(route), "pass", Reason::BypassRule, why, next);
        }
        let before =
            KeyedBefore { route: Some(route), key: key_of(&endpoint), service: SERVICE.to_owned() };
        told_of_key(&self.cache, before).await
    }

    fn route_view(&self, route: Route) -> RouteView {
        let rule =
            |rule: &str, value: String| RuleView { rule: rule.to_owned(), value, line: None };
        let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
        let lifetime = self.rules.lifetime();
        let is_on = self.rules.is_stale_served_while_revalidating();
        let revalidate = match is_on {
            true => seconds(lifetime.revalidate_window()),
            false => "off".to_owned(),
        };
        let not_found = matches!(route, Route::Post)
            .then(|| rule("CACHE_NEGATIVE_TTL_SECONDS", seconds(self.negative_ttl)));
        let rules = [
            rule("CACHE_TTL_SECONDS", seconds(lifetime.ttl())),
            rule("CACHE_STALE_WHILE_REVALIDATE_SECONDS", revalidate),
            rule("CACHE_STALE_IF_ERROR_SECONDS", seconds(lifetime.rescue_window())),
        ];
        RouteView {
            route: route.name().to_owned(),
            line: None,
            upstream: Some(self.posts.base().to_owned()),
            is_cached: self.rules.is_enabled(),
            rules: rules.into_iter().chain(not_found).collect(),
        }
    }

    /// What the requests of each route have come to, and what is stored for it.
    pub(super) fn routes(&self) -> Vec<RouteFigures> {
        let is_cached = self.rules.is_enabled();
        let posts = self.cache.held(Endpoint::Posts.path());
        let stats = self.cache.stats();
        // What is no list of posts is a post: together they are all that there is.
        let of_posts = posts.map_or((0, 0), |held| (1, held.bytes));
        let of_post =
            (stats.entries.saturating_sub(of_posts.0), stats.bytes.saturating_sub(of_posts.1));
        let lines = self.tally.routes().into_iter().zip([of_posts, of_post]);
        lines
            .map(|(line, (entries, bytes))| RouteFigures {
                is_cached,
                upstream: Some(self.posts.base().into()),
                entries,
                bytes,
                ..line
            })
            .collect()
    }
}

fn refused(reason: Reason, why: impl Into<String>) -> Told {
    let says = "The next request is answered at once, and no service is asked.".to_owned();
    let next = NextView { asks_origin: false, says };
    Told::without_cache(None, "refused", reason, why, next)
}

/// As the backend's router reads it.
fn endpoint_of(path: &str) -> Result<Endpoint, String> {
    if path == "/api/posts" {
        return Ok(Endpoint::Posts);
    }
    let id = path.strip_prefix("/api/posts/").filter(|id| !id.is_empty() && !id.contains('/'));
    let Some(id) = id else {
        return Err(format!("The backend has nothing at {path} that is cached."));
    };
    match PostId::parse(id) {
        Ok(id) => Ok(Endpoint::Post(id)),
        Err(NoPostId::NotAnInteger | NoPostId::TooManyDigits) => {
            Err("This is no id of a post: such a request is answered 422.".to_owned())
        }
    }
}

fn key_of(endpoint: &Endpoint) -> KeyView {
    let path = endpoint.path();
    let part = PartView {
        part: "path",
        name: None,
        value: Some(path.clone()),
        from: "what the posts service is asked for",
    };
    let left_out = |part, name: &str| LeftOutView {
        part,
        name: name.to_owned(),
        why: "the backend does not look at it",
    };
    KeyView {
        key: path,
        parts: vec![part],
        left_out: vec![left_out("query", "the query"), left_out("header", "all fields")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_the_router_reads_it() {
        let key = |path| endpoint_of(path).map(|endpoint| endpoint.path()).ok();
        assert_eq!(key("/api/posts").as_deref(), Some("/posts"));
        assert_eq!(key("/api/posts/01").as_deref(), Some("/posts/1"));
        for path in ["/api/posts/", "/api/posts/1/2", "/api/posts/x", "/", "/health"] {
            assert_eq!(key(path), None, "{path}");
        }
    }
}
