//! Drain: what is under way when a gateway is told to stop, kind by kind, and for how long.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::{net::TcpStream, sync::Notify};

use crate::{
    load::curl,
    site::{Site, service},
    support::{
        Wire, eventually,
        larder::request,
        origin::{Origin, ok},
    },
};

const SWITCH: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// `/chat` switches protocols and sends back what comes; all else is begun, and ended when it is told to.
async fn slow() -> (Origin, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let origin = Origin::playing(move |mut visit| {
        let go_on = Arc::clone(&script);
        async move {
            let Some(head) = visit.request().await else { return };
            if head.starts_with("GET /chat") {
                let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                visit.send(switched).await;
                let mut wire = visit.into_wire();
                while let Ok(bytes) = wire.try_some().await
                    && !bytes.is_empty()
                    && wire.try_send(bytes).await.is_ok()
                {}
                return;
            }
            visit.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
            go_on.notified().await;
            visit.send("-last").await;
        }
    })
    .await;
    (origin, go_on)
}

async fn chatting(site: &Site) -> Wire {
    let mut wire = site.larder.connect().await;
    wire.send(SWITCH).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 101 "));
    wire
}

async fn echoes(wire: &mut Wire) {
    wire.send("hello").await;
    assert_eq!(wire.exactly(5).await, b"hello");
}

async fn closed(site: &Site) {
    let address = site.address;
    eventually("a closed port", async || TcpStream::connect(address).await.err()).await;
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_what_is_idle_ends_at_once() {
    let (origin, go_on) = slow().await;
    let mut site = Site::with(&origin, "drain = \"60s\"\n").await;
    let mut idle = site.larder.connect().await;
    let mut download = site.larder.connect().await;
    download.send(request("GET", "/a", "")).await;
    download.head().await;
    assert_eq!(download.exactly(5).await, b"first");
    // By curl over HTTP/2, with a stream that is open when GOAWAY comes.
    let url = format!("http://{}/b", site.address);
    let over_http2 = tokio::spawn(async move {
        curl(&["--http2-prior-knowledge", "-w", " %{http_version} %{http_code}", &url]).await
    });
    eventually("both requests", async || (origin.requests().len() == 2).then_some(())).await;
    let mut chat = chatting(&site).await;
    echoes(&mut chat).await;
    assert_eq!(site.larder.metric("larder_gateway_draining").await, 0.0);
    site.signal(Signal::TERM);
    assert_eq!(idle.rest().await, "", "it has no request");
    closed(&site).await;
    assert_eq!(site.larder.get_from_admin("/readyz").await.status(), 503);
    assert_eq!(site.larder.metric("larder_gateway_draining").await, 1.0);
    site.larder.told("stopping: 3 connections have (one has switched protocols) ").await;
    echoes(&mut chat).await;
    assert!(site.larder.is_running());
    // Each may come to its wait a moment later than the other.
    eventually("both answers", async || {
        go_on.notify_waiters();
        over_http2.is_finished().then_some(())
    })
    .await;
    assert_eq!(over_http2.await.unwrap(), "first-last 2 200");
    assert_eq!(download.rest().await, "-last");
    echoes(&mut chat).await;
    drop(chat);
    assert_eq!(site.larder.exit().await, Some(0));
}

#[tokio::test]
async fn what_takes_longer_is_cut_off_when_the_time_is_over() {
    for (drain, has_time) in [("3s", true), ("0s", false)] {
        let (origin, _never) = slow().await;
        let site = Site::with(&origin, &format!("drain = \"{drain}\"\n")).await;
        let mut download = site.larder.connect().await;
        download.send(request("GET", "/a", "")).await;
        download.head().await;
        let mut chat = chatting(&site).await;
        echoes(&mut chat).await;
        site.signal(Signal::TERM);
        assert!(!download.until_reset().await.contains("last"), "{drain}");
        if has_time {
            // In order, at its first pause.
            assert_eq!(chat.rest().await, "");
            site.larder.told("stopping: ").await;
            site.larder.told("1 connection was cut off").await;
        }
        assert_eq!(site.larder.exit().await, Some(0));
    }
}

#[tokio::test]
async fn a_balancer_has_time_to_see_it_and_is_served_meanwhile() {
    let origin = service().await;
    let mut site = Site::with(&origin, "drain_delay = \"60s\"\n").await;
    let mut kept = site.larder.connect().await;
    site.signal(Signal::TERM);
    eventually("that it is not ready", async || {
        (site.larder.get_from_admin("/readyz").await.status() == 503).then_some(())
    })
    .await;
    site.larder.told("told to stop: not ready, and as before for 60 s").await;
    for _ in 0..3 {
        assert_eq!(site.larder.get("/").await.status(), 200);
        kept.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = kept.answer().await;
        assert_eq!((answer.status(), answer.field("connection")), (200, None));
    }
    assert!(site.larder.is_running());
    site.signal(Signal::TERM);
    assert_eq!(site.larder.exit().await, Some(1), "told twice, it waits for nothing");
}

#[tokio::test]
async fn while_it_comes_to_its_end_nothing_else_is_begun() {
    let (origin, go_on) = slow().await;
    let site = Site::with(&origin, "drain = \"60s\"\n").await;
    let mut download = site.larder.connect().await;
    download.send(request("GET", "/a", "")).await;
    download.head().await;
    site.signal(Signal::TERM);
    closed(&site).await;
    for (signal, name) in [(Signal::USR2, "SIGUSR2"), (Signal::HUP, "SIGHUP")] {
        site.signal(signal);
        site.larder.told(&format!("{name} changes nothing: this process comes to its end")).await;
    }
    go_on.notify_one();
    assert_eq!(download.rest().await, "first-last");
    assert_eq!(site.larder.exit().await, Some(0));
}

#[tokio::test]
async fn the_flag_says_it_as_well() {
    let origin = Origin::saying(ok("", "a")).await;
    let larder = crate::support::larder::Larder::with(origin.address, &["--drain", "7s"]).await;
    larder.signal(Signal::TERM);
    assert_eq!(larder.exit().await, Some(0));
    for (flag, words) in [("-1s", "90s"), ("soon", "90s"), ("99999h", "more than a year")] {
        let said = crate::support::larder::run(&[
            "serve",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            "127.0.0.1:0",
            &format!("--drain={flag}"),
        ])
        .await;
        assert_eq!(said.code, Some(2), "{flag}");
        assert!(said.log.contains(words), "{flag}: {}", said.log);
    }
}
