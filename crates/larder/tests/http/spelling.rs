//! Spelling: one URI can be written in many ways. The origin sees what the reader wrote, and what it
//! answers to another spelling than the key's is never stored under that key.

use http::{HeaderValue, Request, Uri, header::HOST};
use larder::http::{Body, Policy, Settings};

use crate::support::{
    Refused, Shape, Site, answer, failed, fresh, get, get_with, headers, key, ok, over_each_shape,
    read, request, secs, settle,
};

const PATH: &str = "/posts/1~?q=%2F%5B";

/// Each names what a GET of [`PATH`] names, and none is written as its key.
fn spellings() -> Vec<(&'static str, Request<()>)> {
    let of = |uri: &str, host: Option<&'static str>| {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse::<Uri>().unwrap();
        if let Some(host) = host {
            request.headers_mut().insert(HOST, HeaderValue::from_static(host));
        }
        request
    };
    vec![
        ("an unreserved letter", of("http://example.org/p%6Fsts/1~?q=%2F%5B", None)),
        ("a tilde", of("http://example.org/posts/1%7E?q=%2F%5B", None)),
        ("hex digits of both kinds", of("http://example.org/posts/1~?q=%2f%5B", None)),
        ("capitals in the host", of("http://Example.ORG/posts/1~?q=%2F%5B", None)),
        ("the default port", of("http://example.org:80/posts/1~?q=%2F%5B", None)),
        ("a port with zeros", of("http://example.org:0080/posts/1~?q=%2F%5B", None)),
        ("an empty port", of("http://example.org:/posts/1~?q=%2F%5B", None)),
        ("a Host in capitals", of("/posts/1~?q=%2F%5B", Some("EXAMPLE.org"))),
    ]
}

fn with(asked: &Request<()>, method: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let mut request = asked.clone().map(|()| Body::empty());
    *request.method_mut() = method.parse().unwrap();
    request.headers_mut().extend(headers(fields));
    request
}

fn asking(asked: &Request<()>) -> Request<Body> {
    with(asked, "GET", &[])
}

over_each_shape!(the_origin_sees_each_spelling_as_it_is_whatever_the_method);
async fn the_origin_sees_each_spelling_as_it_is_whatever_the_method(shape: Shape) {
    for method in ["GET", "HEAD", "QUERY", "POST", "PUT", "OPTIONS"] {
        for (what, asked) in spellings() {
            let site = Site::new(shape);
            site.answered(with(&asked, method, &[]), fresh("body")).await;
            let seen = site.origin.last();
            let written = (asked.uri().to_string(), asked.headers().get(HOST));
            assert_eq!((seen.uri.to_string(), seen.headers.get(HOST)), written, "{method} {what}");
        }
    }
}

over_each_shape!(each_spelling_is_answered_with_what_is_stored);
async fn each_spelling_is_answered_with_what_is_stored(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        site.fill(PATH, fresh("body")).await;
        let hit = site.send(asking(&asked)).await;
        assert!(hit.is_hit(), "{what}: {hit:?}");
    }
}

over_each_shape!(what_the_origin_answers_to_a_spelling_is_for_its_reader_alone);
async fn what_the_origin_answers_to_a_spelling_is_for_its_reader_alone(shape: Shape) {
    for (what, asked) in spellings() {
        for status in [200, 404, 301, 410] {
            let site = Site::new(shape);
            let fields = [("cache-control", "max-age=60"), ("location", "/")];
            let passed = site.answered(asking(&asked), answer(status, &fields, "odd")).await;
            assert_eq!((passed.status, passed.text()), (status, "odd"), "{what}");
            let said = passed.said();
            assert!(said.contains(";fwd=uri-miss;") && said.ends_with("detail=spelling"), "{said}");
            assert_eq!(site.store().stats().entries, 0, "{what}");
            site.fill(PATH, fresh("body")).await;
            assert_eq!(site.origin.calls(), 2, "{what} was remembered");
        }
    }
}

over_each_shape!(a_spelling_shares_its_way_to_the_origin_with_nobody);
async fn a_spelling_shares_its_way_to_the_origin_with_nobody(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        let readers = [get(PATH), asking(&asked), asking(&asked)].map(|request| site.ask(request));
        settle().await;
        assert_eq!(site.origin.waiting(), 3, "{what}");
        let calls = [site.origin.take(), site.origin.take(), site.origin.take()];
        for (place, call) in calls.into_iter().enumerate().rev() {
            call.send(Ok(fresh(place.to_string()))).unwrap();
        }
        // Called in the order of the readers.
        for (place, reader) in readers.into_iter().enumerate() {
            assert_eq!(read(reader).await.text(), place.to_string(), "{what}");
        }
        settle().await;
        assert_eq!(site.get(PATH).await.text(), "0", "{what}");
    }
}

