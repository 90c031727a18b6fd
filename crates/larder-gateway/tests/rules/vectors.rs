//! The same text, given to a gateway as its rules and to an application's layer as its policy, and the same requests.

use http::{HeaderName, Request};
use http_body_util::BodyExt;
use larder::http::{Body, Policy, Rules, ShowKey};
use larder_gateway::upstream::{Upstream, UpstreamConfig};
use tower::Service;

use crate::site::{Reader, cache, service, settings};

/// A method, a target, and fields.
type Asked = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Rules, and requests that follow each other.
const VECTORS: [(&str, &[Asked]); 28] = [
    (
        "",
        &[("GET", "/a", &[]), ("GET", "/a", &[]), ("GET", "/silent", &[]), ("GET", "/silent", &[])],
    ),
    ("ttl = \"5m\"", &[("GET", "/silent", &[]), ("GET", "/silent", &[])]),
    ("ttl_override = \"1m\"", &[("GET", "/a", &[]), ("GET", "/a", &[])]),
    ("min_ttl = \"10m\"\nmax_ttl = \"20m\"", &[("GET", "/a", &[]), ("GET", "/a", &[])]),
    ("max_ttl = \"10s\"", &[("GET", "/a", &[]), ("GET", "/a", &[])]),
    ("ttl_by_status = { 404 = \"0s\" }", &[("GET", "/missing", &[]), ("GET", "/missing", &[])]),
    (
        "query_deny = [\"tracking\"]\nquery_sort = true",
        &[
            ("GET", "/a?utm_source=1&b=1&a=2", &[]),
            ("GET", "/a?a=2&b=1&fbclid=3", &[]),
            ("POST", "/a?b=1&a=2", &[]),
            ("GET", "/a?a=2&b=1", &[]),
        ],
    ),
    (
        "query_allow = [\"q\"]",
        &[("GET", "/a?x=1", &[]), ("GET", "/a", &[]), ("GET", "/a?q=1", &[])],
    ),
    (
        "key_cookies = [\"lang\"]",
        &[
            ("GET", "/a", &[("cookie", "lang=de")]),
            ("GET", "/a", &[("cookie", "lang=de")]),
            ("GET", "/a", &[("cookie", "lang=en")]),
            ("GET", "/a", &[("cookie", "lang=de; session=1")]),
        ],
    ),
    (
        "ignore_cookies = [\"analytics\"]",
        &[("GET", "/a", &[("cookie", "_ga=1")]), ("GET", "/a", &[])],
    ),
    (
        "authorization = \"pass\"",
        &[("GET", "/a", &[]), ("GET", "/a", &[("authorization", "Basic eDp5")])],
    ),
    (
        "obey_readers = false",
        &[("GET", "/a", &[]), ("GET", "/a", &[("cache-control", "no-cache")])],
    ),
    ("set_cookie = \"store-without\"", &[("GET", "/cookie", &[]), ("GET", "/cookie", &[])]),
    ("policy = \"standard\"", &[("GET", "/cookie", &[]), ("GET", "/cookie", &[("cookie", "a=1")])]),
    ("cookies_matter = false", &[("GET", "/a", &[("cookie", "a=1")]), ("GET", "/a", &[])]),
    ("", &[("GET", "/a", &[("cookie", "a=1")]), ("GET", "/a", &[])]),
    ("path_type = \"any\"", &[("GET", "/me/x.css", &[]), ("GET", "/me/x.css", &[])]),
    ("", &[("GET", "/me/x.css", &[]), ("GET", "/me/x.css", &[])]),
    ("heuristics = true", &[("GET", "/old", &[]), ("GET", "/old", &[])]),
    (
        "key_fields = [\"X-Tenant\"]",
        &[
            ("GET", "/a", &[("x-tenant", "a")]),
            ("GET", "/a", &[("x-tenant", "b")]),
            ("GET", "/a", &[("x-tenant", "a")]),
        ],
    ),
    ("etag = true", &[("GET", "/a", &[]), ("GET", "/a", &[])]),
    (
        "stale_while_revalidate = \"1h\"\nstale_if_error = \"1h\"\nstale_if_disconnected = \"1h\"",
        &[("GET", "/stale", &[]), ("GET", "/stale", &[])],
    ),
    (
        "soft_timeout = \"20s\"\nhard_timeout = \"30s\"",
        &[("GET", "/stale", &[]), ("GET", "/stale", &[])],
    ),
    (
        "cdn_cache_control = \"max-age=3600\"\ncdn_fields = [\"Surrogate-Control\"]\ncdn_tags = [\"Cache-Tag\"]",
        &[("GET", "/tagged", &[]), ("GET", "/tagged", &[])],
    ),
    ("tags = [\"all\"]", &[("GET", "/tagged", &[]), ("GET", "/tagged", &[])]),
    (
        "compress = [\"gzip\"]\ncompress_min = \"1\"\ncompress_types = [\"text/*\"]\npath_type = \"any\"",
        &[("GET", "/me/x.css", &[]), ("GET", "/me/x.css", &[])],
    ),
    ("ttl_jitter = 0.1", &[("GET", "/private", &[]), ("GET", "/private", &[])]),
    (
        "response_headers = { set = { X-A = \"1\" }, add = { Link = [\"</a>\"] }, remove = [\"Server\"] }\nmax_body = 2",
        &[("GET", "/a", &[]), ("GET", "/a", &[])],
    ),
];

