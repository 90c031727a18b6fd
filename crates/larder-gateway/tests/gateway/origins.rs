//! Origins of each kind: in the open, over TLS, over a Unix socket; in HTTP/1.1 and in HTTP/2.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use larder_gateway::{
    Server, ServerConfig, Tls,
    upstream::{
        OriginTls, OriginTlsOptions, Protocol, Upstream, UpstreamBody, UpstreamConfig,
        UpstreamError,
    },
};
use larder_test_support::{
    certificate::{Authority, Validity},
    port::free_port,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};

use crate::support::{
    AnyBody, BoxError, Certificate, Gate, Nginx, Origin, echo, eventually, whole,
};

/// The ways to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    OpenHttp2,
    H2c,
    Tls,
    TlsHttp1,
    TlsHttp2,
    Unix,
    UnixHttp2,
}

pub(crate) const KINDS: [Kind; 8] = [
    Kind::Open,
    Kind::OpenHttp2,
    Kind::H2c,
    Kind::Tls,
    Kind::TlsHttp1,
    Kind::TlsHttp2,
    Kind::Unix,
    Kind::UnixHttp2,
];

impl Kind {
    fn protocol(self) -> Protocol {
        match self {
            Kind::OpenHttp2 | Kind::TlsHttp2 | Kind::UnixHttp2 => Protocol::Http2,
            Kind::TlsHttp1 => Protocol::Http1,
            Kind::Open | Kind::H2c | Kind::Tls | Kind::Unix => Protocol::Auto,
        }
    }

    fn is_tls(self) -> bool {
        matches!(self, Kind::Tls | Kind::TlsHttp1 | Kind::TlsHttp2)
    }

    fn is_http2(self) -> bool {
        !matches!(self, Kind::Open | Kind::TlsHttp1 | Kind::Unix)
    }

    fn version(self) -> Version {
        if self.is_http2() { Version::HTTP_2 } else { Version::HTTP_11 }
    }
}

/// nginx in its folder, where it can be reached in each way.
struct Site {
    nginx: Nginx,
    ports: [u16; 2],
    authority: Authority,
    folder: TempDir,
    // Their files are read once; they stay for whoever reloads.
    _certificate: Certificate,
}

const NO_CERTIFICATE: &str = "";

impl Site {
    async fn new(server: &str) -> Site {
        Site::with(&["localhost", "127.0.0.1"], Validity::Now, NO_CERTIFICATE, server).await
    }

    async fn with(names: &[&str], validity: Validity, clients: &str, server: &str) -> Site {
        let authority = Authority::new();
        let certificate = authority.issue(names, validity);
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port()];
        let [file, key] = [certificate.file(), certificate.key()];
        let nginx = Nginx::start_reloadable(
            "keepalive_requests 10000; client_max_body_size 64m;",
            &format!(
                "listen 127.0.0.1:{} http2; listen 127.0.0.1:{} ssl http2;
                 listen unix:{unix}; listen unix:{unix2} http2;
                 ssl_certificate {}; ssl_certificate_key {}; {clients} {server}",
                ports[0],
                ports[1],
                file.display(),
                key.display(),
                unix = folder.path().join("1.sock").display(),
                unix2 = folder.path().join("2.sock").display(),
            ),
        )
        .await;
        Site { nginx, ports, authority, folder, _certificate: certificate }
    }

    fn url(&self, kind: Kind) -> String {
        match kind {
            Kind::Open => format!("http://{}", self.nginx.address),
            Kind::OpenHttp2 => format!("http://127.0.0.1:{}", self.ports[0]),
            Kind::H2c => format!("h2c://127.0.0.1:{}", self.ports[0]),
            Kind::Tls | Kind::TlsHttp1 | Kind::TlsHttp2 => {
                format!("https://localhost:{}", self.ports[1])
            }
            Kind::Unix => format!("unix:{}", self.folder.path().join("1.sock").display()),
            Kind::UnixHttp2 => format!("unix:{}", self.folder.path().join("2.sock").display()),
        }
    }

    fn upstream(&self, kind: Kind, config: UpstreamConfig) -> Upstream {
        let options = OriginTlsOptions {
            ca_file: Some(self.authority.file()),
            protocol: kind.protocol(),
            ..OriginTlsOptions::default()
        };
        let tls = kind.is_tls().then(|| OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { protocol: kind.protocol(), tls, ..config };
        Upstream::new(self.url(kind).parse().unwrap(), config)
    }
}

