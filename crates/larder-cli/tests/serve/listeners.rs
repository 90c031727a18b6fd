//! Listeners: several of them, the proxies before them, and what is believed of whom.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::support::{
    Certificate, Haproxy, Wire,
    answer::{field, status},
    eventually,
    larder::Larder,
    nginx::Nginx,
    origin::{Origin, ok},
    program::curl,
};

/// A gateway that runs by a file.
struct Site {
    folder: TempDir,
    larder: Larder,
}

impl Site {
    /// Before `origin`, with an admin listener; `text` is more of the file.
    async fn with(origin: SocketAddr, text: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, origin, text);
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        Site { folder, larder }
    }

    /// Where the listener is that is told of behind `scheme`, the `nth` of them.
    fn address(&self, scheme: &str, nth: usize) -> SocketAddr {
        let words = format!("listening on {scheme}://");
        let log = self.larder.log();
        let told = log.lines().filter_map(|line| Some(line.split_once(&words)?.1)).nth(nth);
        told.unwrap().split(',').next().unwrap().parse().unwrap()
    }
}

fn write(folder: &TempDir, origin: SocketAddr, text: &str) {
    let file = folder.path().join("larder.toml");
    let text = format!("[admin]\nlisten = 0\n[upstream.app]\nurl = \"http://{origin}\"\n{text}");
    fs::write(file, text).unwrap();
}

/// An application that wants https, as many are set up to.
async fn https_only() -> Origin {
    Origin::answering(|head| match field(head, "x-forwarded-proto") {
        Some("https") => ok("cache-control: max-age=60\r\n", "welcome"),
        _ => {
            let host = field(head, "host").unwrap_or_default();
            let fields = format!(
                "HTTP/1.1 301 Moved Permanently\r\ncache-control: max-age=60\r\n\
                 location: https://{host}/\r\ncontent-length: 0\r\n\r\n"
            );
            fields.into_bytes()
        }
    })
    .await
}

#[tokio::test]
async fn behind_a_balancer_that_speaks_tls_nobody_is_sent_round_in_circles() {
    let certificate = Certificate::new();
    let pem = [certificate.file(), certificate.key()].map(|file| fs::read_to_string(file).unwrap());
    let both = certificate.file().with_file_name("both.pem");
    fs::write(&both, pem.concat()).unwrap();
    for protocol in ["", "proto h2"] {
        let origin = https_only().await;
        let text = "[server]\nlisten = 0\ntrusted_peers = [\"127.0.0.0/8\"]\n";
        let site = Site::with(origin.address, text).await;
        let bind = format!("ssl crt {} alpn h2,http/1.1", both.display());
        let frontend =
            "  mode http\n  option forwardfor\n  http-request set-header X-Forwarded-Proto https";
        let backend = format!("  mode http\n  server larder {} {protocol}", site.larder.address);
        let balancer = Haproxy::start(&bind, frontend, &backend).await;
        let (url, file) =
            (format!("https://localhost:{}/", balancer.address.port()), certificate.file());
        let trusting = ["--cacert", file.to_str().unwrap(), "--location", "--max-redirs", "3"];
        let written = ["--write-out", " %{http_code} %{num_redirects}"];
        for version in ["--http1.1", "--http2"] {
            let said = curl(&[&trusting[..], &written, &[version, &url]].concat()).await;
            assert_eq!(said, "welcome 200 0", "{version} {protocol}");
        }
        let requests = origin.requests();
        assert_eq!(requests.len(), 1, "what came over TLS is one answer: {requests:?}");
        let chain = field(&requests[0], "x-forwarded-for");
        assert_eq!(chain, Some("127.0.0.1, 127.0.0.1"), "{}", requests[0]);
        // Asked directly and in the open, it is another answer.
        let mut wire = Wire::connect(site.larder.address).await;
        let ask = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        wire.send(ask).await;
        assert_eq!(wire.answer().await.status(), 301);
    }
}

#[tokio::test]
async fn the_purge_of_a_page_names_it_as_its_readers_do() {
    let origin = https_only().await;
    let text = "[server]\nlisten = 0\ntrusted_peers = [\"127.0.0.1\"]\n";
    let site = Site::with(origin.address, text).await;
    let fields = "x-forwarded-proto: https\r\nx-forwarded-host: shop.example\r\n";
    site.larder.get_with("/a", fields).await;
    assert_eq!(site.larder.get_with("/a", fields).await.handling(), "hit");
    assert!(origin.requests()[0].contains("host: shop.example\r\n"), "{:?}", origin.requests());
    let purge = "{\"keys\":[\"https://shop.example/a\"],\"mode\":\"hard\"}";
    assert_eq!(site.larder.post_to_admin("/v1/purge", purge).await.status(), 200);
    assert_ne!(site.larder.get_with("/a", fields).await.handling(), "hit");
}

