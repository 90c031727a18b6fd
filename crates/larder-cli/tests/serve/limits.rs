//! Limits of connections: who has to wait, who makes room, and what is kept for whom.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpSocket, sync::Semaphore, task::JoinSet};

use crate::support::{
    Wire, eventually,
    larder::Larder,
    origin::{Origin, ok},
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn connect_from(from: [u8; 4], to: SocketAddr) -> Wire {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    Wire::new(socket.connect(to).await.unwrap())
}

#[tokio::test]
async fn connections_that_are_only_kept_make_room_and_are_told_of_once() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::with(origin.address, &["--max-connections", "20"]).await;
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut reader = larder.connect().await;
        reader.send(GET).await;
        assert_eq!(reader.answer().await.status(), 200);
        kept.push(reader);
    }
    // The last are still there.
    let last = kept.last_mut().unwrap();
    last.send(GET).await;
    assert_eq!(last.answer().await.status(), 200);
    let told = larder.told("all 20 connections are in use").await;
    assert_eq!(told, 1, "{}", larder.log());
    assert!(larder.metric("larder_connections_open").await <= 20.0);
    assert!(larder.metric("larder_connections_waited_total").await > 0.0);
    assert!(larder.metric("larder_connections_asked_to_leave_total").await >= 80.0);
    assert_eq!(larder.metric("larder_connections_accepted_total").await, 100.0);
}

