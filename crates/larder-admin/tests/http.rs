//! Purges of a cache of HTTP responses, by URI.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_admin::{Admin, trail::Trail};
use tower::{ServiceExt, service_fn};

async fn page(_: Request<larder::http::Body>) -> Result<Response<larder::http::Body>, Infallible> {
    let answer = Response::builder().header(header::CACHE_CONTROL, "max-age=60");
    Ok(answer.body(larder::http::Body::empty()).unwrap())
}

#[tokio::test]
async fn keys_and_prefixes_name_what_is_stored_however_they_are_spelt() {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let router = Admin::new().http_cache(&cache).router();
    let purges = [
        r#"{"keys":["HTTP://Example.org:80/a"],"mode":"hard"}"#,
        r#"{"keys":["http://EXAMPLE.org/%61"]}"#,
        r#"{"prefix":"HTTP://Example.org:80/","mode":"hard"}"#,
        r#"{"prefix":"http://Example.org:80"}"#,
    ];
    for purge in purges {
        let request = Request::get("http://example.org/a").body(Body::empty()).unwrap();
        let answer = cache.service(service_fn(page)).oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
        while cache.cache().get("http://example.org/a").is_none() {
            tokio::task::yield_now().await;
        }
        let request = Request::post("/v1/purge")
            .header(header::HOST, "127.0.0.1:9191")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(purge))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["purged"], 1, "{purge}");
        assert!(cache.cache().get("http://example.org/a").is_none(), "{purge}");
    }
}

#[tokio::test]
async fn a_response_is_shown_with_its_fields_and_the_beginning_of_its_body_as_text() {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::standard());
    let router = Admin::new().http_cache(&cache).router();
    let page = async |_: Request<larder::http::Body>| {
        let answer = Response::builder()
            .header(header::CACHE_CONTROL, "max-age=60")
            .header(header::CONTENT_TYPE, "text/html")
            .header(header::SET_COOKIE, "session=4711");
        let body = larder::http::Body::from(axum::body::Bytes::from(vec![b'<'; 70_000]));
        Ok::<_, Infallible>(answer.body(body).unwrap())
    };
    let request = Request::get("http://example.org/a").body(Body::empty()).unwrap();
    let answer = cache.service(service_fn(page)).oneshot(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
    while cache.cache().get("http://example.org/a").is_none() {
        tokio::task::yield_now().await;
    }
    let ask = async |path: &str| {
        let request = Request::get(path).header(header::HOST, "127.0.0.1:9191");
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let answer = ask("/v1/entry?key=HTTP://Example.org:80/a").await;
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let variant = &answer["variants_held"][0];
    assert_eq!(
        (&answer["key"], &answer["state"]),
        (&"http://example.org/a".into(), &"fresh".into())
    );
    assert_eq!(
        (variant["status"].as_u64(), variant["body_bytes"].as_u64()),
        (Some(200), Some(70_000))
    );
    let fields = variant["fields"].to_string();
    assert!(fields.contains(r#"["set-cookie","(hidden)"]"#), "{fields}");
    assert!(!fields.contains("4711"), "{fields}");
    let body = ask("/v1/entry/body?key=http://example.org/a").await;
    let field = |name: &str| body.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(field("content-type"), "text/plain; charset=utf-8");
    assert_eq!(field("x-content-type-options"), "nosniff");
    assert_eq!(field("content-security-policy"), "default-src 'none'; sandbox");
    assert_eq!(field("larder-body"), "text");
    assert_eq!(body.into_body().collect().await.unwrap().to_bytes().len(), 64 << 10);
    assert_eq!(ask("/v1/entry/body?key=http://example.org/a&variant=1").await.status(), 404);
    assert_eq!(ask("/v1/entry?key=http://example.org/b").await.status(), 404);
}

#[tokio::test]
async fn a_cache_by_itself_explains_requests_and_dates_the_purge() {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let trail = Trail::new(false, Vec::new());
    cache.cache().follow_purges(Arc::new(trail.clone()));
    let admin = Admin::new().http_cache(&cache).trail(trail).explain_with(cache.clone());
    let router = admin.router();
    let answered = async |request: http::request::Builder, body: &'static str| {
        let request = request.header(header::HOST, "127.0.0.1:9191");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let answer = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<serde_json::Value>(&body).unwrap())
    };
    let tagged = async |_: Request<larder::http::Body>| {
        let answer = Response::builder().header(header::CACHE_CONTROL, "max-age=60");
        let answer = answer.header("surrogate-key", "post:1");
        Ok::<_, Infallible>(answer.body(larder::http::Body::empty()).unwrap())
    };
    let request = Request::get("http://example.org/a").body(Body::empty()).unwrap();
    let answer = cache.service(service_fn(tagged)).oneshot(request).await.unwrap();
    answer.into_body().collect().await.unwrap();
    while cache.cache().get("http://example.org/a").is_none() {
        tokio::task::yield_now().await;
    }
    let asked = || Request::get("/v1/explain?url=HTTP://example.org:80/%2561&header=accept:%20*/*");
    let (status, told) = answered(asked(), "").await;
    assert_eq!((status, &told["verdict"]["verdict"]), (200, &"hit".into()), "{told}");
    let asked = || Request::get("/v1/explain?url=http://example.org/a");
    let (_, told) = answered(asked(), "").await;
    assert_eq!(
        (&told["verdict"]["verdict"], &told["route"]),
        (&"hit".into(), &().into()),
        "{told}"
    );
    let purge = r#"{"tags":["post:1"],"mode":"hard"}"#;
    assert_eq!(answered(Request::post("/v1/purge"), purge).await.0, 200);
    let (_, told) = answered(asked(), "").await;
    assert_eq!(told["verdict"]["reason"], "uri-miss");
    let gone = &told["gone"];
    assert!(gone["says"].as_str().unwrap().ends_with("ago by tag post:1"), "{gone}");
    assert!(gone["at"].as_str().unwrap().ends_with('Z'), "{gone}");
    for (request, body, status) in [
        (Request::get("/v1/explain"), "", 422),
        (Request::get("/v1/explain?url=x"), "", 422),
        (Request::post("/v1/explain"), r#"{"url":"http://a/","policy":"x"}"#, 422),
        (Request::post("/v1/explain"), r#"{"url":"http://a/","what":1}"#, 422),
        (Request::post("/v1/explain"), "{", 400),
        (Request::get("/v1/requests/1"), "", 404),
    ] {
        let (got, told) = answered(request, body).await;
        assert_eq!(got, status, "{body}: {told}");
    }
    let nobody = Admin::new().http_cache(&cache).router();
    let request = asked().header(header::HOST, "127.0.0.1:9191").body(Body::empty()).unwrap();
    assert_eq!(nobody.oneshot(request).await.unwrap().status(), 404);
}