#[tokio::test]
async fn nginx_is_believed_in_forwarded_where_that_is_what_counts() {
    let origin = Origin::saying(ok("", "a")).await;
    for (forwarded, proto) in [("forwarded", "https"), ("x-forwarded", "http")] {
        let text = format!(
            "[server]\nlisten = 0\ntrusted_peers = [\"127.0.0.1\"]\nforwarded = \"{forwarded}\"\n"
        );
        let site = Site::with(origin.address, &text).await;
        let before = format!(
            "location / {{ proxy_pass http://{}; proxy_set_header Forwarded \
             'for=\"[2001:db8::7]:4711\";proto=https;host=pub.example'; }}",
            site.larder.address
        );
        let nginx = Nginx::start("", &before).await;
        // What the reader itself claims in the other fields goes through nginx as it came.
        let url = format!("http://{}/", nginx.address);
        curl(&["--header", "x-forwarded-host: evil.example", &url]).await;
        let head = origin.requests().pop().unwrap();
        assert_eq!(field(&head, "x-forwarded-proto"), Some(proto), "{head}");
        let is_believed = forwarded == "forwarded";
        let host = if is_believed { "pub.example" } else { "evil.example" };
        assert_eq!(field(&head, "host"), Some(host), "{head}");
        let chain = field(&head, "x-forwarded-for").unwrap();
        let expected = if is_believed { "2001:db8::7, 127.0.0.1" } else { "127.0.0.1" };
        assert_eq!(chain, expected, "{head}");
    }
}

#[tokio::test]
async fn haproxy_tells_whom_a_connection_is_for_in_either_version_of_its_protocol() {
    let origin = Origin::saying(ok("", "a")).await;
    let certificate = Certificate::new();
    let (file, key) = (certificate.file(), certificate.key());
    let text = format!(
        "[[listener]]\nname = \"open\"\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [\"127.0.0.1\"]\n\
         [[listener]]\nname = \"encrypted\"\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [\"127.0.0.1\"]\n\
         [listener.tls]\ncertificate = {file:?}\nkey = {key:?}\n"
    );
    let site = Site::with(origin.address, &text).await;
    let (open, encrypted) = (site.address("http", 0), site.address("https", 0));
    for version in ["send-proxy", "send-proxy-v2"] {
        for (address, scheme) in [(open, "http"), (encrypted, "https")] {
            let backend = format!("  mode tcp\n  server larder {address} {version}");
            let balancer = Haproxy::start("", "  mode tcp", &backend).await;
            let url = format!("{scheme}://localhost:{}/", balancer.address.port());
            let file = certificate.file();
            // From an address of its own, which is not trusted.
            let from = ["--interface", "127.0.0.2", "--cacert", file.to_str().unwrap()];
            let claim = ["--header", "x-forwarded-for: 203.0.113.9"];
            for protocol in ["--http1.1", "--http2"] {
                let said = curl(&[&from[..], &claim, &[protocol, &url]].concat()).await;
                assert_eq!(said, "a", "{version} {url} {protocol}");
                let head = origin.requests().pop().unwrap();
                assert_eq!(field(&head, "x-forwarded-for"), Some("127.0.0.2"), "{head}");
                assert_eq!(field(&head, "x-forwarded-proto"), Some(scheme), "{head}");
            }
        }
    }
    let accepted =
        |name: &str| format!("larder_listener_connections_accepted_total{{listener=\"{name}\"}}");
    for name in ["open", "encrypted"] {
        assert!(site.larder.metric(&accepted(name)).await >= 4.0, "{name}");
    }
    let of = "larder_proxy_protocol_connections_total{outcome=\"ok\"}";
    assert!(site.larder.metric(of).await >= 8.0);
}

#[tokio::test]
async fn who_ends_tls_before_a_connection_is_passed_on_says_so_in_its_header() {
    let origin = https_only().await;
    let text = "[server]\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [\"127.0.0.1\"]\n";
    let site = Site::with(origin.address, text).await;
    let address = site.larder.address;
    let certificate = Certificate::new();
    let pem = [certificate.file(), certificate.key()].map(|file| fs::read_to_string(file).unwrap());
    let both = certificate.file().with_file_name("both.pem");
    fs::write(&both, pem.concat()).unwrap();
    let backend = format!("  mode tcp\n  server larder {address} send-proxy-v2-ssl");
    let bind = format!("ssl crt {}", both.display());
    let balancer = Haproxy::start(&bind, "  mode tcp", &backend).await;
    let url = format!("https://localhost:{}/", balancer.address.port());
    let file = certificate.file();
    let said = curl(&["--cacert", file.to_str().unwrap(), "--location", &url]).await;
    assert_eq!(said, "welcome");
}

