//! The layer before an application's own handlers, as axum puts it there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header::CACHE_CONTROL},
    routing::get,
};
use http::Request;
use larder::{
    Clock,
    http::{HttpCache, Policy, policy::answer_fields::AnswerFields},
};
use tower_service::Service;

use crate::support::{Answer, Shape, over_each_shape};

struct App {
    router: Router,
    cache: HttpCache,
    calls: Arc<AtomicUsize>,
}

fn app(shape: Shape) -> App {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = async move |Path(id): Path<u32>| {
        counted.fetch_add(1, Ordering::SeqCst);
        match id {
            0 => panic!("a handler that is broken"),
            id => ([(CACHE_CONTROL, "max-age=60")], format!("post {id}")),
        }
    };
    let store = shape.builder_with(Clock::system()).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let router = Router::new()
        .route("/posts/{id}", get(handler).put(async || StatusCode::NO_CONTENT))
        .layer(cache.layer());
    App { router, cache, calls }
}

impl App {
    async fn send(&mut self, method: &str, uri: &str, host: Option<&str>) -> Answer {
        let mut request = Request::new(axum::body::Body::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = uri.parse().unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        let answer = self.router.call(request).await.unwrap();
        Answer::read(answer.map(larder::http::Body::passing)).await
    }
}

over_each_shape!(handlers_are_asked_once);
async fn handlers_are_asked_once(shape: Shape) {
    let mut app = app(shape);
    for says in ["Larder;fwd=uri-miss;", "Larder;hit;", "Larder;hit;"] {
        let answer = app.send("GET", "/posts/1", Some("example.org")).await;
        assert_eq!(answer.text(), "post 1");
        assert!(answer.said().starts_with(says), "{answer:?}");
    }
    // The whole URI, as HTTP/2 has it, is the same one.
    let answer = app.send("GET", "http://example.org/posts/1", None).await;
    assert!(answer.is_hit());
    assert_eq!(app.calls.load(Ordering::SeqCst), 1);
}

over_each_shape!(hosts_are_kept_apart_and_a_request_without_one_passes);
async fn hosts_are_kept_apart_and_a_request_without_one_passes(shape: Shape) {
    let mut app = app(shape);
    for host in ["one.example", "two.example"] {
        assert!(!app.send("GET", "/posts/1", Some(host)).await.is_hit());
        assert!(app.send("GET", "/posts/1", Some(host)).await.is_hit());
    }
    for host in [None, Some("a b"), Some("user@one.example"), Some("")] {
        for _ in 0..2 {
            let answer = app.send("GET", "/posts/1", host).await;
            assert!(answer.said().starts_with("Larder;fwd=bypass;"), "{host:?}: {answer:?}");
        }
    }
}

over_each_shape!(a_change_through_the_layer_is_noticed);
async fn a_change_through_the_layer_is_noticed(shape: Shape) {
    let mut app = app(shape);
    let host = Some("example.org");
    app.send("GET", "/posts/1", host).await;
    assert_eq!(app.send("PUT", "/posts/1", host).await.status, 204);
    assert!(!app.send("GET", "/posts/1", host).await.is_hit());
}

over_each_shape!(a_handler_that_panics_is_a_500_and_the_next_reader_tries_again);
async fn a_handler_that_panics_is_a_500_and_the_next_reader_tries_again(shape: Shape) {
    let mut app = app(shape);
    for calls in 1..3 {
        let answer = app.send("GET", "/posts/0", Some("example.org")).await;
        assert_eq!(
            (answer.status, &*answer.field("content-type")),
            (500, "application/problem+json")
        );
        assert_eq!(app.calls.load(Ordering::SeqCst), calls);
    }
}

over_each_shape!(a_handler_that_takes_too_long_is_a_504);
async fn a_handler_that_takes_too_long_is_a_504(shape: Shape) {
    let store = shape.builder_with(Clock::system()).hard_timeout(Duration::from_secs(2)).build();
    // What all answers get is on this one as well, but for what it says of itself.
    let set = [("x-a", "1"), ("content-type", "text/x"), ("cache-control", "max-age=60")];
    let set = set.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let fields = AnswerFields::new(set.to_vec(), Vec::new()).unwrap();
    let cache = HttpCache::new(store, Policy::standard().answer_fields(fields));
    let slow = async || tokio::time::sleep(Duration::from_secs(3)).await;
    let mut router = Router::new().route("/", get(slow)).layer(cache.layer());
    let request = Request::get("http://example.org/").body(axum::body::Body::empty()).unwrap();
    let answer = router.call(request).await.unwrap();
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-a"], "1");
    assert!(!answer.headers().contains_key("cache-control"));
}

over_each_shape!(once_it_is_shut_down_only_what_is_stored_is_served);
async fn once_it_is_shut_down_only_what_is_stored_is_served(shape: Shape) {
    let mut app = app(shape);
    let host = Some("example.org");
    app.send("GET", "/posts/1", host).await;
    assert!(app.cache.cache().shut_down(Duration::from_secs(1)).await);
    for (method, uri) in [("GET", "/posts/2"), ("PUT", "/posts/1")] {
        let answer = app.send(method, uri, host).await;
        assert_eq!(
            (answer.status, &*answer.field("content-type")),
            (503, "application/problem+json")
        );
    }
    assert!(app.send("GET", "/posts/1", host).await.is_hit());
    assert_eq!(app.calls.load(Ordering::SeqCst), 1);
}

over_each_shape!(whom_no_handler_takes_in_time_is_told_when_to_ask_again);
async fn whom_no_handler_takes_in_time_is_told_when_to_ask_again(shape: Shape) {
    let store = shape.builder_with(Clock::system()).max_concurrent_fetches(1).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let router = Router::new()
        .route("/hang", get(std::future::pending::<StatusCode>))
        .route("/other", get(async || "body"))
        .layer(cache.layer());
    let send = |uri: &str| {
        let request = Request::get(uri).header("host", "example.org");
        router.clone().call(request.body(axum::body::Body::empty()).unwrap())
    };
    let hanging = tokio::spawn(send("/hang"));
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    let refused =
        Answer::read(send("/other").await.unwrap().map(larder::http::Body::passing)).await;
    assert_eq!((refused.status, began.elapsed()), (503, Duration::from_secs(5)));
    assert_eq!(refused.field("retry-after"), "5");
    assert_eq!(refused.field("content-type"), "application/problem+json");
    hanging.abort();
    assert!(hanging.await.is_err());
    assert_eq!(send("/other").await.unwrap().status(), 200);
}
