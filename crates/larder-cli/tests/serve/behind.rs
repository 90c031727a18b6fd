//! Programs of others between a gateway and its service: nginx, HAProxy and Varnish, each asked as services are.

use std::net::SocketAddr;

use larder_test_support::{answer::field, origin};

use crate::support::{
    Haproxy, Varnish, Wire, eventually,
    larder::{Larder, request},
    nginx::Nginx,
};

/// A peer. Dropping it ends it.
enum Peer {
    Nginx(Nginx),
    Haproxy(Haproxy),
    Varnish(Varnish),
}

impl Peer {
    async fn all_before(service: SocketAddr) -> [Peer; 3] {
        let nginx = format!(
            "client_max_body_size 0; location / {{ proxy_pass http://{service}; \
             proxy_http_version 1.1; proxy_set_header Host $http_host; }}"
        );
        // It has copies of its own: what they say of their age counts here.
        let vcl = format!(
            "vcl 4.1; backend default {{ .host = \"127.0.0.1\"; .port = \"{}\"; }}
             sub vcl_backend_response {{ set beresp.grace = 0s; set beresp.keep = 0s; }}",
            service.port()
        );
        [
            Peer::Nginx(Nginx::start("", &nginx).await),
            Peer::Haproxy(
                Haproxy::start("", "  mode http", &format!("  mode http\n  server s {service}"))
                    .await,
            ),
            Peer::Varnish(Varnish::start(&vcl).await),
        ]
    }

    fn address(&self) -> SocketAddr {
        match self {
            Peer::Nginx(nginx) => nginx.address,
            Peer::Haproxy(haproxy) => haproxy.address,
            Peer::Varnish(varnish) => varnish.address,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Peer::Nginx(_) => "nginx",
            Peer::Haproxy(_) => "HAProxy",
            Peer::Varnish(_) => "Varnish",
        }
    }
}

const LENGTH: usize = 300_000;

fn large() -> Vec<u8> {
    (0..LENGTH).map(|place| (place % 251) as u8).collect()
}

/// Sends a page, a large one in chunks, one that is confirmed, one that fails each second time; and says how much came.
async fn service() -> origin::Origin {
    origin::Origin::playing(|mut wire, _| async move {
        while wire.has_more().await {
            let head = wire.head().await;
            let Some(body) = wire.body(&head).await else { return };
            let path = head.split(' ').nth(1).unwrap_or_default();
            let say = |status: &str, fields: &str, body: &str| {
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len())
                    .into_bytes()
            };
            let answer = match path {
                "/large" => {
                    let mut answer = b"HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\n\
                        transfer-encoding: chunked\r\n\r\n"
                        .to_vec();
                    for piece in large().chunks(7001) {
                        answer.extend(format!("{:x}\r\n", piece.len()).bytes());
                        answer.extend(piece);
                        answer.extend(b"\r\n");
                    }
                    answer.extend(b"0\r\n\r\n");
                    answer
                }
                "/confirmed" if field(&head, "if-none-match") == Some("\"1\"") => {
                    b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncache-control: max-age=0\r\n\r\n"
                        .to_vec()
                }
                "/confirmed" => {
                    say("200 OK", "etag: \"1\"\r\ncache-control: max-age=0\r\n", "confirmed")
                }
                "/upload" => say("201 Created", "", &body.len().to_string()),
                _ => say("200 OK", "cache-control: max-age=600\r\n", "page"),
            };
            if wire.try_send(answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn nginx_haproxy_and_varnish_are_asked_as_services_are() {
    let service = service().await;
    for peer in Peer::all_before(service.address).await {
        let (larder, name) = (Larder::before(peer.address()).await, peer.name());
        for (path, body) in [("/page", b"page".to_vec()), ("/large", large())] {
            let first = larder.get(path).await;
            assert_eq!(first.status(), 200, "{name}: {}", first.head);
            assert!(first.body == body, "{name}: {path} has other bytes");
            assert_eq!(first.handling(), "uri-miss", "{name}: {}", first.head);
            let second = larder.get(path).await;
            assert_eq!(second.handling(), "hit", "{name}: {}", second.head);
            assert!(second.body == body, "{name}: {path} has other bytes the second time");
        }
        let part = larder.get_with("/large", "range: bytes=250000-\r\n").await;
        assert_eq!(part.status(), 206, "{name}: {}", part.head);
        assert!(part.body == large()[250_000..], "{name}: a part has other bytes");

        larder.get("/confirmed").await;
        let again = larder.get("/confirmed").await;
        assert_eq!((again.status(), again.text()), (200, "confirmed"), "{name}: {}", again.head);
        // What lies between has no copy, and may not make one: the service itself has confirmed ours.
        assert_eq!(again.handling(), "stale", "{name}: {}", again.head);
        let told = again.field("cache-status").unwrap();
        assert!(told.contains("fwd-status=304"), "{name}: {told}");

        let mut wire = larder.connect().await;
        let upload = large();
        wire.send(format!(
            "POST /upload HTTP/1.1\r\nhost: larder.test\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
        wire.send(&upload).await;
        let told = wire.answer().await;
        assert_eq!(
            (told.status(), told.text()),
            (201, &*LENGTH.to_string()),
            "{name}: {}",
            told.head
        );
        wire.send("POST /page HTTP/1.1\r\nhost: larder.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!(wire.answer().await.status(), 200, "{name}");
        let changed = larder.get("/page").await;
        assert_ne!(changed.handling(), "hit", "{name}: the POST has changed it");
    }
}

#[tokio::test]
async fn what_a_cache_between_has_kept_is_as_old_as_it_says() {
    let service = service().await;
    let [_, _, varnish] = Peer::all_before(service.address).await;
    let older = eventually("a copy of Varnish that is a second old", async || {
        let mut wire = Wire::connect(varnish.address()).await;
        wire.send(request("GET", "/page", "")).await;
        let age: u64 = wire.answer().await.field("age")?.parse().ok()?;
        (age >= 1).then_some(age)
    })
    .await;
    let larder = Larder::before(varnish.address()).await;
    for handling in ["uri-miss", "hit"] {
        let told = larder.get("/page").await;
        let age: u64 = told.field("age").unwrap_or("0").parse().unwrap();
        assert_eq!(told.handling(), handling);
        assert!(age >= older, "{age} s, and Varnish has had it for {older} s: {}", told.head);
    }
}
