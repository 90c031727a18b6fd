//! The contract's rows, over each database. Not the cache's own fields (`cache.rs`), CORS
//! (`cors.rs`), and what a failing posts service leads to (`failures.rs`).

use chrono::{DateTime, SecondsFormat};
use http::{Method, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::support::{
    blog::Setup,
    origin::{Act, Origin},
    over_both_databases,
    reader::{answer, ask, exchange, get},
};

over_both_databases!(
    each_service_says_that_it_is_healthy,
    the_list_is_ten_posts_by_id,
    a_post_is_compact_json_with_its_fields_in_order,
    the_backend_hands_on_the_bytes_of_the_posts_service,
    an_id_that_no_post_has_is_404,
    an_id_larger_than_any_number_is_404,
    what_is_no_integer_is_422_at_once,
    every_way_to_write_an_id_is_one_entry,
    a_slash_too_many_is_redirected,
    any_method_but_get_and_head_is_405,
    head_is_get_without_the_body,
    a_reader_who_has_the_bytes_gets_304,
    a_reader_who_has_other_bytes_gets_200,
    errors_have_no_validator,
    an_unknown_path_is_404,
);

/// The fields in the order of the contract: serde writes them as they are declared.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Post {
    id: i64,
    title: String,
    content: String,
    department: String,
    author: String,
    created_at: String,
}