#[tokio::test]
async fn without_a_header_or_from_others_nothing_comes_where_one_is_required() {
    let origin = Origin::saying(ok("", "a")).await;
    let text = "[server]\nlisten = 0\n[server.tls]\nhandshake_timeout = \"1s\"\n\
        [[listener]]\nname = \"mine\"\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [\"127.0.0.1\"]\n\
        [[listener]]\nname = \"theirs\"\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [\"192.0.2.1\"]\n";
    let site = Site::with(origin.address, text).await;
    let (plain, mine, theirs) =
        (site.address("http", 0), site.address("http", 1), site.address("http", 2));
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let header = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n";
    let say = async |address, text: String| {
        let mut wire = Wire::connect(address).await;
        // It may be closed before all of it is taken.
        wire.try_send(&text).await.ok();
        let mut said = Vec::new();
        while let Ok(some) = wire.try_some().await
            && !some.is_empty()
        {
            said.extend(some);
        }
        String::from_utf8(said).unwrap()
    };
    let whole = format!("{header}{get}");
    assert_eq!(status(&say(mine, whole.clone()).await), 200);
    let head = origin.requests().pop().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), Some("203.0.113.7"), "{head}");
    // A health check of the balancer's own is for nobody.
    let unknown = "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n".to_owned();
    assert_eq!(status(&say(mine, unknown).await), 200);
    let head = origin.requests().pop().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), None, "{head}");
    assert_eq!(field(&head, "forwarded"), Some("for=unknown;host=\"a\";proto=http"), "{head}");
    let asked = origin.requests().len();
    for (address, text) in [
        (mine, get.to_owned()),
        (mine, format!("{}{get}", header.replace('\r', ""))),
        (mine, "PROXY TCP4 203.0.113.7".to_owned()),
        (mine, "PROXY".to_owned()),
        (mine, String::new()),
        (mine, "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{c}abcd".to_owned()),
        (theirs, whole.clone()),
    ] {
        assert_eq!(say(address, text.clone()).await, "", "{text}");
    }
    // Where none is required, one is no request.
    assert_eq!(status(&say(plain, whole).await), 400);
    assert_eq!(origin.requests().len(), asked);
    for (outcome, count) in
        [("ok", 2.0), ("untrusted", 1.0), ("malformed", 2.0), ("timed_out", 4.0)]
    {
        let name = format!("larder_proxy_protocol_connections_total{{outcome=\"{outcome}\"}}");
        assert_eq!(site.larder.metric(&name).await, count, "{outcome}");
    }
}

#[tokio::test]
async fn whom_a_listener_trusts_changes_with_the_file_and_nothing_else_of_it() {
    let origin = Origin::saying(ok("", "a")).await;
    let listener = |trusted: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nlisten = 0\nproxy_protocol = true\ntrusted_peers = [{trusted}]\n"
        )
    };
    let site = Site::with(origin.address, &listener("\"192.0.2.1\"")).await;
    let address = site.address("http", 1);
    let ask = "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let is_let_in = async || {
        let mut wire = Wire::connect(address).await;
        wire.try_send(ask).await.ok();
        wire.try_some().await.is_ok_and(|said| !said.is_empty())
    };
    assert!(!is_let_in().await);
    write(&site.folder, origin.address, &listener("\"127.0.0.0/8\""));
    site.larder.signal(Signal::HUP);
    eventually("the new list", async || is_let_in().await.then_some(())).await;
    let log = site.larder.log();
    assert!(!log.contains("only with a restart"), "{log}");
}

#[tokio::test]
async fn a_unix_socket_is_for_whom_its_mode_says_and_its_peer_is_believed_if_told_so() {
    let origin = Origin::saying(ok("", "a")).await;
    let sockets = tempfile::tempdir().unwrap();
    let [trusted, other] = ["trusted", "other"].map(|name| sockets.path().join(name));
    let text = format!(
        "[server]\nlisten = 0\n[[listener]]\nlisten = \"unix:{}\"\ntrusted_peers = [\"unix\"]\n\
         [[listener]]\nlisten = \"unix:{}\"\nsocket_mode = \"0600\"\n",
        trusted.display(),
        other.display()
    );
    let site = Site::with(origin.address, &text).await;
    let ask = async |path: &Path| {
        let mut wire = Wire::new(UnixStream::connect(path).await.unwrap());
        wire.send(
            "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.7\r\n\
             x-forwarded-proto: https\r\nconnection: close\r\n\r\n",
        )
        .await;
        wire.rest().await
    };
    assert_eq!(status(&ask(&trusted).await), 200);
    let head = origin.requests().pop().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), Some("203.0.113.7"), "{head}");
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"), "{head}");
    assert_eq!(status(&ask(&other).await), 200);
    let head = origin.requests().pop().unwrap();
    assert_eq!(field(&head, "x-forwarded-for"), None, "{head}");
    assert_eq!(field(&head, "x-forwarded-proto"), Some("http"), "{head}");
    // curl's way, and with HTTP/2.
    let path = trusted.to_str().unwrap();
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&["--unix-socket", path, protocol, "http://a/"]).await, "a");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&trusted), mode(&other)), (0o660, 0o600));
    site.larder.signal(Signal::TERM);
    assert_eq!(site.larder.exit().await, Some(0));
    assert!(!trusted.exists() && !other.exists(), "what it made is gone with it");
}