/// What a reader can tell of an answer; without what tells the time, or which hops there were.
fn told(status: u16, fields: &[(String, String)], text: &str) -> String {
    let own = ["date", "age", "larder-request", "server-timing", "via", "connection"];
    let mut fields: Vec<_> = fields
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    fields.sort_unstable();
    format!("{status}\n{}\n{text}", fields.join("\n"))
}

/// A second may have gone by for one and not for the other.
fn without_ttl(text: &str) -> String {
    let end = |rest: &str| rest.find([';', '\n']).unwrap_or(rest.len());
    match text.split_once("ttl=") {
        Some((before, rest)) => {
            let seconds: i64 = rest[..end(rest)].parse().unwrap();
            let tens = (seconds + 9).div_euclid(10);
            format!("{before}ttl={tens}0{}", &rest[end(rest)..])
        }
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn a_gateway_and_a_layer_make_the_same_of_the_same_text() {
    let origin = service("one").await;
    for (text, requests) in VECTORS {
        let policy: Policy = toml::from_str(text).unwrap();
        let upstream = Upstream::new(origin.url().parse().unwrap(), UpstreamConfig::default());
        let mut layer = cache().service(upstream);
        let whole = format!("[upstream.one]\nurl = \"{}\"\n[defaults]\n{text}\n", origin.url());
        let (settings, _) = settings(&whole);
        assert_eq!(*settings.ways.otherwise().policy, policy, "{text}");
        let mut gateway = Reader::of(&settings);
        for (method, target, fields) in requests {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = format!("http://any.test{target}").parse().unwrap();
            for (name, value) in *fields {
                request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
            }
            request.extensions_mut().insert(Rules(policy.clone().into()));
            request.extensions_mut().insert(ShowKey);
            let (head, body) = layer.call(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let pairs = head.headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
            });
            let pairs: Vec<_> = pairs.collect();
            let by_layer = told(head.status.as_u16(), &pairs, str::from_utf8(&body).unwrap());
            let answer = gateway.ask(method, target, fields).await;
            let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(": "));
            let pairs: Vec<_> =
                lines.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
            let by_gateway = told(answer.status(), &pairs, answer.text());
            assert_eq!(
                without_ttl(&by_gateway),
                without_ttl(&by_layer),
                "{text}: {method} {target} {fields:?}"
            );
        }
    }
}