over_each_shape!(a_spelling_neither_confirms_nor_replaces_what_is_stored);
async fn a_spelling_neither_confirms_nor_replaces_what_is_stored(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        site.fill(PATH, ok(&[("cache-control", "max-age=10"), ("etag", "\"1\"")], "old")).await;
        site.clock.advance(secs(15));
        let fields = [("cache-control", "max-age=60"), ("etag", "\"2\"")];
        let passed = site.answered(asking(&asked), ok(&fields, "odd")).await;
        assert_eq!(passed.text(), "odd", "{what}");
        assert_eq!(site.origin.last().field("if-none-match"), "", "{what}");
        // The reader's own condition is the origin's to judge.
        let conditional = with(&asked, "GET", &[("if-none-match", "\"9\"")]);
        let passed = site.answered(conditional, answer(304, &fields, "")).await;
        assert_eq!(passed.status, 304, "{what}");
        assert_eq!(site.origin.last().field("if-none-match"), "\"9\"", "{what}");
        let usual = site.ask(get(PATH));
        settle().await;
        assert_eq!(site.origin.last().field("if-none-match"), "\"1\"", "{what}");
        site.origin.answer(answer(304, &[], ""));
        assert_eq!(read(usual).await.text(), "old", "{what}");
    }
}

over_each_shape!(an_answer_to_head_in_a_spelling_tells_nothing_of_what_is_stored);
async fn an_answer_to_head_in_a_spelling_tells_nothing_of_what_is_stored(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        site.fill(PATH, ok(&[("cache-control", "max-age=60"), ("etag", "\"1\"")], "old")).await;
        let head = with(&asked, "HEAD", &[("cache-control", "no-cache")]);
        let fields = [("cache-control", "max-age=60"), ("etag", "\"2\"")];
        site.answered(head, answer(200, &fields, "")).await;
        let hit = site.get(PATH).await;
        assert!(hit.is_hit() && hit.field("etag") == "\"1\"", "{what}: {hit:?}");
    }
}

over_each_shape!(a_part_in_a_spelling_is_not_joined_with_what_is_stored);
async fn a_part_in_a_spelling_is_not_joined_with_what_is_stored(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        let part = |range, body: &'static str| {
            let fields =
                [("cache-control", "max-age=60"), ("etag", "\"1\""), ("content-range", range)];
            answer(206, &fields, body)
        };
        let ranged = get_with(PATH, &[("range", "bytes=0-2")]);
        site.answered(ranged, part("bytes 0-2/6", "abc")).await;
        let ranged = with(&asked, "GET", &[("range", "bytes=3-5")]);
        let passed = site.answered(ranged, part("bytes 3-5/6", "XXX")).await;
        assert_eq!((passed.status, passed.text()), (206, "XXX"), "{what}");
        let whole = site.answered(get(PATH), part("bytes 3-5/6", "def")).await;
        assert_eq!((whole.status, whole.text()), (200, "abcdef"), "{what}");
    }
}

over_each_shape!(a_stale_answer_goes_out_to_a_spelling_and_is_not_refreshed_by_it);
async fn a_stale_answer_goes_out_to_a_spelling_and_is_not_refreshed_by_it(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::new(shape);
        let windows = "max-age=10, stale-while-revalidate=20, stale-if-error=60";
        site.fill(PATH, ok(&[("cache-control", windows)], "old")).await;
        site.clock.advance(secs(15));
        let stale = site.send(asking(&asked)).await;
        assert!(stale.said().ends_with("detail=stale-while-revalidate"), "{what}: {stale:?}");
        settle().await;
        assert_eq!(site.origin.calls(), 1, "{what}");
        // Beyond that window it stands in for an origin that fails, as for everybody.
        site.clock.advance(secs(20));
        let reading = site.ask(asking(&asked));
        settle().await;
        site.origin.refuse();
        assert_eq!(read(reading).await.text(), "old", "{what}");
    }
}

over_each_shape!(an_unsafe_request_in_a_spelling_ends_what_is_stored_and_leaves_nothing);
async fn an_unsafe_request_in_a_spelling_ends_what_is_stored_and_leaves_nothing(shape: Shape) {
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for (what, asked) in spellings() {
            let site = Site::new(shape);
            site.fill(PATH, fresh("old")).await;
            let fields = [("cache-control", "max-age=60"), ("content-location", PATH)];
            site.answered(with(&asked, method, &[]), ok(&fields, "odd")).await;
            settle().await;
            assert_eq!(site.store().stats().entries, 0, "{method} {what}");
        }
    }
}

over_each_shape!(a_failure_in_a_spelling_is_not_remembered);
async fn a_failure_in_a_spelling_is_not_remembered(shape: Shape) {
    for (what, asked) in spellings() {
        let site = Site::with(shape, Policy::standard(), Settings::default(), |builder| {
            builder.negative_ttl(secs(60))
        });
        let reading = site.ask(asking(&asked));
        settle().await;
        site.origin.refuse();
        failed(reading).await;
        assert_eq!(site.answered(get(PATH), fresh("body")).await.text(), "body", "{what}");
    }
}