#[tokio::test]
async fn what_is_asked_in_the_open_is_sent_on_to_https() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let text = "[server]\nlisten = 0\nredirect_to_https = 8443\ntrusted_peers = [\"127.0.0.1\"]\n";
    let site = Site::with(origin.address, text).await;
    let address = site.larder.address;
    let ask = async |request: &str| {
        let mut wire = Wire::connect(address).await;
        wire.send(request).await;
        wire.answer().await
    };
    for (request, location) in [
        ("GET /a?b=c HTTP/1.1\r\nhost: example.org\r\n", "https://example.org:8443/a?b=c"),
        (
            "POST /a HTTP/1.1\r\nhost: example.org:8080\r\ncontent-length: 0\r\n",
            "https://example.org:8443/a",
        ),
        ("GET / HTTP/1.1\r\nhost: [2001:db8::1]:80\r\n", "https://[2001:db8::1]:8443/"),
    ] {
        let answer = ask(&format!("{request}connection: close\r\n\r\n")).await;
        assert_eq!(answer.status(), 308, "{request}");
        assert_eq!(answer.field("location"), Some(location), "{request}");
    }
    for request in ["OPTIONS * HTTP/1.1\r\nhost: example.org\r\n", "GET / HTTP/1.0\r\n"] {
        let answer = ask(&format!("{request}connection: close\r\n\r\n")).await;
        assert!([308, 421].contains(&answer.status()), "{request}: {}", answer.head);
    }
    assert_eq!(origin.requests().len(), 0);
    // What a trusted balancer says came over TLS is answered, from the cache as well.
    for _ in 0..2 {
        let answer = ask("GET / HTTP/1.1\r\nhost: example.org\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n").await;
        assert_eq!(answer.text(), "a");
    }
    let options = "OPTIONS * HTTP/1.1\r\nhost: example.org\r\nx-forwarded-proto: https\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(options).await.text(), "a");
    let answer = ask("GET / HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.status(), 308, "though the other is stored");
}

#[tokio::test]
async fn a_listener_for_strangers_has_bounds_that_the_one_inside_has_not() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let text = "[server]\nlisten = 0\nmax_head = \"32KiB\"\n[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:0\"\n\
                max_head = \"1KiB\"\nmax_request_body = 10\nmax_fields = 3\nmax_requests_per_connection = 2\nrequests_per_address = 1\nrequests_burst = 4\n";
    let site = Site::with(origin.address, text).await;
    let (inside, public) = (site.address("http", 0), site.address("http", 1));
    let ask = async |address: SocketAddr, request: &str| {
        let mut wire = Wire::connect(address).await;
        wire.send(request).await;
        wire.answer().await
    };
    let long = format!("GET /a HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(2000));
    let many = "GET /a HTTP/1.1\r\nhost: a\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n".to_owned();
    let content = "POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n01234567890".to_owned();
    for (request, status) in [(long, 431), (many, 431), (content, 413)] {
        assert_eq!(ask(public, &request).await.status(), status, "{request}");
        assert_eq!(ask(inside, &request).await.status(), 200, "{request}");
    }
    let mut wire = Wire::connect(public).await;
    let mut then = Vec::new();
    for _ in 0..2 {
        wire.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        then.push(wire.answer().await.field("connection").map(str::to_owned));
    }
    assert_eq!(then, [None, Some("close".to_owned())]);
    // Hits count as well, and what one listener has let in is not counted by the other.
    let plain = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
    let limited = async || (ask(public, plain).await.status() == 429).then_some(());
    eventually("the bound", limited).await;
    for _ in 0..20 {
        assert_eq!(ask(inside, plain).await.status(), 200);
    }
    // It holds at once, and what is said of one only is said of that one only.
    let looser = text.replace("requests_per_address = 1\n", "requests_per_address = 1000\n");
    write(
        &site.folder,
        origin.address,
        &looser.replace("requests_burst = 4", "requests_burst = 1000"),
    );
    site.larder.signal(Signal::HUP);
    site.larder.told("the settings are those of").await;
    for _ in 0..20 {
        assert_eq!(ask(public, plain).await.status(), 200);
    }
}
