//! Targets: what a reader writes is what the origin reads, through the cache and past it.

use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{Gateway, GatewayConfig, ServerConfig, upstream::UpstreamConfig};

use crate::support::{Gate, Origin, Wire, field, status, upstream};

/// Answers with the request line that it read, fresh for a minute.
async fn repeating() -> Origin {
    Origin::playing(|mut wire: Wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let line = head.lines().next().unwrap();
            let (method, body) = (line.split(' ').next().unwrap(), bytes(line));
            let head = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-Host: {}\r\nContent-Length: {}\r\n\r\n",
                field(&head, "host").unwrap(),
                body.len()
            );
            wire.send(head).await;
            if method != "HEAD" {
                wire.send(body).await;
            }
        }
    })
    .await
}

/// The bytes of a text in which each is the character of the same number.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

fn caching(origin: &Origin) -> Gate {
    let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
    let cache = HttpCache::new(store, Policy::guarded());
    let upstream = upstream(origin.address, UpstreamConfig::default());
    let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
    Gate::serving(ServerConfig::default(), gateway)
}

const TARGETS: [&str; 16] = [
    "/%7Euser",
    "/~user",
    "/a%3ab",
    "/a%3Ab",
    "/%2E%2E/",
    "/../a",
    "/a/./b//c",
    "/p%6Fsts/1?%61=%2f",
    "/%",
    "/%%61%30",
    "/a|b?{c:[1]}",
    "/?",
    "/?a?b",
    "/\u{c3}\u{a9}",
    "/?\u{c3}\u{a9}",
    "/a;b,c'd!(e)*f$g&h=i+j@k:l",
];

#[tokio::test]
async fn the_request_line_reaches_the_origin_as_it_was_written_whatever_the_method() {
    let origin = repeating().await;
    for target in TARGETS {
        // A cache that has nothing yet.
        let gate = caching(&origin);
        let mut wire = gate.connect().await;
        for method in ["DELETE", "GET", "POST", "PUT", "OPTIONS", "QUERY", "PATCH"] {
            wire.send(bytes(&format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"))).await;
            let (head, body) = wire.answer().await.into_text();
            assert_eq!(status(&head), 200, "{method} {target}");
            assert_eq!(body, format!("{method} {target} HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn what_no_uri_can_hold_is_refused_whatever_the_method() {
    let gate = Gate::echoing();
    for target in ["/<", "/?\"", "/`", "/\u{80}", "/a#b"] {
        for method in ["GET", "HEAD", "PUT", "POST", "OPTIONS"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(status(&gate.say(bytes(&request)).await), 400, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn the_absolute_form_names_the_same_without_respelling_it() {
    let origin = repeating().await;
    let gate = caching(&origin);
    let mut wire = gate.connect().await;
    for (target, line, host) in [
        ("http://b/%7Euser", "/%7Euser", "b"),
        ("HTTP://B:80/~", "/~", "B:80"),
        ("http://b?q", "/?q", "b"),
        ("http://b", "/", "b"),
    ] {
        for method in ["PUT", "GET"] {
            wire.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let (head, body) = wire.answer().await.into_text();
            assert_eq!(body, format!("{method} {line} HTTP/1.1"));
            assert_eq!(field(&head, "x-host"), Some(host), "{target}");
        }
    }
}

#[tokio::test]
async fn a_host_reaches_the_origin_as_it_was_written() {
    let origin = repeating().await;
    let gate = caching(&origin);
    let mut wire = gate.connect().await;
    for host in ["A.example", "a.example:80", "a.example.", "a.example:", "a.example:8080"] {
        for method in ["PUT", "GET"] {
            wire.send(format!("{method} /{host} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!(field(&wire.answer().await.head, "x-host"), Some(host), "{method}");
        }
    }
}

#[tokio::test]
async fn no_spelling_puts_anything_before_those_who_write_it_as_usual() {
    let origin = repeating().await;
    let gate = caching(&origin);
    let mut wire = gate.connect().await;
    let mut ask = async |target: &str, host: &str| {
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let (head, body) = wire.answer().await.into_text();
        (field(&head, "cache-status").unwrap().to_owned(), body)
    };
    let odd = [
        ("/p%6Fsts/1", "a"),
        ("/posts/1", "A"),
        ("/posts/1", "a:80"),
        ("/posts/1", "a."),
        ("/posts/1", "a.:80"),
    ];
    for (target, host) in odd {
        let (said, body) = ask(target, host).await;
        assert!(said.ends_with(";detail=spelling"), "{said}");
        assert_eq!(body, format!("GET {target} HTTP/1.1"));
    }
    let (said, _) = ask("/posts/1", "a").await;
    assert!(said.ends_with(";detail=uri-miss"), "{said}");
    while !ask("/posts/1", "a").await.0.contains(";hit;") {}
    for (target, host) in odd {
        let (said, body) = ask(target, host).await;
        assert!(said.contains(";hit;"), "{said}");
        assert_eq!(body, "GET /posts/1 HTTP/1.1");
    }
}
