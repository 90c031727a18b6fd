//! Fast hit: what is answered from borrowed bytes is what the whole way answers.

use allocation_counter::measure;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use larder::http::{
    Body, BorrowedRequest, HitResponse, ShowKey,
    policy::{
        fields::{FieldLine, Fields},
        scheme::Scheme,
    },
};

use crate::support::{Answer, Shape, Site, answer, get_with, ok, over_each_shape, request, secs};

const FIELDS: [(&str, &str); 7] = [
    ("cache-control", "max-age=60"),
    ("content-type", "text/html"),
    ("etag", "\"1\""),
    ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("vary", "accept-encoding"),
    ("content-digest", "sha-256=:AAAA:"),
    ("set-cookie", "a=1"),
];

/// Asks at a glance; the head as text, and the answer.
pub(crate) fn fast_hit(
    site: &Site,
    method: &Method,
    path: &str,
    fields: &[(&str, &str)],
    shows_key: bool,
) -> Option<(String, HitResponse)> {
    let lines: Vec<FieldLine<'_>> = fields
        .iter()
        .map(|(name, value)| FieldLine { name: name.as_bytes(), value: value.as_bytes() })
        .collect();
    let fields = Fields::of_lines(&lines);
    let (scheme, host) = (Scheme::Http, b"example.org");
    let asked = BorrowedRequest {
        method,
        scheme,
        host,
        target: path.as_bytes(),
        fields,
        shows_key,
        policy: None,
    };
    let mut head = b"before ".to_vec();
    let served = site.cache.fast_hit(asked, &mut head);
    let head = String::from_utf8(head).unwrap().strip_prefix("before ").unwrap().to_owned();
    assert_eq!(served.is_none(), head.is_empty(), "{head}");
    Some((head, served?))
}

/// Status and fields of a head as it stands on the wire; without the field that tells how long it took.
pub(crate) fn parsed(head: &str) -> (u16, HeaderMap) {
    let mut lines = head.strip_suffix("\r\n").unwrap().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        fields.append(name, HeaderValue::from_str(value).unwrap());
    }
    assert_eq!(fields.remove("server-timing").unwrap(), "cache;desc=hit");
    (status, fields)
}

fn without_timing(mut answer: Answer) -> (u16, HeaderMap) {
    answer.headers.remove("server-timing");
    (answer.status, answer.headers)
}

fn asking(method: &Method, path: &str, fields: &[(&str, &str)], shows_key: bool) -> Request<Body> {
    let mut asked = request(method.as_str(), path, fields);
    if shows_key {
        asked.extensions_mut().insert(ShowKey);
    }
    asked
}

