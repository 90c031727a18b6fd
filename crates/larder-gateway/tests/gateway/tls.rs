//! Over TLS: the same answers, under names of their own, and ends that tell whether all was said.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use larder::{
    Cache,
    http::{HttpCache, Policy, Variants},
};
use larder_gateway::{
    Gateway, GatewayConfig, Loops, Server, ServerConfig, Tls,
    downstream::{
        Ended,
        http1::{Http1Config, ReaderBody, serve_connection},
    },
    upstream::UpstreamConfig,
};
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

use crate::support::{
    Certificate, Gate, Origin, PATIENCE, Wire, echo, eventually, field, pass, status, upstream,
    whole,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// A certificate, and both sides that use it.
struct Identity(Certificate);

impl Identity {
    fn new() -> Identity {
        Identity(Certificate::new())
    }

    fn tls(&self) -> Tls {
        Tls::from_pem_files(&self.0.file(), &self.0.key()).unwrap()
    }

    fn config(&self) -> ServerConfig {
        ServerConfig { tls: Some(self.tls()), ..ServerConfig::default() }
    }

    /// A reader that trusts this certificate and no other.
    fn reader(
        &self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&str],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().to_vec().into()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

type Secret = TlsStream<TcpStream>;

async fn handshake(reader: &TlsConnector, address: SocketAddr) -> io::Result<Secret> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, reader.connect(name, stream)).await.expect("no end of the handshake")
}

async fn connect(reader: &TlsConnector, address: SocketAddr) -> Wire<Secret> {
    Wire::new(handshake(reader, address).await.unwrap())
}

/// One cache with two listeners, in the open and over TLS, before an origin that answers how it was
/// asked.
struct Site {
    identity: Identity,
    origin: Origin,
    open: SocketAddr,
    secret: SocketAddr,
    stop: CancellationToken,
    // The last to be dropped.
    _loops: Loops,
}

impl Site {
    async fn open() -> Site {
        let origin = Origin::playing(|mut wire, _| async move {
            while wire.has_more().await {
                let head = wire.head().await;
                let proto = field(&head, "x-forwarded-proto").unwrap();
                let body = format!("{proto} {}", field(&head, "forwarded").unwrap());
                let length = body.len();
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {length}\r\n\r\n{body}"
                ))
                .await;
            }
        })
        .await;
        let identity = Identity::new();
        let store = Cache::<Variants>::builder().max_bytes(1 << 20).build();
        let cache = HttpCache::new(store, Policy::guarded());
        let upstream = upstream(origin.address, UpstreamConfig::default());
        let gateway = Gateway::new(&cache, upstream, GatewayConfig::default());
        let stop = CancellationToken::new();
        let loops = Loops::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let serve = |config| {
            let server = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
            let address = server.address();
            server.serve_on(&loops, gateway.clone(), gateway.clone(), stop.clone());
            address
        };
        let (open, secret) = (serve(ServerConfig::default()), serve(identity.config()));
        Site { identity, origin, open, secret, stop, _loops: loops }
    }

    async fn connect(&self, version: &'static SupportedProtocolVersion) -> Wire<Secret> {
        connect(&self.identity.reader(version, &[]), self.secret).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Asks until the answer is a hit: a reader may have an answer a moment before the cache has it.
async fn hit<IO: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<IO>) -> (String, String) {
    eventually("a hit", async || {
        wire.send(GET).await;
        let answer = wire.answer().await;
        (answer.handling() == "hit").then(|| answer.into_text())
    })
    .await
}

