//! RFC 9111 §4.4 and RFC 9875: what an unsafe request makes stale.

use larder_policy::{
    invalidate::{Invalidation, invalidates, is_safe},
    uri::{resolve, same_origin},
};

use crate::cases::{fields, request, response};

fn after(method: &str, status: u16, headers: &[(&str, &str)]) -> Invalidation {
    let request = request(method, "http://example.com/a/b?c", &[]);
    invalidates(request.head(), response(status, &fields(headers)))
}

fn uris(method: &str, status: u16, headers: &[(&str, &str)]) -> Vec<String> {
    after(method, status, headers).uris.iter().map(ToString::to_string).collect()
}

#[test]
fn any_method_that_is_not_registered_as_safe_invalidates_its_uri() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "BREW", "get", "CONNECT", "MKCOL"]
    {
        assert_eq!(uris(method, 200, &[]), ["http://example.com/a/b?c"], "{method}");
    }
}

#[test]
fn safe_methods_never_invalidate() {
    let headers =
        [("location", "/x"), ("content-location", "/y"), ("cache-group-invalidation", r#""g""#)];
    for method in
        ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH", "PRI"]
    {
        assert!(is_safe(&method.parse().unwrap()));
        assert!(after(method, 200, &headers).is_empty(), "{method}");
    }
}

#[test]
fn only_answers_without_error_invalidate() {
    for (status, invalidates) in [
        (200, true),
        (201, true),
        (204, true),
        (299, true),
        (301, true),
        (303, true),
        (304, true),
        (399, true),
        (400, false),
        (404, false),
        (499, false),
        (500, false),
        (503, false),
        (599, false),
        (999, false),
    ] {
        let headers = [("location", "/x"), ("cache-group-invalidation", r#""g""#)];
        assert_eq!(!after("POST", status, &headers).is_empty(), invalidates, "{status}");
    }
}

#[test]
fn location_and_content_location_of_the_same_origin_are_invalidated_too() {
    for (reference, expected) in [
        ("/x", Some("http://example.com/x")),
        ("x", Some("http://example.com/a/x")),
        ("../x?y", Some("http://example.com/x?y")),
        ("//example.com/x", Some("http://example.com/x")),
        ("http://EXAMPLE.com:80/x", Some("http://EXAMPLE.com:80/x")),
        ("HTTP://example.com/x", Some("http://example.com/x")),
        ("?d", Some("http://example.com/a/b?d")),
        ("/x#fragment", Some("http://example.com/x")),
        ("/ö x", Some("http://example.com/%C3%B6%20x")),
        // As browsers ask for it.
        ("/{a|b}?{a|b}", Some("http://example.com/%7Ba|b%7D?{a|b}")),
        ("https://example.com/x", None),
        ("http://example.com:81/x", None),
        ("http://other.example/x", None),
        ("//other.example/x", None),
        ("http://user@example.com/x", None),
        ("mailto:someone@example.com", None),
        ("http://", None),
        ("//", None),
        ("http://exa mple.com/", None),
        // The URI itself is there already.
        ("", None),
        ("b?c", None),
    ] {
        for name in ["location", "content-location"] {
            let uris = uris("POST", 201, &[(name, reference)]);
            let further = uris.get(1).map(String::as_str);
            assert_eq!(further, expected, "{name}: {reference}");
        }
    }
}

#[test]
fn what_an_origin_may_mean_by_dot_segments_is_invalidated_too() {
    for (path, short) in [
        ("/x/../a", Some("/a")),
        ("/x/%2e%2E/a", Some("/a")),
        ("/./a?b=/../c", Some("/a?b=/../c")),
        ("/a/..", Some("/")),
        ("/a/.b", None),
        ("/a..b/c", None),
        ("/a?b=/../c", None),
        ("/a%2F..", None),
    ] {
        let uri = format!("http://example.com{path}");
        let request = request("PUT", &uri, &[]);
        let stale = invalidates(request.head(), response(200, &fields(&[]))).uris;
        let stale: Vec<_> = stale.iter().map(ToString::to_string).collect();
        let short = short.map(|short| format!("http://example.com{short}"));
        assert_eq!(stale, [Some(uri), short].into_iter().flatten().collect::<Vec<_>>());
    }
}

#[test]
fn all_three_uris_are_named_each_once() {
    let headers = [("location", "/x"), ("content-location", "/y")];
    assert_eq!(uris("PUT", 200, &headers).len(), 3);
    let headers = [("location", "/x"), ("content-location", "/x")];
    assert_eq!(uris("PUT", 200, &headers).len(), 2);
    let contradiction = [("location", "/x"), ("location", "/y")];
    assert_eq!(uris("PUT", 200, &contradiction).len(), 1);
}

#[test]
fn groups_are_strings_over_all_lines_and_anything_else_is_no_list() {
    for (lines, groups) in [
        (&[r#""a", "b""#][..], &["a", "b"][..]),
        (&[r#""a""#, r#""b""#], &["a", "b"]),
        (&[r#""a";x=1, "a""#], &["a"]),
        (&[r#""a", b"#], &[]),
        (&[r#""a", 1"#], &[]),
        (&[r#"("a" "b")"#], &[]),
        (&["a b"], &[]),
        (&[r#""a"#], &[]),
        (&[""], &[]),
    ] {
        let headers: Vec<_> =
            lines.iter().map(|line| ("cache-group-invalidation", *line)).collect();
        assert_eq!(after("POST", 200, &headers).groups, groups, "{lines:?}");
    }
}

#[test]
fn references_are_resolved_as_in_rfc_3986_section_5_4() {
    let base = "http://a/b/c/d;p?q".parse().unwrap();
    for (reference, expected) in [
        // Normal examples.
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        ("g?y#s", "http://a/b/c/g?y"),
        (";x", "http://a/b/c/;x"),
        ("g;x", "http://a/b/c/g;x"),
        ("g;x?y#s", "http://a/b/c/g;x?y"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../", "http://a/"),
        ("../../g", "http://a/g"),
        // Abnormal examples.
        ("../../../g", "http://a/g"),
        ("../../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        (".g", "http://a/b/c/.g"),
        ("g..", "http://a/b/c/g.."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/../x", "http://a/b/c/g"),
    ] {
        let resolved = resolve(&base, reference.as_bytes()).map(|uri| uri.to_string());
        assert_eq!(resolved.as_deref(), Some(expected), "{reference}");
    }
    for reference in ["g:h", "http:g"] {
        assert_eq!(resolve(&base, reference.as_bytes()), None, "{reference}");
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    let same = |one: &str, other: &str| same_origin(&one.parse().unwrap(), &other.parse().unwrap());
    assert!(same("http://example.com/a", "http://EXAMPLE.COM:80/b"));
    assert!(same("https://example.com/", "https://example.com:443/"));
    assert!(!same("http://example.com/", "https://example.com/"));
    assert!(!same("http://example.com/", "http://example.com:443/"));
    assert!(!same("http://example.com/", "http://www.example.com/"));
    assert!(!same("/a", "/a"));
}