/// A request: its method, path and fields.
type Row = (Method, &'static str, Vec<(&'static str, &'static str)>);

over_each_shape!(both_ways_give_the_same_answer);
async fn both_ways_give_the_same_answer(shape: Shape) {
    let site = Site::new(shape);
    site.answered(get_with("/a?b", &[("accept-encoding", "gzip")]), ok(&FIELDS, "0123456789"))
        .await;
    site.answered(get_with("/a?b", &[("accept-encoding", "br")]), ok(&FIELDS, "abcdefghij")).await;
    site.answered(get_with("/gone", &[]), answer(404, &[("cache-control", "max-age=60")], ""))
        .await;
    site.clock.advance(secs(7));
    let gzip = ("accept-encoding", "gzip");
    let rows: [Row; 14] = [
        (Method::GET, "/a?b", vec![gzip]),
        (Method::GET, "/a?b", vec![("Accept-Encoding", "br")]),
        (Method::GET, "/a?b", vec![("accept", "x"), gzip, ("cookie", "a=1")]),
        (Method::HEAD, "/a?b", vec![gzip]),
        (Method::GET, "/a?b", vec![gzip, ("if-none-match", "\"0\", \"1\"")]),
        (Method::HEAD, "/a?b", vec![gzip, ("if-none-match", "*")]),
        (Method::GET, "/a?b", vec![gzip, ("if-none-match", "\"2\"")]),
        (Method::GET, "/a?b", vec![gzip, ("if-modified-since", FIELDS[3].1)]),
        (Method::GET, "/a?b", vec![gzip, ("range", "bytes=2-5")]),
        (Method::GET, "/a?b", vec![gzip, ("range", "bytes=-3"), ("if-range", "\"1\"")]),
        (Method::GET, "/a?b", vec![gzip, ("range", "bytes=-3"), ("if-range", "\"2\"")]),
        (Method::HEAD, "/a?b", vec![gzip, ("range", "bytes=2-5")]),
        (Method::GET, "/a?b", vec![gzip, ("cache-control", "max-age=10, min-fresh=20")]),
        (Method::GET, "/gone", vec![]),
    ];
    for (method, path, fields) in &rows {
        for shows_key in [false, true] {
            let before = site.store().stats();
            let (head, served) =
                fast_hit(&site, method, path, fields, shows_key).unwrap_or_else(|| {
                    panic!("{method} {path} {fields:?} takes no more than a glance")
                });
            let between = site.store().stats();
            let whole = site.send(asking(method, path, fields, shows_key)).await;
            let after = site.store().stats();
            assert_eq!(served.content(), whole.body, "{fields:?}");
            assert_eq!(served.content_from(0), whole.body, "{fields:?}");
            assert_eq!(u16::from(served.status()), whole.status);
            // The connection says how long the content is where the service does not.
            let (status, mut written) = parsed(&head);
            let (expected_status, expected) = without_timing(whole);
            if !expected.contains_key("content-length") && *method == Method::GET {
                let length = written.remove("content-length");
                assert!(status == 304 || length.is_some(), "{head}");
            }
            assert_eq!((status, written), (expected_status, expected), "{fields:?}");
            assert_eq!(between.hits - before.hits, after.hits - between.hits);
            assert_eq!(between.saved - before.saved, after.saved - between.saved);
        }
    }
    assert_eq!(site.origin.calls(), 3);
}

over_each_shape!(what_is_more_than_a_plain_hit_goes_the_whole_way_and_is_not_counted);
async fn what_is_more_than_a_plain_hit_goes_the_whole_way_and_is_not_counted(shape: Shape) {
    let site = Site::new(shape);
    let cached = |fields: &[(&'static str, &'static str)]| {
        let mut all = vec![("cache-control", "max-age=60, stale-while-revalidate=60")];
        all.extend_from_slice(fields);
        ok(&all, "0123456789")
    };
    site.fill("/a", cached(&[])).await;
    site.fill("/inner", cached(&[("cache-status", "Inner;hit")])).await;
    site.fill("/tagged", cached(&[("surrogate-key", "t")])).await;
    site.fill("/empty", answer(204, &[("cache-control", "max-age=60")], "")).await;
    let get = Method::GET;
    assert!(fast_hit(&site, &get, "/a", &[], false).is_some());
    let hits = site.store().stats().hits;
    site.clock.advance(secs(1));
    let rows = [
        ("/missing", vec![]),
        ("/a", vec![("cache-control", "no-cache")]),
        ("/a", vec![("pragma", "no-cache")]),
        ("/a", vec![("range", "bytes=0-1,4-5")]),
        ("/a", vec![("range", "bytes=99-")]),
        ("/a", vec![("if-match", "\"1\""), ("cache-control", "max-age=0")]),
        ("/inner", vec![]),
        ("/empty", vec![]),
        ("/a#b", vec![]),
        ("http://example.org/a", vec![]),
    ];
    for (path, fields) in rows {
        assert!(fast_hit(&site, &get, path, &fields, false).is_none(), "{path} {fields:?}");
    }
    site.store().purge_tag("t");
    assert!(fast_hit(&site, &get, "/tagged", &[], false).is_none(), "it was purged");
    site.clock.advance(secs(61));
    assert!(fast_hit(&site, &get, "/a", &[], false).is_none(), "it is stale");
    assert_eq!(site.store().stats().hits, hits);
    assert_eq!(site.store().stats().stale_served, 0);
}

over_each_shape!(who_looks_personal_is_not_answered_with_what_is_not_for_everybody);
async fn who_looks_personal_is_not_answered_with_what_is_not_for_everybody(shape: Shape) {
    let site = Site::guarded(shape);
    site.fill("/a", ok(&[("cache-control", "max-age=60")], "own")).await;
    site.fill("/b", ok(&[("cache-control", "public, max-age=60")], "all")).await;
    let cookie = [("cookie", "session=1")];
    assert!(fast_hit(&site, &Method::GET, "/a", &cookie, false).is_none());
    assert!(fast_hit(&site, &Method::GET, "/a", &[], false).is_some());
    assert!(fast_hit(&site, &Method::GET, "/b", &cookie, false).is_some());
}

over_each_shape!(a_glance_allocates_nothing_however_large_the_body);
async fn a_glance_allocates_nothing_however_large_the_body(shape: Shape) {
    for bytes in [2 << 10, 512 << 10] {
        let site = Site::new(shape.holding(bytes));
        site.answered(get_with("/a", &[("accept-encoding", "gzip")]), ok(&FIELDS, vec![7; bytes]))
            .await;
        let lines = [
            FieldLine { name: b"Host", value: b"example.org" },
            FieldLine { name: b"Accept-Encoding", value: b"gzip" },
            FieldLine { name: b"Cookie", value: b"a=1" },
            FieldLine { name: b"Range", value: b"bytes=0-99" },
        ];
        let mut head = Vec::with_capacity(4096);
        // The first look of a thread sets up what it counts with; a range is a list of one.
        for (lines, allowed) in [(&lines[..3], 0), (&lines[..3], 0), (&lines[..], 2)] {
            let fields = Fields::of_lines(lines);
            let asked = BorrowedRequest {
                method: &Method::GET,
                scheme: Scheme::Http,
                host: b"example.org",
                target: b"/a",
                fields,
                shows_key: true,
                policy: None,
            };
            site.cache.fast_hit(asked, &mut head);
            head.clear();
            let mut served = None;
            let counted = measure(|| served = site.cache.fast_hit(asked, &mut head));
            assert!(served.is_some());
            assert!(counted.count_total <= allowed, "{counted:?}");
        }
    }
}