over_each_shape!(what_origins_may_tell_apart_has_entries_of_its_own);
async fn what_origins_may_tell_apart_has_entries_of_its_own(shape: Shape) {
    let site = Site::new(shape.holding(12 << 10));
    site.origin.answers(|seen| match seen.uri.path_and_query() {
        Some(target) => Ok(fresh(target.as_str().to_owned())),
        None => Err(Refused("no target")),
    });
    let targets = [
        "/a|b",
        "/a%7Cb",
        "/{a}",
        "/%7Ba%7D",
        "/\"",
        "/%22",
        "/b",
        "/a/b",
        "/a//b",
        "/a%2Fb",
        "/a%b",
        "/a%25b",
        "/%%61%30",
        "/%a0%",
        "/%A0",
        "/?",
        "/",
        "/?a=[1]",
        "/?a=%5B1%5D",
        "/+",
        "/%20",
        "/A",
        "/a",
        "/?\\",
        "/?%5C",
    ];
    for is_there in [false, true] {
        for target in targets {
            let read = site.get(target).await;
            assert_eq!((read.is_hit(), read.text()), (is_there, target));
            settle().await;
        }
    }
}

over_each_shape!(a_target_beyond_ascii_passes_as_it_is);
async fn a_target_beyond_ascii_passes_as_it_is(shape: Shape) {
    let site = Site::new(shape);
    site.fill("/%C3%A9", fresh("encoded")).await;
    for _ in 0..2 {
        let passed = site.answered(get("/\u{e9}"), fresh("raw")).await;
        assert_eq!(passed.text(), "raw");
        assert_eq!(site.origin.last().uri.path(), "/\u{e9}");
    }
    assert!(site.get("/%C3%A9").await.is_hit());
    // Some origins take both for the same.
    site.answered(request("PUT", "/\u{e9}", &[]), ok(&[], "")).await;
    assert!(site.store().get(key("/%C3%A9")).is_none());
}

/// The same as [`PATH`], as many programs write it.
const SMALL: &str = "/posts/1~?q=%2f%5b";

over_each_shape!(what_is_asked_for_in_small_hex_digits_is_stored_beside_what_is_asked_for_as_usual);
async fn what_is_asked_for_in_small_hex_digits_is_stored_beside_what_is_asked_for_as_usual(
    shape: Shape,
) {
    for [first, second] in [[PATH, SMALL], [SMALL, PATH]] {
        let site = Site::new(shape);
        for path in [first, second] {
            let asked = site.answered(get(path), fresh(path)).await;
            assert!(asked.said().contains(";fwd="), "{path}: {asked:?}");
            assert_eq!(site.origin.last().uri.path_and_query().unwrap(), path);
        }
        for path in [first, second, first] {
            let hit = site.get(path).await;
            assert!(hit.is_hit(), "{path}: {hit:?}");
            assert_eq!(hit.text(), path);
        }
        // Both are the same to who purges, and to what changes them.
        site.answered(request("DELETE", first, &[]), ok(&[], "")).await;
        settle().await;
        for path in [first, second] {
            let anew = site.answered(get(path), fresh("anew")).await;
            assert_eq!(anew.text(), "anew", "{path}");
        }
    }
}

over_each_shape!(readers_in_small_hex_digits_share_a_fetch_of_their_own);
async fn readers_in_small_hex_digits_share_a_fetch_of_their_own(shape: Shape) {
    let site = Site::new(shape);
    let readers = [SMALL, PATH, SMALL, SMALL].map(|path| site.ask(get(path)));
    settle().await;
    assert_eq!(site.origin.waiting(), 2);
    // Called in the order of the readers.
    for path in [SMALL, PATH] {
        site.origin.take().send(Ok(fresh(path))).unwrap();
    }
    for (path, reader) in [SMALL, PATH, SMALL, SMALL].into_iter().zip(readers) {
        assert_eq!(read(reader).await.text(), path);
    }
}

over_each_shape!(what_is_stored_in_small_hex_digits_is_validated_and_refreshed_in_them);
async fn what_is_stored_in_small_hex_digits_is_validated_and_refreshed_in_them(shape: Shape) {
    let site = Site::new(shape);
    let fields = [("cache-control", "max-age=10"), ("etag", "\"1\"")];
    site.fill(SMALL, ok(&fields, "small")).await;
    site.clock.advance(secs(15));
    let usual = site.answered(get(PATH), ok(&[("cache-control", "max-age=60")], "usual")).await;
    assert_eq!((usual.text(), site.origin.last().field("if-none-match")), ("usual", ""));
    let confirmed = site.answered(get(SMALL), answer(304, &fields, "")).await;
    assert_eq!(confirmed.text(), "small");
    assert_eq!(site.origin.last().field("if-none-match"), "\"1\"");
    assert_eq!((site.get(SMALL).await.text(), site.get(PATH).await.text()), ("small", "usual"));
}