#[tokio::test]
async fn a_hit_over_tls_is_answered_at_a_glance_and_named_https() {
    let site = Site::open().await;
    for (version, named) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)]
    {
        let mut wire = site.connect(version).await;
        assert_eq!(wire.stream.get_ref().1.protocol_version(), Some(named));
        hit(&mut wire).await;
        let asked = site.origin.connections();
        wire.send([GET, GET].concat()).await;
        for _ in 0..2 {
            let (head, body) = wire.answer().await.into_text();
            // The whole way tells how long it took.
            assert_eq!(field(&head, "server-timing"), Some("cache;desc=hit"), "{head}");
            let said = field(&head, "cache-status").unwrap();
            assert!(said.contains(";hit") && said.contains(r#"key="https://a/a""#), "{said}");
            assert!(body.starts_with("https "), "{body}");
        }
        assert_eq!(site.origin.connections(), asked);
    }
}

#[tokio::test]
async fn the_origin_is_told_that_the_reader_came_over_tls() {
    let site = Site::open().await;
    let mut wire = site.connect(&TLS13).await;
    wire.send(GET).await;
    let (_, body) = wire.answer().await.into_text();
    assert!(body.starts_with("https ") && body.ends_with("proto=https"), "{body}");
    // Over HTTP/2, too.
    let reader = site.identity.reader(&TLS13, &["h2"]);
    let stream = handshake(&reader, site.secret).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::get("https://b/").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
    let body = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
    assert!(body.starts_with(b"https ") && body.ends_with(b"proto=https"), "{body:?}");
}

#[tokio::test]
async fn what_came_in_the_open_is_not_for_who_comes_encrypted_nor_the_other_way_round() {
    let site = Site::open().await;
    let mut open = Wire::connect(site.open).await;
    let mut secret = site.connect(&TLS13).await;
    for _ in 0..2 {
        let (head, body) = hit(&mut open).await;
        assert!(field(&head, "cache-status").unwrap().contains(r#"key="http://a/a""#), "{head}");
        assert!(body.starts_with("http "), "{body}");
        let (head, body) = hit(&mut secret).await;
        assert!(field(&head, "cache-status").unwrap().contains(r#"key="https://a/a""#), "{head}");
        assert!(body.starts_with("https "), "{body}");
    }
    // Nor can anybody say that they came otherwise.
    secret.send("GET https://a/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(secret.answer().await.text().starts_with("https "));
    secret.send("GET http://a/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&secret.answer().await.head), 421);
    open.send("GET http://a/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(open.answer().await.text().starts_with("http "));
    open.send("GET https://a/a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&open.answer().await.head), 421);
}

#[tokio::test]
async fn a_reader_chooses_its_protocol_in_the_handshake() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    let rows: [(&[&str], Option<&[u8]>); 5] = [
        (&["h2", "http/1.1"], Some(b"h2")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.0"], Some(b"http/1.0")),
        (&[], None),
    ];
    for (offered, chosen) in rows {
        let stream = handshake(&identity.reader(&TLS13, offered), gate.address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
        if chosen != Some(b"h2") {
            let mut wire = Wire::new(stream);
            wire.send(GET).await;
            let (_, body) = wire.answer().await.into_text();
            assert!(body.starts_with("GET https://a/a HTTP/1.1\n"), "{body}");
            continue;
        }
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        for (uri, expected) in [("https://a/a", 200), ("http://a/a", 421)] {
            let request = Request::get(uri).body(()).unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
            assert_eq!(answer.status(), expected, "{uri}");
            let body = answer.into_body().data().await.unwrap().unwrap();
            let is_echo = body.starts_with(b"GET https://a/a HTTP/2.0\n");
            assert_eq!(is_echo, expected == 200, "{body:?}");
        }
    }
    let other = identity.reader(&TLS13, &["acme-tls/1"]);
    let error = handshake(&other, gate.address).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn a_reader_keeps_to_the_protocol_it_has_chosen() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    for (chosen, spoken) in
        [("h2", GET), ("http/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")]
    {
        let mut wire = connect(&identity.reader(&TLS13, &[chosen]), gate.address).await;
        wire.send(spoken).await;
        let said = wire.until_reset().await;
        assert!(!said.contains("HTTP/1.1") && (chosen == "h2" || said.is_empty()), "{said:?}");
    }
}

#[tokio::test]
async fn a_reader_that_comes_again_resumes_its_session_by_ticket() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    for version in [&TLS13, &TLS12] {
        let reader = identity.reader(version, &[]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut wire = connect(&reader, gate.address).await;
            wire.send(GET).await;
            wire.answer().await;
            assert_eq!(wire.stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    let mut wire = connect(&identity.reader(&TLS13, &[]), gate.address).await;
    let body: String = (0..3_000_000_u32).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    wire.send(head + &body).await;
    assert!(wire.answer().await.text().ends_with(&format!("\n\n{body}")));
}

#[tokio::test]
async fn who_never_finishes_a_handshake_is_cut_off_after_its_limit() {
    let identity = Identity::new();
    let limit = Duration::from_millis(300);
    let config = ServerConfig { handshake_timeout: limit, ..identity.config() };
    let counters = Arc::clone(&config.http1.counters);
    let gate = Gate::serving(config, service_fn(echo));
    // Nothing at all, and the first bytes of a hello.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut wire = gate.connect().await;
        let began = Instant::now();
        wire.send(said).await;
        assert_eq!(wire.rest().await, "");
        let took = began.elapsed();
        assert!(took >= limit / 2 && took < limit + Duration::from_secs(5), "{took:?}");
    }
    // For those who do, it is no limit.
    let mut wire = connect(&identity.reader(&TLS13, &[]), gate.address).await;
    tokio::time::sleep(limit * 2).await;
    wire.send(GET).await;
    assert_eq!(status(&wire.head().await), 200);
    assert_eq!(
        counters.read().handshakes,
        [("ok", 1), ("failed", 0), ("timed_out", 2), ("given_up", 0), ("plain_text", 0)]
    );
}

#[tokio::test]
async fn who_speaks_in_the_open_where_tls_is_spoken_is_told_so_and_no_more() {
    let identity = Identity::new();
    let config = identity.config();
    let counters = Arc::clone(&config.http1.counters);
    let gate = Gate::serving(config, service_fn(echo));
    let said = gate.say(GET).await;
    assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\nThis port speaks TLS only: ask with https:// here."), "{said}");
    // What is neither gets an alert (21), and a fatal one.
    let said = gate.say([0x17, 3, 3, 0, 1, 0]).await;
    assert!(said.starts_with("\u{15}\u{3}") && said.len() == 7, "{said:?}");
    let of = |name: &str| counters.read().handshakes.iter().find(|(of, _)| *of == name).unwrap().1;
    assert_eq!((of("plain_text"), of("failed"), of("timed_out")), (1, 1, 0));
    let mut wire = connect(&identity.reader(&TLS13, &[]), gate.address).await;
    wire.send(GET).await;
    assert_eq!(status(&wire.head().await), 200, "nobody else is concerned");
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_without_a_farewell() {
    let identity = Identity::new();
    for (request, answer) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Content-Length: 10\r\n\r\nhello"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        // Here nothing but the connection's end is the end of the body.
        ("GET / HTTP/1.0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ] {
        let origin = Origin::saying_once(format!("HTTP/1.1 200 OK\r\n{answer}")).await;
        let upstream = upstream(origin.address, UpstreamConfig::default());
        let service = service_fn(move |request| pass(upstream.clone(), request));
        let gate = Gate::serving(identity.config(), service);
        let mut wire = connect(&identity.reader(&TLS13, &[]), gate.address).await;
        wire.send(request).await;
        wire.until_reset().await;
    }
}

#[tokio::test]
async fn what_was_said_to_its_end_ends_with_a_farewell() {
    let identity = Identity::new();
    let config = identity.config();
    let http1 = Http1Config {
        idle_timeout: Duration::from_millis(300),
        linger_timeout: Duration::from_millis(300),
        ..config.http1
    };
    let gate = Gate::serving(ServerConfig { http1, ..config }, service_fn(echo));
    // The reader would say of an end without it that it was none.
    for version in [&TLS13, &TLS12] {
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "nonsense\r\n\r\n",
            // Then it is idle.
            GET,
            "",
        ] {
            let mut wire = connect(&identity.reader(version, &[]), gate.address).await;
            wire.send(request).await;
            wire.rest().await;
        }
    }
    // A reader of HTTP/2 that does not answer the farewell of HTTP/2 gets that of TLS.
    let mut wire = connect(&identity.reader(&TLS13, &["h2"]), gate.address).await;
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(wire.rest().await.contains("\0\0\x08\x07\0\0\0\0\0"), "GOAWAY");
}

#[tokio::test]
async fn a_server_that_stops_says_farewell_and_waits_for_no_handshake() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    let mut beginning = gate.connect().await;
    let mut idle = connect(&identity.reader(&TLS13, &[]), gate.address).await;
    idle.send(GET).await;
    idle.answer().await;
    let began = Instant::now();
    let stopping = tokio::spawn(gate.stopped());
    assert_eq!(idle.rest().await, "");
    assert_eq!(beginning.rest().await, "");
    drop(idle);
    assert_eq!(stopping.await.unwrap().cut, 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_reader_over_tls_that_takes_nothing_is_given_up() {
    let identity = Identity::new();
    let http1 = Http1Config { write_timeout: Duration::from_millis(200), ..Default::default() };
    let body = Bytes::from(vec![b'x'; 64 << 20]);
    let service = service_fn(move |_: Request<ReaderBody>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(whole(body.clone()))))
    });
    let config = ServerConfig { http1, max_connections: 1, ..identity.config() };
    let gate = Gate::serving(config, service);
    let reader = identity.reader(&TLS13, &[]);
    let mut first = connect(&reader, gate.address).await;
    first.send(GET).await;
    first.head().await;
    // There is room for another only when the first is gone.
    let mut second = connect(&reader, gate.address).await;
    second.send(GET).await;
    assert_eq!(status(&second.head().await), 200);
    drop(first);
}

/// A stream that never gets its end across.
struct Endless(DuplexStream);

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_is_not_taken_is_not_waited_for_longer_than_an_answer() {
    let config = Http1Config { write_timeout: Duration::from_secs(60), ..Http1Config::default() };
    for request in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", GET] {
        let (mut wire, gate) = duplex(1 << 20);
        wire.write_all(request.as_bytes()).await.unwrap();
        let peer = ([127, 0, 0, 1], 1).into();
        let mut gate = Endless(gate);
        let stop = CancellationToken::new();
        let serving = serve_connection(&mut gate, peer, &config, service_fn(echo), stop);
        let began = Instant::now();
        let limit = config.idle_timeout + config.write_timeout + Duration::from_secs(1);
        assert_eq!(timeout(limit, serving).await, Ok(Ended::Cut), "{request}");
        assert!(began.elapsed() >= config.write_timeout);
    }
}

#[test]
fn files_that_will_not_do_are_named_with_what_is_wrong_with_them() {
    let (identity, other) = (Certificate::new(), Certificate::new());
    let (certificate, key) = (identity.file(), identity.key());
    let file_of = |name: &str, content: Vec<u8>| {
        let file = certificate.with_file_name(name);
        fs::write(&file, content).unwrap();
        file
    };
    let file = |name: &str, content: &str| file_of(name, content.into());
    let pem = |label: &str, content: &str| {
        format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
    };
    let missing = certificate.with_file_name("missing.pem");
    let cut = fs::read_to_string(&certificate).unwrap().replace("-----END", "");
    let cut = file("cut.pem", &cut);
    let nothing = file("empty.pem", "");
    let no_der = file("no-der.pem", &pem("CERTIFICATE", "AAAA"));
    let no_key = file("no-key.pem", &pem("PRIVATE KEY", "AAAA"));
    let locked = file("locked.pem", &pem("ENCRYPTED PRIVATE KEY", "AAAA"));
    let locked_before =
        pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA");
    let locked_before = file("locked-before.pem", &locked_before);
    let utf_16 = fs::read_to_string(&certificate).unwrap();
    let utf_16 = ["\u{feff}", &utf_16].concat().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16 = file_of("utf-16.pem", utf_16);
    let others = other.key();
    for (certificate, key, named, wrong) in [
        (&missing, &key, &missing, "cannot read"),
        (&certificate, &missing, &missing, "cannot read"),
        (&cut, &key, &cut, "is damaged"),
        (&nothing, &key, &nothing, "there is no certificate in"),
        (&certificate, &nothing, &nothing, "there is no private key in"),
        // The one for the other.
        (&key, &key, &key, "there is no certificate in"),
        (&certificate, &certificate, &certificate, "there is no private key in"),
        (&no_der, &key, &no_der, "the certificate in"),
        (&certificate, &no_key, &no_key, "must be RSA of 2048 bits or more"),
        (&utf_16, &key, &utf_16, "is UTF-16"),
        (&certificate, &locked_before, &locked_before, "is locked with a passphrase"),
        (&certificate, &locked, &locked, "is locked with a passphrase"),
        (&certificate, &others, &others, "is not that of the first certificate"),
        (&certificate, &others, &certificate, "is not that of the first certificate"),
    ] {
        let said = Tls::from_pem_files(certificate, key).unwrap_err().to_string();
        assert!(said.contains(wrong) && said.contains(named.to_str().unwrap()), "{said}");
    }
}

#[test]
fn what_editors_and_people_add_to_the_files_does_no_harm() {
    let identity = Certificate::new();
    let [certificate, key] = [identity.file(), identity.key()].map(|file| {
        let pem = fs::read_to_string(&file).unwrap().replace('\n', "\r\n");
        fs::write(&file, format!("\u{feff}# This one is UNENCRYPTED: guard it.\r\n{pem}")).unwrap();
        file
    });
    Tls::from_pem_files(&certificate, &key).unwrap();
}

#[tokio::test]
async fn a_reader_that_says_farewell_behind_its_request_is_answered() {
    let identity = Identity::new();
    let gate = Gate::serving(identity.config(), service_fn(echo));
    for version in [&TLS12, &TLS13] {
        let mut wire = connect(&identity.reader(version, &[]), gate.address).await;
        wire.send(GET.repeat(2)).await;
        wire.stream.shutdown().await.unwrap();
        assert_eq!(wire.rest().await.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    }
}