async fn each_service_says_that_it_is_healthy(setup: Setup) {
    let blog = setup.start().await;
    for (url, body) in [
        (blog.backend("/health"), r#"{"status":"healthy","service":"backend"}"#),
        (blog.posts("/health"), r#"{"status":"healthy","service":"posts-service"}"#),
    ] {
        let health = get(&url).await;
        assert_eq!((health.status, health.text()), (200, body));
        assert_eq!(health.field("content-type"), Some("application/json"));
    }
}

async fn the_list_is_ten_posts_by_id(setup: Setup) {
    let blog = setup.start().await;

    let list = get(&blog.backend("/api/posts")).await;

    assert_eq!((list.status, list.field("content-type")), (200, Some("application/json")));
    let posts: Vec<Post> = serde_json::from_slice(&list.body).expect("posts and nothing else");
    let ids: Vec<_> = posts.iter().map(|post| post.id).collect();
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
    assert_eq!(list.text(), serde_json::to_string(&posts).expect("plain data"));
}

async fn a_post_is_compact_json_with_its_fields_in_order(setup: Setup) {
    let blog = setup.start().await;
    for id in 1..=10 {
        let answer = get(&blog.backend(&format!("/api/posts/{id}"))).await;

        assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
        let post: Post = serde_json::from_slice(&answer.body).expect("a post and nothing else");
        assert_eq!(answer.text(), serde_json::to_string(&post).expect("plain data"));
        let time: DateTime<chrono::FixedOffset> = post.created_at.parse().expect("ISO 8601");
        assert_eq!(post.created_at, time.to_rfc3339_opts(SecondsFormat::Micros, false));
        assert!(post.created_at.ends_with("+00:00"), "{}", post.created_at);
        if id == 1 {
            assert_eq!(post.title, "The Dialectics of Nature");
            assert_eq!(post.created_at, "2026-03-02T09:14:27.396898+00:00");
        }
    }
}

async fn the_backend_hands_on_the_bytes_of_the_posts_service(setup: Setup) {
    let blog = setup.start().await;
    for path in ["/posts", "/posts/1", "/posts/10", "/posts/11"] {
        let there = get(&blog.posts(path)).await;
        let miss = get(&blog.backend(&format!("/api{path}"))).await;
        let hit = get(&blog.backend(&format!("/api{path}"))).await;
        assert_eq!((miss.handling(), hit.handling()), ("uri-miss", "hit"));
        for here in [miss, hit] {
            assert_eq!(here.body, there.body, "{path}");
            assert_eq!(here.status, there.status);
            assert_eq!(here.field("content-type"), there.field("content-type"));
        }
    }
}

async fn an_id_that_no_post_has_is_404(setup: Setup) {
    let blog = setup.start().await;
    for id in ["99999", "0", "-1"] {
        let text = format!("Post with ID {id} not found");
        get(&blog.backend(&format!("/api/posts/{id}"))).await.assert_detail(404, &text);
        get(&blog.posts(&format!("/posts/{id}"))).await.assert_detail(404, &text);
    }
}

async fn an_id_larger_than_any_number_is_404(setup: Setup) {
    let blog = setup.start().await;
    // Beyond 32 bits, the last and the first beyond 64 bits, and far beyond, on both sides of zero.
    let long = "7".repeat(300);
    for digits in ["2147483648", "9223372036854775807", "9223372036854775808", long.as_str()] {
        for id in [digits.to_owned(), format!("-{digits}")] {
            let answer = get(&blog.backend(&format!("/api/posts/{id}"))).await;
            answer.assert_detail(404, &format!("Post with ID {id} not found"));
        }
    }
}

async fn what_is_no_integer_is_422_at_once(setup: Setup) {
    // Whoever waits for that has waited too long for the test.
    let blog = setup.set("POSTS_DELAY_MS", 600_000).start().await;
    for input in ["abc", "1.5"] {
        let body = format!(
            "{{\"detail\":[{{\"type\":\"int_parsing\",\"loc\":[\"path\",\"post_id\"],\"msg\":\
             \"Input should be a valid integer, unable to parse string as an integer\",\
             \"input\":\"{input}\"}}]}}"
        );
        for url in
            [blog.backend(&format!("/api/posts/{input}")), blog.posts(&format!("/posts/{input}"))]
        {
            let answer = get(&url).await;
            assert_eq!((answer.status, answer.text()), (422, body.as_str()), "{url}");
            assert_eq!(answer.field("content-type"), Some("application/json"));
        }
    }
}

#[tokio::test]
async fn the_posts_service_is_not_asked_for_what_is_no_integer() {
    let origin = Origin::start(Act::answer(200, "{}")).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    let blog = setup.start().await;
    let no_integers = ["abc", "1.5", "1e3", "0x1", "-", "+", "%20", "1%20", "%FF", "1%2F2", "１"];
    for input in no_integers {
        // 1 with a space after it is an integer to the reference as well.
        let expected = if input == "1%20" { 200 } else { 422 };
        let answer = get(&blog.backend(&format!("/api/posts/{input}"))).await;
        assert_eq!(answer.status, expected, "{input}: {answer:?}");
    }
    let too_long = get(&blog.backend(&format!("/api/posts/{}", "1".repeat(4301)))).await;
    assert_eq!(too_long.status, 422);
    assert_eq!(too_long.json()["detail"][0]["type"], "int_parsing_size");

    assert_eq!(origin.paths(), ["/posts/1"]);
}

async fn every_way_to_write_an_id_is_one_entry(setup: Setup) {
    let blog = setup.start().await;
    let first = get(&blog.backend("/api/posts/1")).await;
    assert_eq!(first.handling(), "uri-miss");
    for id in ["+1", "01", "%31", "1?x=1", "%2B0%31?", "%201"] {
        let again = get(&blog.backend(&format!("/api/posts/{id}"))).await;
        assert_eq!((again.handling(), &again.body), ("hit", &first.body), "{id}");
        let status = again.field("cache-status").expect("every answer has one");
        assert!(status.contains(r#";key="/posts/1""#), "{id}: {status}");
    }
    let stats = blog.stats().await;
    assert_eq!(
        (&stats["fetches"], &stats["entries"], &stats["hits"]),
        (&json!(1), &json!(1), &json!(6))
    );
}

async fn a_slash_too_many_is_redirected(setup: Setup) {
    let blog = setup.start().await;
    for (from, to) in [
        (blog.backend("/api/posts/"), "/api/posts"),
        (blog.backend("/api/posts/?x=1"), "/api/posts?x=1"),
        (blog.backend("/api/posts/1/"), "/api/posts/1"),
        (blog.backend("/health/"), "/health"),
        (blog.posts("/posts/"), "/posts"),
        (blog.posts("/posts/1/"), "/posts/1"),
    ] {
        let answer = get(&from).await;
        assert_eq!((answer.status, answer.field("location")), (307, Some(to)), "{from}");
    }
}

async fn any_method_but_get_and_head_is_405(setup: Setup) {
    let blog = setup.start().await;
    for url in [
        blog.backend("/api/posts"),
        blog.backend("/api/posts/1"),
        blog.backend("/api/posts/abc"),
        blog.backend("/health"),
        blog.posts("/posts"),
        blog.posts("/posts/1"),
        blog.posts("/health"),
    ] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let answer = answer(ask(method.clone(), &url)).await;
            assert_eq!(answer.fields("allow"), ["GET, HEAD"], "{method} {url}");
            answer.assert_detail(405, "Method Not Allowed");
        }
    }
}

async fn head_is_get_without_the_body(setup: Setup) {
    let blog = setup.start().await;
    let address = blog.address("backend");
    for path in
        ["/api/posts", "/api/posts/1", "/api/posts/99999", "/api/posts/abc", "/health", "/no"]
    {
        // The first fills the cache, so that both of the others are hits where there are any.
        get(&blog.backend(path)).await;
        let get = get(&blog.backend(path)).await;
        let head = answer(ask(Method::HEAD, &blog.backend(path))).await;

        assert_eq!(head.status, get.status, "{path}");
        let steady = |headers: &http::HeaderMap| {
            let mut headers = headers.clone();
            for changing in ["date", "age", "server-timing", "cache-status"] {
                headers.remove(changing);
            }
            headers
        };
        assert_eq!(steady(&head.headers), steady(&get.headers), "{path}");
        assert_eq!(head.field("content-length"), Some(get.body.len().to_string().as_str()));
        assert_eq!(head.field("cache-status").is_some(), get.field("cache-status").is_some());

        let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let bytes = exchange(&address, &request).await;
        assert!(bytes.ends_with("\r\n\r\n"), "{path} has a body: {bytes}");
    }
}

async fn a_reader_who_has_the_bytes_gets_304(setup: Setup) {
    let blog = setup.start().await;
    for path in ["/api/posts", "/api/posts/1"] {
        let url = blog.backend(path);
        let first = get(&url).await;
        let etag = first.field("etag").expect("every post has one").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
        assert_eq!(get(&url).await.field("etag"), Some(etag.as_str()));

        let weak = format!("W/{etag}");
        let list = format!("\"another\", {etag} ,W/\"third\"");
        for condition in [etag.as_str(), weak.as_str(), list.as_str(), "*"] {
            for method in [Method::GET, Method::HEAD] {
                let request = ask(method, &url).header(header::IF_NONE_MATCH, condition);
                let answer = answer(request).await;
                assert_eq!((answer.status, answer.body.len()), (304, 0), "{path} {condition}");
                assert_eq!(answer.field("etag"), Some(etag.as_str()));
                assert_eq!(answer.handling(), "hit");
                assert!(answer.field("age").is_some());
            }
        }
        let twice = ask(Method::GET, &url)
            .header(header::IF_NONE_MATCH, "\"another\"")
            .header(header::IF_NONE_MATCH, etag.as_str());
        assert_eq!(answer(twice).await.status, 304, "a list may come in two fields");
    }
}

async fn a_reader_who_has_other_bytes_gets_200(setup: Setup) {
    let blog = setup.start().await;
    let url = blog.backend("/api/posts/1");
    let first = get(&url).await;
    let etag = first.field("etag").expect("every post has one");
    let unquoted = etag.trim_matches('"');
    for condition in ["\"another\"", "W/\"another\", \"third\"", unquoted, "\"*\"", ""] {
        let answer = answer(ask(Method::GET, &url).header(header::IF_NONE_MATCH, condition)).await;
        assert_eq!((answer.status, &answer.body), (200, &first.body), "{condition}");
    }
}

/// Also where the answer has just been fetched, and from the validator of an earlier process: it is
/// made of nothing but the bytes.
#[tokio::test]
async fn a_validator_survives_a_restart() {
    let setup = Setup::run();
    let first = get(&setup.start().await.backend("/api/posts/1")).await;
    let etag = first.field("etag").expect("every post has one");

    let blog = setup.start().await;
    let request = ask(Method::GET, &blog.backend("/api/posts/1"));
    let again = answer(request.header(header::IF_NONE_MATCH, etag)).await;

    assert_eq!((again.status, again.handling()), (304, "uri-miss"));
    assert_eq!(again.field("etag"), Some(etag));
}

async fn errors_have_no_validator(setup: Setup) {
    let blog = setup.start().await;
    for path in ["/api/posts/99999", "/api/posts/99999", "/api/posts/abc", "/api/nothing"] {
        let request = ask(Method::GET, &blog.backend(path)).header(header::IF_NONE_MATCH, "*");
        let answer = answer(request).await;
        assert!(answer.status >= 400, "{path}: {answer:?}");
        assert_eq!(answer.field("etag"), None, "{path}");
    }
}

async fn an_unknown_path_is_404(setup: Setup) {
    let blog = setup.start().await;
    for path in ["/", "/api", "/api/", "/api/post", "/api/posts/1/2", "/posts", "/API/posts", "//"]
    {
        get(&blog.backend(path)).await.assert_detail(404, "Not Found");
    }
    for path in ["/", "/post", "/posts/1/2", "/api/posts"] {
        get(&blog.posts(path)).await.assert_detail(404, "Not Found");
    }
}

#[tokio::test]
async fn answers_that_ask_nobody_say_that_they_did_not() {
    let blog = Setup::run().start().await;
    for path in ["/health", "/api/posts/abc", "/nothing", "/api/posts/"] {
        let answer = get(&blog.backend(path)).await;
        assert_eq!(answer.field("cache-status"), Some("Larder;detail=bypass-rule"), "{path}");
        assert!(answer.field("server-timing").is_some(), "{path}");
    }
}