type Answer = http::Response<UpstreamBody>;

pub(crate) async fn ask(
    upstream: &Upstream,
    request: Request<AnyBody>,
) -> Result<Answer, UpstreamError> {
    upstream.clone().call(request).await
}

pub(crate) fn get(path: &str) -> Request<AnyBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(format!("http://shop.example{path}"))
        .header("host", "shop.example")
        .body(body)
        .unwrap()
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<AnyBody> {
    Request::post(format!("http://shop.example{path}"))
        .header("host", "shop.example")
        .body(whole(body.into()))
        .unwrap()
}

pub(crate) async fn text(answer: Answer) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Proxy-Status' word, and all that the log would say.
fn told(error: &UpstreamError) -> (&'static str, String) {
    (error.proxy_error().as_str(), error.to_string())
}

#[tokio::test]
async fn nginx_is_reached_in_each_way_and_connections_are_used_again() {
    let site =
        Site::new("location / { return 200 \"$server_protocol $http_host $ssl_server_name\"; }")
            .await;
    for kind in KINDS {
        let upstream = site.upstream(kind, UpstreamConfig::default());
        let expected = match kind.is_http2() {
            true => "HTTP/2.0 ",
            false => "HTTP/1.1 shop.example",
        };
        for _ in 0..3 {
            let answer = ask(&upstream, get("/"))
                .await
                .unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.version(), kind.version(), "{kind:?}");
            let text = text(answer).await;
            assert!(text.starts_with(expected), "{kind:?}: {text}");
            assert!(text.contains("shop.example"), "{kind:?}: {text}");
            assert_eq!(text.ends_with("localhost"), kind.is_tls(), "{kind:?}: {text}");
        }
        let stats = upstream.stats();
        assert_eq!((stats.connected, stats.reused, stats.in_use), (1, 2, 0), "{kind:?}");
    }
}

/// Our own server as an origin, which says what came.
struct Echo {
    address: std::net::SocketAddr,
    stop: CancellationToken,
}

