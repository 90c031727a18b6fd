//! Structured fields: lines of one and the same value, read as each of them.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use larder_fuzz::{Request, Response, exchange, lines};
use larder_policy::{
    cache_status::CacheStatus,
    no_vary_search::NoVarySearch,
    proxy_status::{ProxyError, ProxyStatus},
    response::storability,
    settings::Policy,
};
use libfuzzer_sys::fuzz_target;
use sfv::{List, Parser};

fuzz_target!(|data: &[u8]| {
    let variance = NoVarySearch::of(&lines(data, "no-vary-search"));
    let mut written = HeaderMap::new();
    let text = variance.to_string();
    written.insert("no-vary-search", HeaderValue::from_str(&text).expect("visible ASCII"));
    assert_eq!(NoVarySearch::of(&written), variance, "not read back as it was written");
    if let Ok(query) = std::str::from_utf8(data)
        && !variance.is_default()
    {
        let essence = variance.essence(Some(query));
        assert_eq!(variance.essence(Some(&essence)), essence, "not its own essence");
    }

    let mut headers = lines(data, "cache-status");
    CacheStatus::hit(Duration::ZERO).append_to(&mut headers);
    assert!(is_list(&headers, "cache-status"), "nobody can read that list");
    let mut headers = lines(data, "proxy-status");
    ProxyStatus::new(ProxyError::DnsError).append_to(&mut headers);
    assert!(is_list(&headers, "proxy-status"), "nobody can read that list");

    let request = Request::get(HeaderMap::new());
    for name in ["cdn-cache-control", "larder-cache-control", "surrogate-control"] {
        let response = Response::new(StatusCode::OK, lines(data, name));
        let _ = storability(&Policy::standard(), request.head(), response.head(), exchange());
    }

    let mut headers = lines(data, "cache-groups");
    headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
    let response = Response::new(StatusCode::OK, headers);
    let _ = storability(&Policy::standard(), request.head(), response.head(), exchange());
});

fn is_list(headers: &HeaderMap, name: &str) -> bool {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    Parser::new(&lines.join(&b", "[..])).parse::<List>().is_ok_and(|list| !list.is_empty())
}
