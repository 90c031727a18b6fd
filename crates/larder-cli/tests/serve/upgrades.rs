//! Connections that go on in another protocol: byte by byte, with origins and readers that do not behave.

use std::{net::TcpStream, process::Command, sync::Arc, time::Duration};

use larder_test_support::{
    answer::{field, status},
    nginx::Nginx,
    port::free_port,
};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Certificate, Process, Wire, eventually, larder::Larder, origin::Origin};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: larder.test\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nContent-Length: 0\r\n\r\n";

/// Switches on each connection, and plays this from then on.
async fn switching<P>(script: impl Fn(Wire) -> P + Send + Sync + 'static) -> Origin
where
    P: Future<Output = ()> + Send + 'static,
{
    let script = Arc::new(script);
    Origin::playing(move |mut visit| {
        let script = Arc::clone(&script);
        async move {
            visit.request().await;
            visit.send(SWITCHING).await;
            script(visit.into_wire()).await;
        }
    })
    .await
}

/// Switches, and sends back what comes.
async fn echo() -> Origin {
    switching(echo_on).await
}

async fn echo_on(mut wire: Wire) {
    while let Ok(bytes) = wire.try_some().await {
        if bytes.is_empty() || wire.try_send(bytes).await.is_err() {
            return;
        }
    }
}

/// Through the handshake.
async fn switched(larder: &Larder) -> Wire {
    let mut wire = larder.connect().await;
    wire.send(format!("{HANDSHAKE}\r\n")).await;
    let head = wire.head().await;
    assert_eq!(status(&head), 101, "{head}");
    wire
}

async fn with_settings(origin: &Origin, settings: &str) -> (Larder, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[upstream.app]\nurl = \"http://{}\"\n[server]\nlisten = \"127.0.0.1:0\"\n{settings}",
        origin.address
    );
    let text = text.replace("[server]\n", "[admin]\nlisten = \"127.0.0.1:0\"\n[server]\n");
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    (Larder::in_folder(folder.path(), &["serve"], &[]).await, folder)
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_side_hears_of_the_others_end() {
    let origin = echo().await;
    let larder = Larder::before(origin.address).await;
    let mut wire = larder.connect().await;
    // What comes right behind the request goes right behind the answer.
    wire.send(format!("{HANDSHAKE}\r\nearly ")).await;
    let head = wire.head().await;
    assert_eq!(status(&head), 101, "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(field(&head, "content-length"), None);
    assert_eq!(wire.exactly(6).await, b"early ");
    wire.send("late").await;
    assert_eq!(wire.exactly(4).await, b"late");
    assert_eq!(larder.metric("larder_tunnels_open").await, 1.0);
    wire.stream.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, "");
    eventually("the end", async || {
        let closed = larder.metric("larder_tunnels_ended_total{how=\"closed\"}").await;
        (closed == 1.0).then_some(())
    })
    .await;
    assert_eq!(larder.metric("larder_tunnelled_bytes_total{direction=\"up\"}").await, 10.0);
    assert_eq!(larder.metric("larder_tunnels_open").await, 0.0);
    let asked = &origin.requests()[0];
    assert_eq!(field(asked, "upgrade"), Some("websocket"), "{asked}");
    assert_eq!(field(asked, "connection"), Some("upgrade"));
    assert_eq!(field(asked, "sec-websocket-version"), Some("13"));
}

#[tokio::test]
async fn what_is_no_upgrade_goes_on_as_if_it_offered_none() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let larder = Larder::before(origin.address).await;
    for head in [
        // Not meant: `Connection` does not name it.
        "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET /b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
        // HTTP past the cache.
        "GET /c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        "GET /d HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: HTTP/2.0, TLS/1.0\r\n\r\n",
        // Not allowed, not a WebSocket, or of a version that knows of none.
        "GET /e HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: spdy/3.1\r\n\r\n",
        "POST /f HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /g HTTP/1.0\r\nHost: a\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
        // With content: it would have to come to its end first.
        "GET /h HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
        "GET /i HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut wire = larder.connect().await;
        wire.send(head).await;
        let said = wire.head().await;
        assert_eq!((status(&said), &*wire.exactly(2).await), (200, &b"ok"[..]), "{head}");
    }
    for asked in origin.requests() {
        assert_eq!(
            (field(&asked, "upgrade"), field(&asked, "http2-settings")),
            (None, None),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn an_origin_that_does_not_switch_answers_as_usual_and_the_next_request_is_one() {
    let origin = Origin::playing(|mut visit| async move {
        visit.request().await;
        visit.send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 99\r\nContent-Length: 2\r\n\r\nno").await;
        visit.request().await;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes").await;
        visit.request().await;
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut wire = larder.connect().await;
    // A reader that believes it was switched would smuggle the second request past everything.
    wire.send(format!("{HANDSHAKE}\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    let head = wire.head().await;
    assert_eq!((status(&head), &*wire.exactly(2).await), (426, &b"no"[..]), "{head}");
    let head = wire.head().await;
    assert_eq!((status(&head), &*wire.exactly(3).await), (200, &b"yes"[..]), "{head}");
    assert!(field(&head, "cache-status").is_some(), "{head}");
    assert_eq!(larder.metric("larder_tunnels_ended_total{how=\"closed\"}").await, 0.0);
}

#[tokio::test]
async fn an_origin_that_switches_to_something_else_or_unasked_is_an_error() {
    for (request, answer) in [
        (format!("{HANDSHAKE}\r\n"), SWITCHING.replace("Upgrade: websocket", "Upgrade: chat")),
        (format!("{HANDSHAKE}\r\n"), SWITCHING.replace("Upgrade: websocket\r\n", "")),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), SWITCHING.to_owned()),
    ] {
        let origin = Origin::saying(answer.clone()).await;
        let larder = Larder::before(origin.address).await;
        let mut wire = larder.connect().await;
        wire.send(request).await;
        let head = wire.head().await;
        assert_eq!(status(&head), 502, "{answer}\n{head}");
        assert!(field(&head, "proxy-status").unwrap().contains("http_upgrade_failed"), "{head}");
    }
}

#[tokio::test]
async fn answers_to_handshakes_are_neither_stored_nor_shared() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let larder = Larder::before(origin.address).await;
    for _ in 0..2 {
        let mut wire = larder.connect().await;
        wire.send(format!("{HANDSHAKE}\r\n")).await;
        let head = wire.head().await;
        assert!(field(&head, "cache-status").unwrap().contains("fwd=bypass"), "{head}");
        assert_eq!(status(&head), 200);
    }
    assert_eq!(origin.requests().len(), 2);
    // And an answer that is stored is none to a handshake.
    for path in ["/chat", "/chat"] {
        larder.get(path).await;
    }
    assert_eq!(origin.requests().len(), 3);
    let mut wire = larder.connect().await;
    wire.send(format!("{HANDSHAKE}\r\n")).await;
    wire.head().await;
    assert_eq!(origin.requests().len(), 4);
}

#[tokio::test]
async fn a_route_says_which_protocols_there_are() {
    let origin = Origin::playing(|mut visit| async move {
        let head = visit.request().await.unwrap();
        match field(&head, "upgrade").map(str::to_owned) {
            Some(protocol) => {
                visit
                    .send(format!(
                        "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\nhello"
                    ))
                    .await;
                echo_on(visit.into_wire()).await;
            }
            None => {
                _ = visit
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                    .await
            }
        }
    })
    .await;
    let (larder, _folder) = with_settings(
        &origin,
        "[[route]]\npath = \"/exec\"\nupgrades = [\"SPDY/3.1\"]\n[[route]]\npath = \"/none\"\nupgrades = []\n",
    )
    .await;
    for (method, path, offers, gets) in [
        ("POST", "/exec", "websocket, spdy/3.1", Some("SPDY/3.1")),
        ("GET", "/exec", "websocket", None),
        ("GET", "/none", "websocket", None),
        ("GET", "/other", "spdy/3.1, websocket", Some("websocket")),
    ] {
        let mut wire = larder.connect().await;
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {offers}\r\n\r\n")).await;
        let head = wire.head().await;
        assert_eq!(field(&head, "upgrade"), gets, "{path} {offers}\n{head}");
        assert_eq!(status(&head), if gets.is_some() { 101 } else { 200 });
        let begins = if gets.is_some() { "hello" } else { "no" };
        assert_eq!(wire.exactly(begins.len()).await, begins.as_bytes());
    }
    assert_eq!(larder.metric("larder_upgrades_total{outcome=\"granted\"}").await, 2.0);
    assert_eq!(larder.metric("larder_upgrades_total{outcome=\"ignored\"}").await, 2.0);
}

#[tokio::test]
async fn a_flood_of_handshakes_is_bounded_and_those_that_are_in_go_on() {
    let origin = echo().await;
    let (larder, _folder) =
        with_settings(&origin, "max_upgrades = 3\nmax_upgrades_per_client = 2\n").await;
    let mut kept = vec![switched(&larder).await, switched(&larder).await];
    for _ in 0..20 {
        let mut wire = larder.connect().await;
        wire.send(format!("{HANDSHAKE}\r\n")).await;
        let head = wire.head().await;
        assert_eq!((status(&head), field(&head, "retry-after")), (503, Some("5")), "{head}");
    }
    for wire in &mut kept {
        wire.send("still here").await;
        assert_eq!(wire.exactly(10).await, b"still here");
    }
    drop(kept.pop());
    eventually("room", async || {
        let mut wire = larder.connect().await;
        wire.send(format!("{HANDSHAKE}\r\n")).await;
        (status(&wire.head().await) == 101).then_some(())
    })
    .await;
    let refused = larder.metric("larder_upgrades_total{outcome=\"too_many_of_client\"}").await;
    assert!(refused >= 20.0, "{refused}");
}

#[tokio::test]
async fn a_reader_that_never_reads_holds_up_its_origin_and_no_memory() {
    let origin = switching(|mut wire| async move {
        let chunk = vec![b'x'; 64 << 10];
        while wire.try_send(&chunk).await.is_ok() {}
    })
    .await;
    let (larder, _folder) =
        with_settings(&origin, "[defaults]\nupgrade_idle_timeout = \"1s\"\n").await;
    let before = larder.memory_kib("VmRSS");
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(switched(&larder).await);
    }
    eventually("those who take nothing to be cut off", async || {
        let stuck = larder.metric("larder_tunnels_ended_total{how=\"stuck\"}").await;
        (stuck == 20.0).then_some(())
    })
    .await;
    let grown = larder.memory_kib("VmHWM").saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    drop(readers);
}

#[tokio::test]
async fn silence_ends_a_connection_in_order_and_not_before_its_time() {
    let origin = echo().await;
    let (larder, _folder) =
        with_settings(&origin, "[defaults]\nupgrade_idle_timeout = \"2s\"\n").await;
    let mut wire = switched(&larder).await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        wire.send("on").await;
        assert_eq!(wire.exactly(2).await, b"on");
    }
    assert_eq!(wire.rest().await, "");
    eventually("its count", async || {
        let idle = larder.metric("larder_tunnels_ended_total{how=\"idle\"}").await;
        (idle == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_origin_that_dies_takes_its_reader_along_and_a_reader_its_origin() {
    let origin = switching(|mut wire| async move {
        wire.exactly(3).await;
        wire.reset();
    })
    .await;
    let larder = Larder::before(origin.address).await;
    let mut wire = switched(&larder).await;
    wire.send("die").await;
    assert!(!wire.has_more().await);
    let broken = async || {
        let broken = larder.metric("larder_tunnels_ended_total{how=\"broken\"}").await;
        (broken == 1.0).then_some(())
    };
    eventually("the origin's end", broken).await;

    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let origin = switching(move |mut wire| {
        let told = told.clone();
        async move {
            wire.rest().await;
            told.send(()).unwrap();
        }
    })
    .await;
    let larder = Larder::before(origin.address).await;
    switched(&larder).await.reset();
    tells.recv().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_stops_ends_them_in_order_and_soon() {
    let origin = echo().await;
    let larder = Larder::with(origin.address, &["--drain", "3s"]).await;
    let mut wire = switched(&larder).await;
    wire.send("before").await;
    assert_eq!(wire.exactly(6).await, b"before");
    larder.signal(Signal::TERM);
    // In order: an end, and no reset.
    assert_eq!(wire.rest().await, "");
    assert_eq!(larder.exit().await, Some(0));
}

#[tokio::test]
async fn many_megabytes_go_both_ways_at_once() {
    let origin = echo().await;
    let larder = Larder::before(origin.address).await;
    let wire = switched(&larder).await;
    let (mut reads, mut writes) = tokio::io::split(wire.stream);
    let sent: Vec<u8> = (0..8_u32 << 20).map(|n| (n % 251) as u8).collect();
    let copy = sent.clone();
    let sending = tokio::spawn(async move {
        writes.write_all(&copy).await.unwrap();
        writes.shutdown().await.unwrap();
    });
    let mut came = Vec::new();
    reads.read_to_end(&mut came).await.unwrap();
    sending.await.unwrap();
    assert!(came == sent, "{} of {}", came.len(), sent.len());
}

/// An nginx that hands WebSockets on to the origin.
fn passing_on(listen: &str, origin: &Origin) -> String {
    format!(
        "listen {listen};
         location / {{ add_header Cache-Control max-age=60; return 200 $server_protocol; }}
         location /chat {{ proxy_pass http://{}; proxy_http_version 1.1;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}",
        origin.address
    )
}

#[tokio::test]
async fn a_service_that_is_spoken_to_in_http_2_over_tls_is_asked_to_switch_in_http_1_1() {
    let (folder, certificate) = (tempfile::tempdir().unwrap(), Certificate::new());
    let (origin, port) = (echo().await, free_port());
    let listen = format!(
        "127.0.0.1:{port} ssl http2; ssl_certificate {}; ssl_certificate_key {}",
        certificate.file().display(),
        certificate.key().display()
    );
    let _nginx = Nginx::start("", &passing_on(&listen, &origin)).await;
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurl = \"https://localhost:{port}\"\n[upstream.app.tls]\nverify = false\n"
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    assert_eq!(larder.get("/a").await.text(), "HTTP/2.0");
    let mut wire = switched(&larder).await;
    wire.send("hello").await;
    assert_eq!(wire.exactly(5).await, b"hello");
    // Others go on as before.
    assert_eq!(larder.get("/b").await.text(), "HTTP/2.0");
    assert_eq!(larder.metric("larder_upstream_connections_made_total").await, 2.0);
}

#[tokio::test]
async fn a_service_that_speaks_http_2_only_cannot_switch_and_none_of_its_addresses_is_blamed() {
    let (origin, certificate) = (echo().await, Certificate::new());
    let (in_the_open, over_tls) = (free_port(), free_port());
    let _nginx =
        Nginx::start("", &passing_on(&format!("127.0.0.1:{in_the_open} http2"), &origin)).await;
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-www", "-alpn", "h2", "-accept"])
        .arg(format!("127.0.0.1:{over_tls}"));
    command.arg("-cert").arg(certificate.file()).arg("-key").arg(certificate.key());
    let mut openssl = Process::start(&mut command);
    openssl.until("it listens", |_| TcpStream::connect(("127.0.0.1", over_tls)).ok()).await;
    for url in [format!("h2c://127.0.0.1:{in_the_open}"), format!("https://localhost:{over_tls}")] {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream.app]\nurl = \"{url}\"\n[upstream.app.breaker]\nfailures = 1\n"
        );
        if url.starts_with("https:") {
            text += "[upstream.app.tls]\nverify = false\n";
        }
        std::fs::write(folder.path().join("larder.toml"), text).unwrap();
        let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
        for _ in 0..2 {
            let mut wire = larder.connect().await;
            wire.send(format!("{HANDSHAKE}\r\n")).await;
            let answer = wire.answer().await;
            assert_eq!(answer.status(), 502, "{url}");
            let said = answer.field("proxy-status").unwrap();
            assert!(said.contains("http_upgrade_failed"), "{said}");
            assert!(answer.text().contains("is spoken to in HTTP/2"), "{}", answer.text());
        }
        let labels = format!("upstream=\"app\",address=\"{url}\"");
        let blamed = format!("larder_upstream_ejections_total{{{labels}}}");
        assert_eq!(larder.metric(&blamed).await, 0.0, "{url}");
    }
}

#[tokio::test]
async fn a_connection_that_has_switched_is_a_request_under_way_at_its_address_to_its_end() {
    let [one, other] = [echo().await, echo().await];
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [upstream.app]\nurls = [\"http://{}\", \"http://{}\"]\n",
        one.address, other.address
    );
    std::fs::write(folder.path().join("larder.toml"), text).unwrap();
    let larder = Larder::in_folder(folder.path(), &["serve"], &[]).await;
    let outstanding = async |origin: &Origin| {
        let labels = format!("upstream=\"app\",address=\"http://{}\"", origin.address);
        larder.metric(&format!("larder_upstream_outstanding{{{labels}}}")).await
    };
    let mut wires = Vec::new();
    for _ in 0..6 {
        wires.push(switched(&larder).await);
    }
    assert_eq!((outstanding(&one).await, outstanding(&other).await), (3.0, 3.0));
    wires.clear();
    eventually("the end of all", async || {
        let left = outstanding(&one).await + outstanding(&other).await;
        (left == 0.0).then_some(())
    })
    .await;
}