impl Echo {
    fn over(certificate: Option<&Certificate>) -> Echo {
        let tls = certificate.map(|certificate| {
            Tls::from_pem_files(&certificate.file(), &certificate.key()).unwrap()
        });
        let config = ServerConfig { tls, ..ServerConfig::default() };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        tokio::spawn(server.serve(service_fn(echo), stop.clone()));
        Echo { address, stop }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn bodies_and_heads_arrive_whole_in_each_way() {
    let certificate = Certificate::new();
    let (open, secret) = (Echo::over(None), Echo::over(Some(&certificate)));
    let large: Bytes = vec![b'x'; 3 << 20].into();
    for kind in KINDS {
        let url = match kind {
            Kind::Open | Kind::OpenHttp2 => format!("http://{}", open.address),
            Kind::H2c => format!("h2c://{}", open.address),
            Kind::Tls | Kind::TlsHttp1 | Kind::TlsHttp2 => {
                format!("https://localhost:{}", secret.address.port())
            }
            Kind::Unix | Kind::UnixHttp2 => continue,
        };
        let options = OriginTlsOptions {
            ca_file: Some(certificate.file()),
            protocol: kind.protocol(),
            ..OriginTlsOptions::default()
        };
        let tls = Some(OriginTls::new(&options).unwrap());
        let host = Some("inner.example:81".parse().unwrap());
        for host in [None, host] {
            let (protocol, tls) = (kind.protocol(), tls.clone());
            let config = UpstreamConfig { protocol, tls, host: host.clone(), ..Default::default() };
            let upstream = Upstream::new(url.parse().unwrap(), config);
            let expected = if host.is_some() { "inner.example:81" } else { "shop.example" };
            let said = text(ask(&upstream, get("/a?b=c")).await.unwrap()).await;
            let scheme = if kind.is_tls() { "https" } else { "http" };
            let line = format!("GET {scheme}://{expected}/a?b=c {:?}\n", kind.version());
            assert!(said.starts_with(&line), "{kind:?}: {said}");
            assert!(!said.contains("\nte:") && !said.contains("connection:"), "{kind:?}: {said}");
            let said = text(ask(&upstream, post("/", "short")).await.unwrap()).await;
            assert!(said.ends_with("\n\nshort"), "{kind:?}: {said}");
            assert!(said.contains("content-length: 5\n"), "{kind:?}: {said}");
            let said = text(ask(&upstream, post("/", large.clone())).await.unwrap()).await;
            assert!(said.ends_with(str::from_utf8(&large).unwrap()), "{kind:?}: {}", said.len());
            // Of no length that is known.
            let pieces = [&b"pie"[..], b"ces"]
                .map(|piece| Ok::<_, BoxError>(http_body::Frame::data(Bytes::from_static(piece))));
            let pieces = StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync();
            let mut request = get("/");
            *request.method_mut() = Method::PUT;
            *request.body_mut() = pieces;
            let said = text(ask(&upstream, request).await.unwrap()).await;
            assert!(said.ends_with("\n\npieces"), "{kind:?}: {said}");
            // Content that a method gives no meaning to.
            let mut request = get("/");
            *request.body_mut() = whole(Bytes::from_static(b"meant by nobody"));
            let said = text(ask(&upstream, request).await.unwrap()).await;
            assert!(said.ends_with("\n\nmeant by nobody"), "{kind:?}: {said}");
            let mut request = get("/");
            *request.method_mut() = Method::HEAD;
            let answer = ask(&upstream, request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(text(answer).await, "", "{kind:?}");
            assert_eq!(upstream.stats().in_use, 0, "{kind:?}");
            if kind.is_http2() {
                assert_eq!(upstream.stats().connected, 1, "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_will_not_do_is_named_with_the_way_out() {
    let localhost: &[&str] = &["localhost"];
    for (names, validity, words) in [
        (localhost, Validity::Over, "has expired: renew it there"),
        (localhost, Validity::Later, "is not valid yet: are both clocks right?"),
        (
            &["other.example"],
            Validity::Now,
            "is for DnsName(\"other.example\"), and not for localhost",
        ),
    ] {
        let site = Site::with(names, validity, NO_CERTIFICATE, "return 204;").await;
        for kind in [Kind::Tls, Kind::TlsHttp1, Kind::TlsHttp2] {
            let error =
                ask(&site.upstream(kind, UpstreamConfig::default()), get("/")).await.unwrap_err();
            let (proxy_error, text) = told(&error);
            assert_eq!(proxy_error, "tls_certificate_error", "{text}");
            assert!(text.contains(words), "{text}");
            assert!(error.is_before_sending());
            assert_eq!(error.to_problem().status(), StatusCode::BAD_GATEWAY);
        }
    }
    let site = Site::new("return 204;").await;
    let stranger = Authority::new();
    let options = OriginTlsOptions { ca_file: Some(stranger.file()), ..Default::default() };
    let config =
        UpstreamConfig { tls: Some(OriginTls::new(&options).unwrap()), ..Default::default() };
    let upstream = Upstream::new(site.url(Kind::Tls).parse().unwrap(), config);
    let (proxy_error, text) = told(&ask(&upstream, get("/")).await.unwrap_err());
    assert_eq!(proxy_error, "tls_certificate_error");
    assert!(text.contains("no root that is known vouches for its certificate"), "{text}");
    assert_eq!(upstream.stats().unconnected, 1);
}

/// Made as people make one for their own server: it says of itself that it vouches for others.
#[tokio::test]
async fn the_very_certificate_that_is_named_is_taken_for_its_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["own", "other"] {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args([
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let file = |name: &str| folder.path().join(name);
    let tls = Tls::from_pem_files(&file("own.pem"), &file("own.key")).unwrap();
    let gate =
        Gate::serving(ServerConfig { tls: Some(tls), ..ServerConfig::default() }, service_fn(echo));
    let url = format!("https://localhost:{}", gate.address.port());
    for (name, server_name, word) in [
        ("own.pem", None, None),
        ("own.pem", Some("localhost"), None),
        ("own.pem", Some("other.example"), Some("tls_certificate_error")),
        ("other.pem", None, Some("tls_certificate_error")),
    ] {
        let options = OriginTlsOptions {
            ca_file: Some(file(name)),
            server_name: server_name.map(str::to_owned),
            ..OriginTlsOptions::default()
        };
        let tls = Some(OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { tls, ..UpstreamConfig::default() };
        let upstream = Upstream::new(url.parse().unwrap(), config);
        let asked = ask(&upstream, get("/")).await;
        let told = asked.as_ref().err().map(|error| told(error).0);
        assert_eq!(told, word, "{name} {server_name:?}: {asked:?}");
    }
}

#[tokio::test]
async fn what_was_said_of_a_certificate_counts() {
    let site = Site::with(&["other.example"], Validity::Over, NO_CERTIFICATE, "return 204;").await;
    let asked = async |options: OriginTlsOptions| {
        let tls = Some(OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { tls, ..Default::default() };
        let upstream = Upstream::new(site.url(Kind::Tls).parse().unwrap(), config);
        ask(&upstream, get("/")).await.map(|answer| answer.status())
    };
    let unchecked = OriginTlsOptions { verify: false, ..Default::default() };
    assert_eq!(asked(unchecked).await.unwrap(), StatusCode::NO_CONTENT);
    let site = Site::with(
        &["other.example"],
        Validity::Now,
        NO_CERTIFICATE,
        "ssl_protocols TLSv1.2; return 204;",
    )
    .await;
    let asked = async |options: OriginTlsOptions| {
        let options = OriginTlsOptions { ca_file: Some(site.authority.file()), ..options };
        let tls = Some(OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { tls, ..Default::default() };
        let upstream = Upstream::new(site.url(Kind::Tls).parse().unwrap(), config);
        ask(&upstream, get("/")).await.map(|answer| answer.status())
    };
    let named =
        OriginTlsOptions { server_name: Some("other.example".to_owned()), ..Default::default() };
    assert_eq!(asked(named.clone()).await.unwrap(), StatusCode::NO_CONTENT);
    let (proxy_error, text) =
        told(&asked(OriginTlsOptions { only_tls13: true, ..named }).await.unwrap_err());
    assert_eq!(proxy_error, "tls_alert_received", "{text}");
    assert!(text.contains("it needs TLS 1.2 or 1.3"), "{text}");
}

#[tokio::test]
async fn a_certificate_is_shown_to_an_origin_that_asks_for_one() {
    let clients = Authority::new();
    let verify =
        format!("ssl_client_certificate {}; ssl_verify_client on;", clients.file().display());
    let site =
        Site::with(&["localhost"], Validity::Now, &verify, "return 200 $ssl_client_verify;").await;
    let certificate = clients.issue(&["gateway"], Validity::Now);
    let options = OriginTlsOptions {
        ca_file: Some(site.authority.file()),
        client: Some((certificate.file(), certificate.key())),
        ..Default::default()
    };
    let config =
        UpstreamConfig { tls: Some(OriginTls::new(&options).unwrap()), ..Default::default() };
    let upstream = Upstream::new(site.url(Kind::Tls).parse().unwrap(), config);
    assert_eq!(text(ask(&upstream, get("/")).await.unwrap()).await, "SUCCESS");
    // nginx says that it wants one in an answer of its own.
    let without = site.upstream(Kind::Tls, UpstreamConfig::default());
    assert_eq!(ask(&without, get("/")).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sessions_of_tls_are_resumed() {
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let site = Site::new(&format!(
            "ssl_protocols {versions}; ssl_session_cache shared:s:1m; return 200 \"$ssl_session_reused\";"
        ))
        .await;
        // Each request has a connection of its own: none is kept.
        let config =
            UpstreamConfig { idle_timeout: Duration::ZERO, max_idle: 0, ..Default::default() };
        let upstream = site.upstream(Kind::TlsHttp1, config);
        let reused = async || text(ask(&upstream, get("/")).await.unwrap()).await;
        assert_eq!(reused().await, ".", "{versions}");
        assert_eq!(reused().await, "r", "{versions}");
        assert_eq!(upstream.stats().connected, 2, "{versions}");
    }
}

#[tokio::test]
async fn where_tls_or_http_2_is_not_spoken_it_is_said() {
    let site = Site::new("return 204;").await;
    let port = |url: String| url.rsplit(':').next().unwrap().to_owned();
    let (open, open2, secret) =
        (port(site.url(Kind::Open)), port(site.url(Kind::H2c)), port(site.url(Kind::Tls)));
    let asked = async |url: String, protocol| {
        let ca_file = Some(site.authority.file());
        let options = OriginTlsOptions { ca_file, protocol, ..Default::default() };
        let tls = Some(OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { tls, protocol, ..Default::default() };
        let error = ask(&Upstream::new(url.parse().unwrap(), config), get("/")).await.unwrap_err();
        let (proxy_error, text) = told(&error);
        (proxy_error, text)
    };
    let (error, text) = asked(format!("https://localhost:{open}"), Protocol::Auto).await;
    assert_eq!(error, "tls_protocol_error", "{text}");
    assert!(text.contains("is this the port for http://?"), "{text}");
    let (error, text) = asked(format!("h2c://localhost:{open}"), Protocol::Auto).await;
    assert_eq!(error, "http_protocol_error", "{text}");
    assert!(text.contains("does not begin to speak HTTP/2"), "{text}");
    let (error, text) = asked(format!("http://localhost:{open2}"), Protocol::Auto).await;
    assert_eq!(error, "http_protocol_error", "{text}");
    let (error, text) = asked(format!("h2c://localhost:{secret}"), Protocol::Auto).await;
    assert_eq!(error, "http_protocol_error", "{text}");
    // Nobody is there.
    let (error, text) = asked(format!("https://localhost:{}", free_port()), Protocol::Auto).await;
    assert_eq!(error, "connection_refused", "{text}");
    let gone = site.folder.path().join("gone.sock");
    let (error, text) = asked(format!("unix:{}", gone.display()), Protocol::Auto).await;
    assert_eq!(error, "connection_refused", "{text}");
    // It speaks TLS, and HTTP/1.1 only.
    let certificate = Certificate::new();
    let one = format!(
        "listen 127.0.0.1:{{port}} ssl; ssl_certificate {}; ssl_certificate_key {}; return 204;",
        certificate.file().display(),
        certificate.key().display()
    );
    let port = free_port();
    let _nginx = Nginx::start("", &one.replace("{port}", &port.to_string())).await;
    let options = OriginTlsOptions {
        ca_file: Some(certificate.file()),
        protocol: Protocol::Http2,
        ..Default::default()
    };
    let tls = Some(OriginTls::new(&options).unwrap());
    let config = UpstreamConfig { tls, protocol: Protocol::Http2, ..Default::default() };
    let url = format!("https://localhost:{port}").parse().unwrap();
    let error = ask(&Upstream::new(url, config), get("/")).await.unwrap_err();
    assert_eq!(told(&error).0, "tls_alert_received", "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_with_the_time_to_connect() {
    // It takes all, and says nothing.
    let silent = Origin::playing(|mut wire, _| async move {
        while wire.has_more().await {
            wire.some().await;
        }
    })
    .await;
    let options = OriginTlsOptions { verify: false, ..Default::default() };
    let connect_timeout = Duration::from_millis(200);
    for url in [format!("https://{}", silent.address), format!("h2c://{}", silent.address)] {
        let tls = Some(OriginTls::new(&options).unwrap());
        let config = UpstreamConfig { tls, connect_timeout, ..Default::default() };
        let upstream = Upstream::new(url.parse().unwrap(), config);
        let error = ask(&upstream, get("/")).await.unwrap_err();
        assert_eq!(told(&error).0, "connection_timeout", "{error:?}");
        assert_eq!(error.to_problem().status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!((upstream.stats().in_use, upstream.stats().unconnected), (0, 1));
    }
}

/// Requests at once, from several tasks, which `goes_on` after so many; all have to be answered.
async fn storm(
    kind: Kind,
    upstream: &Upstream,
    tasks: usize,
    goes_on: impl Fn(usize) -> bool + Clone + Send + Sync + 'static,
) {
    let mut asking = JoinSet::new();
    for task in 0..tasks {
        let (upstream, goes_on) = (upstream.clone(), goes_on.clone());
        asking.spawn(async move {
            for number in (0..).take_while(|number| goes_on(*number)) {
                let request = if number % 3 == 2 { post("/", "content") } else { get("/") };
                let answer = ask(&upstream, request).await;
                let answer = answer.unwrap_or_else(|error| {
                    panic!("{kind:?} {task}/{number}: {error:?} {:?}", upstream.stats())
                });
                assert_eq!(text(answer).await, "fine", "{kind:?}");
            }
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn requests_share_a_connection_that_is_made_once() {
    let site = Site::new("location / { return 200 fine; }").await;
    for kind in [Kind::H2c, Kind::Tls, Kind::UnixHttp2] {
        let upstream = site.upstream(kind, UpstreamConfig::default());
        storm(kind, &upstream, 50, |number| number < 4).await;
        let stats = upstream.stats();
        assert_eq!((stats.connected, stats.reused), (1, 199), "{kind:?}");
        assert_eq!((stats.idle, stats.in_use), (1, 0), "{kind:?}");
        let few = UpstreamConfig { max_requests_per_connection: 5, ..Default::default() };
        let upstream = site.upstream(kind, few);
        storm(kind, &upstream, 20, |number| number < 4).await;
        assert!((2..=20).contains(&upstream.stats().connected), "{:?}", upstream.stats());
    }
}

#[tokio::test]
async fn an_origin_that_closes_each_connection_after_some_requests_fails_none() {
    let site = Site::new("keepalive_requests 7; location / { return 200 fine; }").await;
    for kind in [Kind::H2c, Kind::Tls, Kind::UnixHttp2] {
        let upstream = site.upstream(kind, UpstreamConfig::default());
        storm(kind, &upstream, 10, |number| number < 40).await;
        assert!(upstream.stats().connected > 20, "{kind:?} {:?}", upstream.stats());
        assert_eq!(upstream.stats().in_use, 0);
    }
}

#[tokio::test]
async fn an_origin_that_is_reloaded_under_load_fails_no_request_over_http_2() {
    let site = Site::new("location / { return 200 fine; }").await;
    for kind in [Kind::H2c, Kind::Tls] {
        let upstream = site.upstream(kind, UpstreamConfig::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let storming = storm(kind, &upstream, 8, move |_| !over.load(Ordering::SeqCst));
        let reloading = async {
            for _ in 0..4 {
                let before = upstream.stats().connected;
                site.nginx.reload();
                let seen = async || (upstream.stats().connected > before).then_some(());
                eventually("another connection", seen).await;
            }
            is_over.store(true, Ordering::SeqCst);
        };
        tokio::join!(storming, reloading);
    }
}
