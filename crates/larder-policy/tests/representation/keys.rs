//! RFC 3986 §6 and RFC 9110 §4.2.3: equal URIs have one key; RFC 10008: so have equal queries;
//! draft-ietf-httpbis-no-vary-search: and what an origin declares equal.

use http::Uri;
use larder_policy::{
    key::{MAX_KEY_BYTES, RequestKey},
    no_vary_search::NoVarySearch,
    scheme::Scheme,
    uri::{as_read, is_written_as, is_written_in_small_hex, path_as_read},
};

use proptest::prelude::*;

use crate::cases::{fields, request};

fn key(uri: &str) -> String {
    RequestKey::of(request("GET", uri, &[]).head(), None).unwrap().to_string()
}

#[test]
fn equivalent_uris_have_one_key() {
    for (one, other) in [
        ("http://example.com", "http://example.com/"),
        ("http://EXAMPLE.com/", "http://example.com/"),
        ("HTTP://example.com/", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("http://example.com:080/", "http://example.com/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com/%7Ea", "http://example.com/~a"),
        ("http://example.com/%7ea", "http://example.com/~a"),
        ("http://example.com/%c3%b6", "http://example.com/%C3%B6"),
        ("http://example.com/?%61=%62", "http://example.com/?a=b"),
        ("http://example.com?a", "http://example.com/?a"),
    ] {
        assert_eq!(key(one), key(other), "{one} and {other}");
    }
}

#[test]
fn a_uri_is_written_as_its_key_or_it_is_not() {
    for (uri, is) in [
        ("http://example.org/", true),
        ("http://example.org:8080/a?b=%2F", true),
        ("https://example.org/a?", true),
        ("http://example.org", true),
        ("http://Example.org/", false),
        ("http://example.org:80/", false),
        ("http://example.org/%61", false),
        ("http://example.org/%2f", false),
        ("http://example.org/{}", true),
        ("http://example.org/%", true),
        ("http://example.org/%7e%", true),
        ("http://example.org/é", false),
    ] {
        let parsed: http::Uri = uri.parse().unwrap();
        let normal = RequestKey::of_uri(&parsed).unwrap().to_string();
        assert_eq!(is_written_as(&parsed, &normal), is, "{uri} {normal}");
        assert!(!is_written_as(&parsed, &format!("{normal}a")), "{uri}");
    }
}

#[test]
fn small_hex_digits_are_told_from_every_other_spelling() {
    for (uri, is) in [
        ("http://example.org/%c3%b6?q=%2f", true),
        ("http://example.org/%20%c3", true),
        ("http://example.org/%C3%B6", false),
        ("http://example.org/%20", false),
        ("http://example.org/ab", false),
        ("http://example.org/%c3%B6", false),
        ("http://example.org/%7e%c3", false),
        ("http://example.org/%c3%", false),
        ("http://Example.org/%c3", false),
        ("http://example.org:80/%c3", false),
        ("HTTP://example.org/%c3", true),
    ] {
        let parsed: http::Uri = uri.parse().unwrap();
        let normal = RequestKey::of_uri(&parsed).unwrap().to_string();
        assert_eq!(is_written_in_small_hex(&parsed, &normal), is, "{uri} {normal}");
        assert!(!is_written_in_small_hex(&parsed, &format!("{normal}a")), "{uri}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

    #[test]
    fn the_short_way_to_a_key_leads_to_the_same_one(
        uri in "(http|https|HTTP)://([a-zA-Z0-9.:@_~%!-]{1,8}|\\[::1\\]|[a-c.]{1,3})(:[0-9]{0,6}|:80|:443|:080)?\
                (/[!-~é]{0,10}|/(%[0-9a-fA-F]{0,2}|[a-z/?]){0,8}|\\?[a-z]{0,3})?(\\?[!-~é]{0,6})?",
    ) {
        let Ok(uri) = uri.parse::<Uri>() else { return Ok(()) };
        let whole = RequestKey::of_uri(&uri).map(|key| key.to_string());
        let scheme = if uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
        let (host, target) = (uri.authority().unwrap().as_str(), uri.path_and_query().unwrap().as_str());
        let mut short = Vec::new();
        if let Some(short) = RequestKey::write(scheme, host.as_bytes(), target.as_bytes(), &mut short) {
            prop_assert_eq!(Some(short), whole.as_deref());
        }
        if let Some(key) = whole {
            prop_assert!(!is_written_as(&uri, &key) || uri.to_string() == key);
            let is_small = is_written_in_small_hex(&uri, &key);
            let is_same = uri.to_string().eq_ignore_ascii_case(&key);
            prop_assert!(!is_small || (is_same && !is_written_as(&uri, &key)), "{} {}", uri, key);
            let again = key.parse::<Uri>().unwrap();
            prop_assert!(is_written_as(&again, &key), "{} {}", uri, key);
            let of_key = RequestKey::of_uri(&again).map(|key| key.to_string());
            prop_assert_eq!(of_key, Some(key));
        }
    }
}

#[test]
fn uris_that_may_mean_different_things_have_different_keys() {
    for (one, other) in [
        ("http://example.com/", "https://example.com/"),
        ("http://example.com/", "http://www.example.com/"),
        ("http://example.com/", "http://example.com:8080/"),
        ("http://example.com:443/", "http://example.com/"),
        ("http://example.com/a", "http://example.com/A"),
        ("http://example.com/a", "http://example.com/a/"),
        ("http://example.com/a", "http://example.com/a?"),
        ("http://example.com/a%2Fb", "http://example.com/a/b"),
        ("http://example.com/a%3Fb", "http://example.com/a?b"),
        ("http://example.com/a%25b", "http://example.com/a%b"),
        ("http://example.com/a+b", "http://example.com/a%20b"),
        ("http://example.com/?a=1&b=2", "http://example.com/?b=2&a=1"),
        ("http://example.com/a//b", "http://example.com/a/b"),
        ("http://example.com/{}", "http://example.com/%7B%7D"),
        ("http://example.com/?a|b", "http://example.com/?a%7Cb"),
        ("http://example.com/%%61%30", "http://example.com/%A0"),
        ("http://example.com/%61%", "http://example.com/a%"),
        ("http://example.com/?%61%", "http://example.com/?a%"),
        ("http://example.com/%2", "http://example.com/%252"),
    ] {
        assert_ne!(key(one), key(other), "{one} and {other}");
    }
}

/// It is no URI, and what an origin makes of it is the origin's.
#[test]
fn a_target_beyond_ascii_has_no_key_but_for_who_invalidates() {
    let request = request("GET", "http://example.com/ö?ü", &[]);
    assert_eq!(RequestKey::of(request.head(), None), None);
    let of_uri = RequestKey::of_uri(&"http://example.com/ö?ü".parse().unwrap()).unwrap();
    assert_eq!(of_uri.as_str(), "http://example.com/%C3%B6?%C3%BC");
}

#[test]
fn a_uri_that_names_no_server_has_no_key() {
    for uri in ["/a", "http://example.com:99999/", "http://user@example.com/", "http://user@a:80/"]
    {
        assert_eq!(RequestKey::of_uri(&uri.parse().unwrap()), None, "{uri}");
    }
}

#[test]
fn a_key_begins_with_its_uri() {
    assert_eq!(key("http://Example.com:8080/a?b"), "http://example.com:8080/a?b");
}

#[test]
fn get_and_head_share_a_key_and_other_methods_have_none() {
    let of =
        |method| RequestKey::of(request(method, "http://example.com/", &[]).head(), Some(b"x"));
    assert_eq!(of("GET"), of("HEAD"));
    assert_ne!(of("GET"), of("QUERY"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW", "get"] {
        assert_eq!(of(method), None, "{method}");
    }
}

#[test]
fn what_a_query_asks_and_how_it_is_to_be_read_is_in_its_key() {
    let of = |content: &[u8], headers: &[(&str, &str)]| {
        RequestKey::of(request("QUERY", "http://example.com/", headers).head(), Some(content))
    };
    let json = ("content-type", "application/json");
    assert_eq!(of(b"1", &[json]), of(b"1", &[json, ("accept", "x")]));
    assert_ne!(of(b"1", &[json]), of(b"2", &[json]));
    assert_ne!(of(b"1", &[json]), of(b"1", &[]));
    assert_ne!(of(b"1", &[json]), of(b"1", &[("content-type", "application/xml")]));
    assert_ne!(of(b"1", &[json]), of(b"1", &[json, ("content-encoding", "gzip")]));
    // One field cannot pass for another.
    assert_ne!(of(b"1", &[("content-type", "a")]), of(b"1", &[("content-encoding", "a")]));
    assert_ne!(of(b"1", &[("content-type", "a, b")]), of(b"1", &[("content-type", "a,, b")]));
    assert_eq!(of(b"1", &[json]).unwrap().uri(), "http://example.com/");
    let head = request("QUERY", "http://example.com/", &[]);
    assert_eq!(RequestKey::of(head.head(), None), None);
}

#[test]
fn what_a_service_may_read_as_another_path_has_no_key_but_can_be_purged() {
    for path in ["/a/../b", "/./b", "/a/%2e./b", "/..", "/a/."] {
        let uri = format!("http://example.com{path}");
        let head = request("GET", &uri, &[]);
        assert_eq!(RequestKey::of(head.head(), None), None, "{path}");
        assert!(RequestKey::of_uri(&uri.parse().unwrap()).is_some(), "{path}");
    }
    let head = request("GET", "http://example.com/.a/b..?/../", &[]);
    assert!(RequestKey::of(head.head(), None).is_some());
}

#[test]
fn a_path_has_one_spelling_for_what_services_do_not_tell_apart() {
    for (path, read) in [
        ("/a", "/a"),
        ("/%40a%3A%2B%2A%28%29", "/@a:+*()"),
        ("/%2Fa%5C%3B%3F%23%25", "/%2Fa%5C%3B%3F%23%25"),
        ("/{a}\"|^[]<>`", "/%7Ba%7D%22%7C%5E%5B%5D%3C%3E%60"),
        ("/%7Ba%7D%20%C3%B6", "/%7Ba%7D%20%C3%B6"),
        ("/%", "/%"),
        ("/%4", "/%4"),
        ("/ö%40", "/ö@"),
    ] {
        assert_eq!(as_read(path), read, "{path}");
        assert_eq!(as_read(read), read, "{path}");
    }
    let uri = "http://example.com/x/../%40m%65?%40".parse().unwrap();
    assert_eq!(path_as_read(&uri), "/@me");
}

#[test]
fn a_key_is_bounded() {
    let long = |bytes: usize| {
        let uri = "http://example.com/".to_owned();
        let uri = format!("{uri}{}", "a".repeat(bytes - uri.len()));
        RequestKey::of_uri(&uri.parse().unwrap())
    };
    assert!(long(MAX_KEY_BYTES).is_some());
    assert_eq!(long(MAX_KEY_BYTES + 1), None);
    assert_eq!(RequestKey::of_uri(&"/a".parse().unwrap()), None);
}

fn variance(field: &str) -> NoVarySearch {
    NoVarySearch::of(&fields(&[("no-vary-search", field)]))
}

#[test]
fn what_is_not_understood_means_that_the_whole_query_matters() {
    for field in [
        "unknown-key",
        r#"key-order="not a boolean""#,
        r#"params="not a boolean or inner list""#,
        "params=(not-a-string)",
        r#"params=("a"), except=("x")"#,
        "params=(), except=()",
        r#"params=?0, except=("x")"#,
        "params, except=(not-a-string)",
        r#"params, except="not an inner list""#,
        "params, except=?1",
        r#"except=("x")"#,
        "except=()",
        "params=?0",
        "params=()",
        "key-order=?0",
        "params=(\"a\"",
        "params, ,",
        "",
    ] {
        assert!(variance(field).is_default(), "{field}");
    }
    assert!(NoVarySearch::of(&fields(&[])).is_default());
}

#[test]
fn unconventional_ways_to_say_the_same_are_understood() {
    for (one, other) in [
        ("params=?1", "params"),
        ("key-order=?1", "key-order"),
        (r#"params, key-order, except=("x")"#, r#"key-order, params, except=("x")"#),
        (r#"params=("a");x, unknown=1"#, r#"params=("a")"#),
        (r#"params=("%61" "%C3%A9+b")"#, r#"params=("a" "%c3%a9%20b")"#),
    ] {
        assert_eq!(variance(one), variance(other), "{one}");
    }
    let lines = fields(&[("no-vary-search", "params"), ("no-vary-search", r#"except=("x")"#)]);
    assert_eq!(NoVarySearch::of(&lines), variance(r#"params, except=("x")"#));
}

#[test]
fn queries_are_equivalent_modulo_what_the_response_says() {
    for (field, one, other, equivalent) in [
        (r#"params=("a")"#, Some("a=1&b=2"), Some("b=2"), true),
        (r#"params=("a")"#, Some("a=1&b=2"), Some("b=3"), false),
        (r#"params=("a")"#, Some("a=1"), None, true),
        ("params", Some("a=1&b=2"), None, true),
        (r#"params, except=("a")"#, Some("a=1&b=2"), Some("a=1&c"), true),
        (r#"params, except=("a")"#, Some("a=1"), Some("a=2"), false),
        (r#"params, except=("a")"#, Some("a=1"), None, false),
        ("key-order", Some("a=1&b=2"), Some("b=2&a=1"), true),
        ("key-order", Some("a=1&a=2"), Some("a=2&a=1"), false),
        ("key-order", Some("a=1&b=2&a=3"), Some("b=2&a=1&a=3"), true),
        ("key-order", Some("a=1"), Some("a=1&b"), false),
        (r#"key-order, params, except=("a" "b")"#, Some("b=2&c&a=1"), Some("a=1&b=2"), true),
        // The default: byte by byte.
        ("", Some("a=1&b=2"), Some("b=2&a=1"), false),
        ("", Some(""), None, false),
        ("", Some("a"), Some("a="), false),
        // With any other: as forms are read.
        ("key-order", Some(""), None, true),
        ("key-order", Some("a=x"), Some("%61=%78"), true),
        ("key-order", Some("a=%C3%A9"), Some("a=é"), true),
        ("key-order", Some("a=%f6"), Some("a=%ef%bf%bd"), true),
        ("key-order", Some("a=x&&&&"), Some("a=x"), true),
        ("key-order", Some("a="), Some("a"), true),
        ("key-order", Some("a=%20"), Some("a=+"), true),
        ("key-order", Some("a=%2B"), Some("a=+"), false),
        ("key-order", Some("a=b=c"), Some("a=b%3Dc"), true),
        ("key-order", Some("a%26b=1"), Some("a&b=1"), false),
        (r#"params=("%C3%A9+b")"#, Some("%c3%a9%20b=1&c"), Some("é+b=2&c"), true),
    ] {
        let variance = variance(field);
        let equal = variance.essence(one) == variance.essence(other);
        assert_eq!(equal, equivalent, "{field}: {one:?} and {other:?}");
    }
}

#[test]
fn a_key_modulo_a_variance_is_shared_by_the_equivalent_and_is_no_uri_s_key() {
    let of = |uri: &str| RequestKey::of_uri(&uri.parse().unwrap()).unwrap();
    let variance = variance(r#"params=("utm")"#);
    let modulo = |uri| of(uri).modulo(&variance).unwrap();
    let one = modulo("http://example.com/?a=1&utm=x");
    assert_eq!(one, modulo("http://example.com/?utm=y&a=1"));
    assert_ne!(one, modulo("http://example.com/?a=2"));
    assert_ne!(one, modulo("http://example.com/b?a=1"));
    assert_ne!(one, of("http://example.com/?a=1"));
    assert_ne!(one, of("http://example.com/?a=1").modulo(&NoVarySearch::default()).unwrap());
}
