//! What one reader holds, asks for or does, and what others get.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{
    answer::Answer,
    eventually,
    larder::{Larder, request},
    origin::{Origin, ok},
};

/// Stale as soon as it comes, so that no test has to wait for it.
const STALE: &str = "cache-control: max-age=100\r\nage: 100\r\n";

async fn asked(larder: &Larder, method: &str, path: &str, fields: &str) -> Answer {
    let mut reader = larder.connect().await;
    reader.send(request(method, path, fields)).await;
    reader.answer().await
}

#[tokio::test]
async fn a_download_that_goes_on_is_never_joined_of_two_versions() {
    let has_changed = Arc::new(AtomicBool::new(false));
    let changes = Arc::clone(&has_changed);
    let origin = Origin::answering(move |head| {
        let (tag, byte) = match changes.load(Ordering::SeqCst) {
            true => ("\"v2\"", b'2'),
            false => ("\"v1\"", b'1'),
        };
        let says = |line: &str| head.to_ascii_lowercase().contains(line);
        let fields = format!("{STALE}etag: {tag}\r\n");
        if says(&format!("if-none-match: {tag}")) {
            return format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes();
        }
        let range = match () {
            () if says("if-range:") && !says(&format!("if-range: {tag}")) => None,
            () if says("range: bytes=0-499") => Some((0, 499)),
            () if says("range: bytes=450-480") => Some((450, 480)),
            () => None,
        };
        let Some((first, last)) = range else { return ok(&fields, vec![byte; 1000]) };
        let length: usize = last + 1 - first;
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\n{fields}content-range: bytes {first}-{last}/1000\r\n\
             content-length: {length}\r\n\r\n"
        );
        [head.into_bytes(), vec![byte; length]].concat()
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let part = larder.get_with("/a", "range: bytes=0-499\r\n").await;
    assert_eq!((part.status(), &*part.body), (206, &[b'1'; 500][..]));
    let goes_on = "range: bytes=450-480\r\nif-range: \"v1\"\r\n";
    let same = larder.get_with("/a", goes_on).await;
    assert_eq!((same.status(), &*same.body), (206, &[b'1'; 31][..]));
    has_changed.store(true, Ordering::SeqCst);
    let other = larder.get_with("/a", goes_on).await;
    assert_eq!((other.status(), &*other.body), (200, &[b'2'; 1000][..]));
    assert_eq!(other.field("etag"), Some("\"v2\""));
}

#[tokio::test]
async fn who_has_a_private_answer_already_gets_a_304_and_the_origin_says_so() {
    let fields = "cache-control: private, max-age=0\r\netag: \"v1\"\r\n";
    let origin = Origin::answering(move |head| match head.contains("if-none-match: \"v1\"") {
        true => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes(),
        false => ok(fields, vec![b'x'; 50_000]),
    })
    .await;
    for first in [true, false] {
        let larder = Larder::before(origin.address).await;
        // Whether the gateway has seen such an answer before or not.
        if first {
            assert_eq!(larder.get("/a").await.body.len(), 50_000);
        }
        for _ in 0..3 {
            let held = larder.get_with("/a", "if-none-match: \"v1\"\r\n").await;
            assert_eq!((held.status(), held.field("etag")), (304, Some("\"v1\"")));
            assert_eq!(held.body.len(), 0);
        }
        let last = origin.requests().pop().unwrap();
        assert!(last.contains("if-none-match: \"v1\""), "{last}");
    }
}

#[tokio::test]
async fn one_readers_session_is_no_others() {
    let origin = Origin::saying(ok(
        "cache-control: public, max-age=60\r\nset-cookie: session=1\r\n",
        "welcome",
    ))
    .await;
    for (flags, requests) in [(&["--ttl", "5m"][..], 3), (&["--policy", "standard"], 1)] {
        let before = origin.requests().len();
        let larder = Larder::with(origin.address, flags).await;
        for _ in 0..3 {
            larder.get("/").await;
        }
        assert_eq!(origin.requests().len() - before, requests, "{flags:?}");
    }
}

#[tokio::test]
async fn a_setting_stores_pages_without_their_cookies() {
    let fields = "cache-control: public, max-age=60\r\nset-cookie: session=1\r\n";
    let origin = Origin::saying(ok(fields, "welcome")).await;
    let larder = Larder::with(origin.address, &["--set-cookie", "store-without"]).await;
    let first = larder.get("/").await;
    assert_eq!(first.field("set-cookie"), Some("session=1"));
    let second = larder.get("/").await;
    assert_eq!((second.handling(), second.text()), ("hit", "welcome"));
    assert_eq!(second.field("set-cookie"), None);
}

#[tokio::test]
async fn a_setting_lets_a_field_reach_the_origin_that_tells_answers_apart() {
    let origin = Origin::answering(|head| {
        let body = if head.contains("x-original-url: /admin") { "admin" } else { "the page" };
        ok("cache-control: max-age=60\r\n", body)
    })
    .await;
    let larder = Larder::with(origin.address, &["--key-fields", "X-Original-URL,X-Tenant"]).await;
    for _ in 0..2 {
        assert_eq!(larder.get_with("/", "x-original-url: /admin\r\n").await.text(), "admin");
        assert_eq!(larder.get("/").await.text(), "the page");
    }
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn streams_without_end_are_each_readers_own_also_with_a_ttl() {
    let origin = Origin::playing(|mut visit| async move {
        if visit.request().await.is_some() {
            visit
                .send(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                     transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                )
                .await;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let larder = Larder::with(origin.address, &["--ttl", "5m"]).await;
    let mut readers = Vec::new();
    for number in 1..4 {
        let mut reader = larder.connect().await;
        reader.send(request("GET", "/events", "")).await;
        let head = reader.head().await;
        assert!(head.contains("detail=endless"), "{head}");
        readers.push(reader);
        eventually("a request", async || (origin.requests().len() == number).then_some(())).await;
    }
}

#[tokio::test]
async fn a_ttl_is_for_what_is_there_and_no_error_is_for_all() {
    let origin = Origin::answering(|head| {
        let mut words = head.split([' ', '/']);
        let status = words.nth(2).unwrap_or_default().to_owned();
        let explicit = match head.contains("/explicit") {
            true => "cache-control: max-age=60\r\n",
            false => "",
        };
        format!("HTTP/1.1 {status} X\r\n{explicit}location: /b\r\ncontent-length: 1\r\n\r\nx")
    })
    .await;
    let larder = Larder::with(origin.address, &["--ttl", "5m"]).await;
    for status in
        [200, 203, 301, 302, 308, 400, 403, 404, 405, 410, 413, 414, 429, 431, 500, 501, 503]
    {
        for explicit in ["silent", "explicit"] {
            let path = format!("/{status}/{explicit}");
            let before = origin.requests().len();
            for _ in 0..2 {
                assert_eq!(larder.get(&path).await.status(), status, "{path}");
            }
            let is_stored = origin.requests().len() == before + 1;
            let expected = match (status, explicit) {
                (200 | 203 | 301 | 308 | 404 | 410, _) => true,
                (302 | 403 | 500 | 503, explicit) => explicit == "explicit",
                _ => false,
            };
            assert_eq!(is_stored, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn what_one_request_makes_of_a_page_is_not_what_others_get() {
    // An origin as they are: it refuses large heads, obeys overrides, and reads underscores as hyphens.
    let origin = Origin::answering(|head| {
        let head = head.to_ascii_lowercase().replace('_', "-");
        let says = |line: &str| head.contains(&format!("\r\n{line}"));
        let fields = "cache-control: public, max-age=60\r\n";
        if head.len() > 4096 {
            return format!("HTTP/1.1 400 Bad\r\n{fields}content-length: 3\r\n\r\nbad")
                .into_bytes();
        }
        let odd = ["x-http-method-override:", "x-original-url:", "x-rewrite-url:"];
        if odd.iter().any(|name| says(name)) || says("x-forwarded-host: evil") {
            return ok(fields, "poison");
        }
        ok(fields, "the page")
    })
    .await;
    let oversized = format!("x-oversized: {}\r\n", "x".repeat(5000));
    for (number, fields) in [
        &*oversized,
        "x-http-method-override: POST\r\n",
        "X-Original-URL: /admin\r\n",
        "x-rewrite-url: /admin\r\n",
        "X_HTTP_Method_Override: POST\r\n",
        "x-forwarded-host: evil\r\n",
        "X_Forwarded_Host: evil\r\n",
        "X-Forwarded_Host: evil\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        for method in ["GET", "HEAD"] {
            let larder = Larder::before(origin.address).await;
            let path = format!("/{number}/{method}");
            asked_without_body(&larder, method, &path, fields).await;
            let page = larder.get(&path).await;
            assert_eq!((page.status(), page.text()), (200, "the page"), "{fields}");
        }
    }
    // Where nothing is stored, the origin is told what the reader said.
    let larder = Larder::before(origin.address).await;
    let overridden = "x-http-method-override: DELETE\r\ncontent-length: 0\r\n";
    assert_eq!(asked(&larder, "POST", "/", overridden).await.text(), "poison");
    let claims = "x_forwarded_host: evil\r\ncontent-length: 0\r\n";
    assert_eq!(asked(&larder, "POST", "/", claims).await.text(), "the page");
}

async fn asked_without_body(larder: &Larder, method: &str, path: &str, fields: &str) {
    let mut reader = larder.connect().await;
    reader.send(request(method, path, fields)).await;
    reader.head().await;
}

#[tokio::test]
async fn an_answer_in_a_transfer_coding_that_is_not_undone_is_no_content() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: gzip, chunked\r\n\r\n\
         3\r\n\x1f\x08x\r\n0\r\n\r\n",
    )
    .await;
    let larder = Larder::before(origin.address).await;
    for requests in 1..3 {
        let refused = larder.get("/").await;
        assert_eq!(refused.status(), 502);
        let why = refused.field("proxy-status").unwrap();
        assert!(why.contains("http_response_transfer_coding"), "{why}");
        assert_eq!(origin.requests().len(), requests);
    }
}