#[tokio::test]
async fn an_answer_under_way_is_not_cut_to_make_room() {
    let permits = Arc::new(Semaphore::new(0));
    let script = Arc::clone(&permits);
    let origin = Origin::playing(move |mut visit| {
        let permits = Arc::clone(&script);
        async move {
            while visit.request().await.is_some() {
                permits.acquire().await.unwrap().forget();
                visit.send(ok("cache-control: no-store\r\n", "whole")).await;
            }
        }
    })
    .await;
    let larder = Larder::with(origin.address, &["--max-connections", "4"]).await;
    let mut answers = JoinSet::new();
    for number in 0..8 {
        let mut reader = larder.connect().await;
        answers.spawn(async move {
            reader.send(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            let answer = reader.answer().await;
            assert_eq!(answer.text(), "whole");
        });
    }
    eventually("four requests", async || (origin.requests().len() == 4).then_some(())).await;
    permits.add_permits(8);
    while let Some(answer) = answers.join_next().await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_has_as_many_as_it_may_gets_no_more_and_others_do() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    for flags in [
        &["--max-connections", "8"][..],
        &["--max-connections-per-address", "2"],
        &["--max-connections", "100", "--max-connections-per-address", "2"],
    ] {
        let larder = Larder::with(origin.address, flags).await;
        let mut readers = Vec::new();
        for _ in 0..2 {
            let mut reader = connect_from([127, 0, 0, 2], larder.address).await;
            reader.send(GET).await;
            assert_eq!(reader.answer().await.status(), 200);
            readers.push(reader);
        }
        for _ in 0..5 {
            let mut one_too_many = connect_from([127, 0, 0, 2], larder.address).await;
            assert!(!one_too_many.has_more().await, "{flags:?}");
        }
        let mut other = connect_from([127, 0, 0, 3], larder.address).await;
        other.send(GET).await;
        assert_eq!(other.answer().await.status(), 200);
        for reader in &mut readers {
            reader.send(GET).await;
            assert_eq!(reader.answer().await.status(), 200, "those it has stay");
        }
        assert_eq!(larder.metric("larder_connections_turned_away_total").await, 5.0);
        let told = larder.told("127.0.0.2 has 2 connections").await;
        assert_eq!(told, 1, "{}", larder.log());
        drop(readers);
        eventually("a place", async || {
            let mut reader = connect_from([127, 0, 0, 2], larder.address).await;
            reader.try_send(GET).await.ok()?;
            reader.has_more().await.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn with_few_open_files_the_origin_and_the_admin_listener_are_still_reached() {
    let origin = Origin::answering(|_| ok("cache-control: no-store\r\n", "a")).await;
    let larder = Larder::with_open_files(origin.address, 128, &[]).await;
    assert!(larder.log().contains(" connections: 128 open files are allowed"), "{}", larder.log());
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(larder.connect().await);
    }
    for _ in 0..20 {
        let mut reader = larder.connect().await;
        reader.send(GET).await;
        assert_eq!(reader.answer().await.status(), 200, "{}", larder.log());
        crowd.push(reader);
        assert_eq!(larder.get_from_admin("/readyz").await.status(), 200);
    }
    assert!(!larder.log().contains("cannot accept"), "{}", larder.log());
}

#[tokio::test]
async fn the_admin_listener_waits_for_nobody_for_ever() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    let mut slow = larder.connect_to_admin().await;
    slow.send("GET /livez HTTP/1.1\r\nhost: local").await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(larder.connect_to_admin().await);
    }
    assert_eq!(larder.get_from_admin("/livez").await.status(), 200);
    let refused = slow.rest().await;
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
}

#[tokio::test]
async fn whatever_strangers_do_to_the_admin_listener_it_says_at_once_that_it_lives() {
    let origin = Origin::saying(ok("", "")).await;
    let posting = "POST /v1/purge HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{";
    let kept = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let upgraded = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // With few files there are few places, and all of them are taken several times over.
    for files in [None, Some(1024)] {
        for said in ["", "GET / HT", posting, kept, upgraded, &upgraded[..20]] {
            let larder = match files {
                None => Larder::before(origin.address).await,
                Some(files) => Larder::with_open_files(origin.address, files, &[]).await,
            };
            let mut strangers = Vec::new();
            for _ in 0..200 {
                let mut stranger = larder.connect_to_admin().await;
                stranger.try_send(said).await.ok();
                strangers.push(stranger);
            }
            for _ in 0..3 {
                let began = Instant::now();
                assert_eq!(larder.get_from_admin("/livez").await.status(), 200);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(1), "{files:?} {said:?}: {took:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_admin_listener_is_for_this_machine_under_its_own_names() {
    let origin = Origin::saying(ok("", "")).await;
    let larder = Larder::before(origin.address).await;
    for (head, status) in [
        ("GET /livez HTTP/1.1\r\nhost: LocalHost:1\r\n", "200"),
        ("GET /livez HTTP/1.1\r\nhost: [::1]\r\n", "200"),
        ("GET http://localhost/livez HTTP/1.1\r\nhost: localhost\r\n", "200"),
        ("GET /livez HTTP/1.1\r\nhost: evil.example\r\n", "403"),
        ("GET http://evil.example/livez HTTP/1.1\r\nhost: localhost\r\n", "403"),
        ("GET /livez HTTP/1.1\r\nhost: evil@127.0.0.1\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: 127.0.0.1\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nHost: evil.example\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nhost: 127.0.0.1:x\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nhost:\r\n", "400"),
        ("GET /livez HTTP/1.1\r\n", "400"),
    ] {
        let mut wire = larder.connect_to_admin().await;
        wire.send(format!("{head}connection: close\r\n\r\n")).await;
        let answer = wire.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn what_happens_to_connections_is_told_as_metrics() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "a")).await;
    let larder = Larder::before(origin.address).await;
    larder.get("/").await;
    let mut kept = larder.connect().await;
    kept.send("GET /kept HTTP/1.1\r\nhost: a\r\n\r\n").await;
    kept.answer().await;
    assert!(larder.say("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await.contains(" 400 "));
    assert!(larder.say("NONSENSE\r\n\r\n").await.contains(" 400 "));
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(20 << 10));
    assert!(larder.say(long).await.contains(" 414 "));
    let text = larder.get_from_admin("/metrics").await;
    let refusals = text.text().lines().filter_map(|line| {
        line.strip_prefix("larder_refusals_total{reason=")?.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    assert_eq!(refusals.sum::<f64>(), 3.0, "{}", text.text());
    assert_eq!(
        larder.metric(r#"larder_refusals_total{reason="the request line is too long"}"#).await,
        1.0
    );
    eventually("the others to have ended", async || {
        (larder.metric("larder_connections_open").await == 1.0).then_some(())
    })
    .await;
    for (name, number) in [
        (r#"larder_timeouts_total{kind="head"}"#, 0.0),
        (r#"larder_tls_handshakes_total{outcome="failed"}"#, 0.0),
        ("larder_connections_reset_total", 0.0),
        ("larder_turns_taken", 0.0),
        ("larder_turns_waiting", 0.0),
        ("larder_arriving_bytes", 0.0),
        ("larder_crowded_out_total", 0.0),
        (r#"larder_backoffs_forgotten_total{cache="gateway"}"#, 0.0),
        ("larder_upstream_waiting", 0.0),
        ("larder_upstream_retries_total", 0.0),
        (r#"larder_upstream_refused_total{reason="too_many_waiting"}"#, 0.0),
        (r#"larder_log_lines_lost_total{cause="not_read"}"#, 0.0),
    ] {
        assert_eq!(larder.metric(name).await, number, "{name}");
    }
    assert!(larder.metric("larder_upstream_connections_made_total").await >= 1.0);
}
